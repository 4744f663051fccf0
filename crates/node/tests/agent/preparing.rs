//! Making ready for the replacement of a pod, when the planner of its set asks for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stead_api::preparation::{Answer, Outcome, PREPARE, PREPARED, PREPARES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{IMAGE, World};

/// Asks the node of `web-0` for something, on top of what every request says.
async fn ask(world: &World, id: &str, more: Value) {
    let mut request = json!({"id": id, "askedAt": "2026-01-01T00:00:00Z", "revision": "web-b"});
    for (field, value) in more.as_object().expect("fields of a request") {
        request[field] = value.clone();
    }
    annotate(world, json!(request.to_string())).await;
}

async fn annotate(world: &World, value: Value) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {PREPARE: value}}}));
    world.pod_api().patch("web-0", &PatchParams::default(), &patch).await.expect("asked");
}

fn answer(pod: Option<&Pod>) -> Option<Answer> {
    Answer::among(pod?.status.as_ref()?.conditions.as_deref()?)
}

/// Waits for an answer to the request `id` with this outcome; gives its text.
async fn answered(world: &World, id: &str, outcome: Outcome) -> String {
    let said = |pod: Option<&Pod>| answer(pod).filter(|answer| answer.id == id && answer.outcome == outcome);
    let pod = world.until(&format!("{id} answered {outcome:?}"), "web-0", |pod| said(pod).is_some()).await;
    said(pod.as_deref()).expect("just seen").message
}

async fn up(world: &World, spec: Value) -> String {
    let uid = world.pod("web-0", spec).await;
    world.until_running("web-0", &uid).await;
    world.until("ready", "web-0", is_ready).await;
    uid
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|found| found.type_ == "Ready" && found.status == "True"))
}

fn hook() -> Value {
    json!({"exec": {"command": ["hand-over"]}, "timeoutSeconds": 10})
}

/// Counts how often the hook runs; the first `failing` times it fails.
fn count_hooks(world: &World, failing: i32) -> Arc<AtomicI32> {
    let ran = Arc::new(AtomicI32::new(0));
    let seen = Arc::clone(&ran);
    world.runtime.fake.on_exec(move |_, spec| {
        assert_eq!(spec.args, ["hand-over"]);
        match seen.fetch_add(1, Ordering::SeqCst) < failing {
            true => Ok((1, b"still the leader\n".to_vec())),
            false => Ok((0, Vec::new())),
        }
    });
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_answered_for_and_a_request_taken_away_takes_its_answer_along() {
    let world = World::start().await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    let node = world.eventually("registered", async || nodes.get_opt("n1").await.expect("asked")).await;
    assert_eq!(node.metadata.annotations.expect("annotated")[PREPARES], "true", "it says that it can be asked");
    up(&world, json!({})).await;
    ask(&world, "7", json!({"images": [{"image": IMAGE, "pullPolicy": "IfNotPresent"}]})).await;
    assert_eq!(answered(&world, "7", Outcome::Done).await, "web-b: its node is ready");
    assert!(!world.told("web-0").await.iter().any(|event| event.starts_with("Pulling")), "nothing was to be pulled");
    annotate(&world, Value::Null).await;
    let gone = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().all(|found| found.type_ != PREPARED))
    };
    world.until("taken away", "web-0", gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_be_had_matters_only_where_it_has_to_be_there() {
    let world = World::start().await;
    up(&world, json!({})).await;
    let images = json!([{"image": "web:2", "pullPolicy": "Never"}]);
    ask(&world, "1", json!({"images": images})).await;
    let missing = "web-b: web:2: not present with pull policy of Never";
    assert_eq!(answered(&world, "1", Outcome::Done).await, missing);
    ask(&world, "2", json!({"images": images, "prefetch": "Required"})).await;
    assert_eq!(answered(&world, "2", Outcome::NoImage).await, missing);
    // Somebody imports it.
    let program = world.dir().join("program");
    world.images.install_builtin("web:2", &program, Default::default()).expect_err("an image needs an entry point");
    let config = stead_image::ImageConfig { entrypoint: vec!["/bin/web".to_owned()], ..Default::default() };
    world.images.install_builtin("web:2", &program, config).expect("an image");
    assert_eq!(answered(&world, "2", Outcome::Done).await, "web-b: its node is ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_fails_is_told_and_one_that_is_no_longer_wanted_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mirror = format!("http://{}", listener.local_addr().expect("an address"));
    let world = World::with_mirror(Some(mirror)).await;
    up(&world, json!({})).await;
    ask(&world, "1", json!({"images": [{"image": "slow.test/web:2"}], "prefetch": "Required"})).await;
    let (mut first, _) = listener.accept().await.expect("asked");
    assert!(first.read(&mut [0; 1024]).await.expect("a question") > 0);
    world.until_told("web-0", "Pulling: Pulling image \"slow.test/web:2\"").await;
    annotate(&world, Value::Null).await;
    first.read_to_end(&mut Vec::new()).await.expect("it hung up");
    assert!(!world.told("web-0").await.iter().any(|event| event.starts_with("Failed")), "given up, not failed");

    ask(&world, "2", json!({"images": [{"image": "slow.test/web:2"}]})).await;
    let refused = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 4096]).await.expect("a question");
            let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            if read > 0 {
                stream.write_all(answer.as_bytes()).await.expect("answered");
            }
        }
    });
    assert!(
        answered(&world, "2", Outcome::Done).await.starts_with("web-b: slow.test/web:2: "),
        "it goes on all the same"
    );
    world.until_told("web-0", "Failed: Failed to pull image \"slow.test/web:2\"").await;
    refused.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_runs_once_and_its_success_outlives_the_agent() {
    let mut world = World::start().await;
    let ran = count_hooks(&world, 0);
    up(&world, json!({})).await;
    ask(&world, "1", json!({"hook": hook()})).await;
    answered(&world, "1", Outcome::Done).await;
    world.end_agent();
    world.start_agent().await;
    // Something to wait for that comes after the taking back.
    let other = world.pod("other", json!({})).await;
    world.until_running("other", &other).await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    // Another request is another hand-over.
    ask(&world, "2", json!({"hook": hook()})).await;
    answered(&world, "2", Outcome::Done).await;
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_is_told_and_tried_again() {
    let world = World::start().await;
    let ran = count_hooks(&world, 1);
    up(&world, json!({})).await;
    ask(&world, "1", json!({"hook": hook()})).await;
    let why = answered(&world, "1", Outcome::HookFailed).await;
    assert_eq!(why, "web-b: command exited with 1: still the leader");
    world.until_told("web-0", "FailedPrepareHook: PrepareHook failed: command exited with 1").await;
    answered(&world, "1", Outcome::Done).await;
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_takes_too_long_or_is_for_no_container_has_failed() {
    let world = World::start().await;
    up(&world, json!({})).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let get = json!({"httpGet": {"host": "127.0.0.1", "port": port, "path": "/demote"}, "timeoutSeconds": 1});
    ask(&world, "1", json!({"hook": get})).await;
    assert_eq!(answered(&world, "1", Outcome::HookFailed).await, "web-b: it took longer than 1s");
    ask(&world, "2", json!({"hook": {"container": "db", "exec": {"command": ["x"]}}})).await;
    assert_eq!(answered(&world, "2", Outcome::HookFailed).await, "web-b: the pod has no container \"db\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_killed_before_it_could_answer_runs_the_hook_once_more() {
    let mut world = World::start().await;
    up(&world, json!({})).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let get = json!({"httpGet": {"host": "127.0.0.1", "port": port, "path": "/demote"}});
    ask(&world, "1", json!({"hook": get})).await;
    let (first, _) = listener.accept().await.expect("asked");
    world.end_agent();
    drop(first);
    world.start_agent().await;
    let (mut second, _) = listener.accept().await.expect("asked again");
    assert!(second.read(&mut [0; 1024]).await.expect("a question") > 0, "the hook hung up");
    second.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("answered");
    answered(&world, "1", Outcome::Done).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_never_runs_in_a_pod_that_is_not_ready() {
    let world = World::start().await;
    let ran = count_hooks(&world, 0);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let probe = json!({"tcpSocket": {"host": "127.0.0.1", "port": address.port()}, "periodSeconds": 1});
    let uid = world.pod("web-0", json!({"containers": [{"name": "c", "image": IMAGE, "readinessProbe": probe}]})).await;
    world.until_running("web-0", &uid).await;
    ask(&world, "1", json!({"hook": hook()})).await;
    answered(&world, "1", Outcome::HookWaits).await;
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free");
    answered(&world, "1", Outcome::Done).await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    drop(listener);
}
