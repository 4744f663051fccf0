//! Lifecycle hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stead_runtime::{FakeCall, RuntimeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{IMAGE, World, status, waits};

fn hooked(command: &str) -> Value {
    json!({"name": "db", "image": IMAGE, "lifecycle": {"postStart": {"exec": {"command": [command]}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_start_hook_is_through_before_the_next_container_starts() {
    let world = World::start().await;
    let seen = Arc::new(AtomicI32::new(0));
    let (looker, runtime) = (Arc::clone(&seen), world.runtime.fake.clone());
    world.runtime.fake.on_exec(move |_, spec| {
        assert_eq!(spec.args, ["prepare"]);
        assert!(runtime.container_named("after").is_none(), "the next one waits");
        looker.fetch_add(1, Ordering::SeqCst);
        Ok((0, Vec::new()))
    });
    let uid = world.pod("web-0", json!({"containers": [hooked("prepare"), {"name": "after", "image": IMAGE}]})).await;
    world.until_running("web-0", &uid).await;
    assert_eq!(seen.load(Ordering::SeqCst), 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_whose_post_start_hook_fails_is_killed_and_starts_again() {
    let world = World::start().await;
    let left = Arc::new(AtomicI32::new(1));
    world.runtime.fake.on_exec(move |_, _| {
        if left.fetch_sub(1, Ordering::SeqCst) > 0 { Ok((1, b"no".to_vec())) } else { Ok((0, Vec::new())) }
    });
    let uid = world.pod("web-0", json!({"containers": [hooked("prepare")]})).await;
    let pod = world.until_running("web-0", &uid).await;
    assert_eq!(status(&pod, "db").expect("shown").restart_count, 1);
    world.until_told("web-0", "FailedPostStartHook: PostStartHook failed").await;
    world.until_told("web-0", "Killing: FailedPostStartHook").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_its_hook_is_through_a_container_is_shown_as_being_made() {
    let mut world = World::start().await;
    // The hook asks over HTTP somewhere that takes the connection and does not answer yet.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let hook = json!({"httpGet": {"host": "127.0.0.1", "port": port, "path": "/"}});
    let container = json!({"name": "db", "image": IMAGE, "lifecycle": {"postStart": hook}});
    let uid = world.pod("web-0", json!({"containers": [container]})).await;
    let (first, _) = listener.accept().await.expect("asked");
    let pod = world.until("shown", "web-0", |pod| pod.is_some_and(|pod| waits(pod, "db").is_some())).await;
    assert_eq!(waits(&pod.expect("just seen"), "db").as_deref(), Some("ContainerCreating"));

    // An agent that takes over cannot know how far the hook came: it runs again, in the same incarnation.
    world.end_agent();
    drop(first);
    world.start_agent().await;
    let (mut second, _) = listener.accept().await.expect("asked again");
    // A client takes an answer that comes before its question for a fault.
    assert!(second.read(&mut [0; 1024]).await.expect("a question") > 0, "the hook hung up");
    let answer = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    second.write_all(answer).await.expect("answered: any answer will do");
    let pod = world.until_running("web-0", &uid).await;
    assert_eq!(status(&pod, "db").expect("shown").restart_count, 0);
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pre_stop_hook_that_fails_is_told_and_the_container_ends_all_the_same() {
    let world = World::start().await;
    world.runtime.fake.on_exec(|_, _| Err(RuntimeError::Start("no such file".to_owned())));
    let hook = json!({"preStop": {"exec": {"command": ["flush"]}}});
    world.pod("web-0", json!({"containers": [{"name": "db", "image": IMAGE, "lifecycle": hook}]})).await;
    world.until("ready", "web-0", |pod| pod.and_then(|pod| status(pod, "db")).is_some_and(|status| status.ready)).await;
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.until_told("web-0", "FailedPreStopHook: PreStopHook failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_has_two_seconds_to_end_however_short_its_grace_is() {
    let world = World::start().await;
    world.runtime.fake.ignore_signals("c");
    let uid = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &uid).await;
    let id = world.container(&uid, "c").await.expect("runs").spec.id;
    let asked = Instant::now();
    world.delete("web-0", Some(1)).await;
    let kill = FakeCall::KillContainer(id, 9);
    world.eventually("killed", async || world.runtime.fake.calls().contains(&kill).then_some(())).await;
    assert!(asked.elapsed() >= Duration::from_secs(2), "after {:?}", asked.elapsed());
}
