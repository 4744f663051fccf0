//! Pods that live and end, with an agent that sometimes is not there.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use stead_runtime::FakeCall;

use crate::world::{World, phase, status, waits, with_claim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_comes_up_and_leaves_nothing_behind() {
    let world = World::start().await;
    let claim = world.claim("data-web-0").await;
    let uid = world.pod("web-0", with_claim("data-web-0")).await;
    let pod = world.until_running("web-0", &uid).await;
    let status = pod.status.clone().expect("a status");
    assert_eq!((status.pod_ip.as_deref(), status.host_ip.as_deref()), (Some("10.244.0.2"), Some("192.0.2.1")));
    let container = world.container(&uid, "c").await.expect("it runs");
    let mounted = container.spec.mounts.iter().find(|mount| mount.destination.ends_with("data")).expect("mounted");
    assert_eq!(mounted.source, claim);
    assert_eq!(world.locks(), [format!("default/web-0 {uid}\n")]);
    std::fs::write(claim.join("shard"), "0").expect("written");

    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
    assert!(claim.join("shard").exists(), "the data is the claim's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_exits_while_the_agent_is_away_is_restarted_once() {
    let mut world = World::start().await;
    let uid = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &uid).await;
    let first = world.container(&uid, "c").await.expect("it runs").spec.id;
    world.end_agent();
    assert!(world.runtime.fake.exit(&first, 3));
    world.start_agent().await;
    let pod = world
        .until("running again", "web-0", |pod| {
            pod.and_then(|pod| status(pod, "c")).is_some_and(|status| status.restart_count == 1 && status.ready)
        })
        .await
        .expect("just seen");
    let last = status(&pod, "c").and_then(|status| status.last_state.clone()?.terminated).expect("a last state");
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    let starts = world.runtime.fake.calls().into_iter().filter(|call| matches!(call, FakeCall::StartContainer(_)));
    assert_eq!(starts.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_run_are_taken_back_as_they_are() {
    let mut world = World::start().await;
    let uid = world.pod("web-0", json!({})).await;
    let before = world.until_running("web-0", &uid).await;
    let calls = world.runtime.fake.calls();
    world.end_agent();
    world.start_agent().await;
    // Something to wait for that comes after the taking back.
    let other = world.pod("other", json!({})).await;
    world.until_running("other", &other).await;
    let after = world.pods.get("default", "web-0").expect("there");
    assert_eq!(after.status, before.status, "nothing happened to it");
    let about = |call: &FakeCall| !format!("{call:?}").contains(&other);
    assert!(world.runtime.fake.calls().into_iter().filter(about).eq(calls), "nothing was asked about it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_takes_long_is_told_about_and_given_up_when_its_pod_is_deleted() {
    // A registry that takes a connection and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mirror = format!("http://{}", listener.local_addr().expect("an address"));
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let world = World::with_mirror(Some(mirror)).await;
    world.pod("web-0", json!({"containers": [{"name": "c", "image": "slow.test/web:1"}]})).await;
    world.until_told("web-0", "Pulling: Pulling image").await;
    world.until("shown", "web-0", |pod| pod.is_some_and(|pod| waits(pod, "c").is_some())).await;
    world.until_told("web-0", "Pulling: Pulling image \"slow.test/web:1\": waiting for the registry").await;
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
    assert!(!world.told("web-0").await.iter().any(|event| event.starts_with("Failed")), "it was given up, not failed");
    silent.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_incarnation_waits_for_the_last_process_of_a_pod_that_was_deleted_by_force() {
    let world = World::start().await;
    world.claim("data-web-0").await;
    let old = world.pod("web-0", with_claim("data-web-0")).await;
    world.until_running("web-0", &old).await;
    world.runtime.fake.ignore_signals("c");
    world.delete("web-0", Some(0)).await;
    let new = world.pod("web-0", with_claim("data-web-0")).await;
    assert_eq!(world.locks(), [format!("default/web-0 {old}\n")], "the old one still has it");
    world.until_running("web-0", &new).await;
    assert_eq!(world.locks(), [format!("default/web-0 {new}\n")]);
    let calls = world.runtime.fake.calls();
    let at = |wanted: &dyn Fn(&FakeCall) -> bool| calls.iter().position(wanted).expect("it was asked");
    let removed = at(&|call| matches!(call, FakeCall::RemoveContainer(id) if id.0.starts_with(&old)));
    let started = at(&|call| matches!(call, FakeCall::StartContainer(id) if id.0.starts_with(&new)));
    assert!(removed < started, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_deleted_and_made_again_while_the_agent_is_away_never_runs_twice() {
    let mut world = World::start().await;
    world.claim("data-web-0").await;
    let old = world.pod("web-0", with_claim("data-web-0")).await;
    world.until_running("web-0", &old).await;
    world.runtime.fake.ignore_signals("c");
    world.end_agent();
    world.delete("web-0", Some(0)).await;
    let new = world.pod("web-0", with_claim("data-web-0")).await;
    world.start_agent().await;
    world.until_running("web-0", &new).await;
    assert!(world.container(&old, "c").await.is_none());
    assert_eq!(world.locks(), [format!("default/web-0 {new}\n")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_given_back_although_it_is_gone_from_the_api() {
    let world = World::start().await;
    world.claim("data-web-0").await;
    let uid = world.pod("web-0", with_claim("data-web-0")).await;
    world.until_running("web-0", &uid).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "default");
    let claim = claims.get("data-web-0").await.expect("there");
    // Nobody here protects it.
    assert!(claim.metadata.finalizers.unwrap_or_default().iter().all(|name| name == "kubernetes.io/pvc-protection"));
    let free = json!({"metadata": {"finalizers": null}});
    claims.patch("data-web-0", &Default::default(), &kube::api::Patch::Merge(free)).await.expect("freed");
    claims.delete("data-web-0", &DeleteParams::default()).await.expect("deleted");
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_container_that_fails_is_restarted_and_then_backs_off() {
    let world = World::start().await;
    let uid = world.pod("web-0", json!({"initContainers": [{"name": "init", "image": "web:1"}]})).await;
    let first = world.until_runs(&uid, "init", 0).await;
    world.runtime.fake.exit(&first, 1);
    let second = world.until_runs(&uid, "init", 1).await;
    world.runtime.fake.exit(&second, 1);
    let pod = world
        .until("backing off", "web-0", |pod| {
            pod.is_some_and(|pod| waits(pod, "init").as_deref() == Some("CrashLoopBackOff"))
        })
        .await
        .expect("just seen");
    assert_eq!((phase(&pod), waits(&pod, "c").as_deref()), ("Pending", Some("PodInitializing")));
    let message = status(&pod, "init").and_then(|status| status.state.clone()?.waiting?.message);
    let long_name = format!("web-0_default({uid})");
    assert_eq!(message, Some(format!("back-off 10s restarting failed container=init pod={long_name}")));
    world.until_told("web-0", &format!("BackOff: Back-off restarting failed container init in pod {long_name}")).await;
    assert!(world.container(&uid, "c").await.is_none(), "the container waits for it");
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}
