//! Panics of the agent's own parts: the pod they were about goes on, and so does the next one of its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::world::{IMAGE, World, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_panics_begins_again() {
    let world = World::start().await;
    world.runtime.panic_once("start_container");
    let old = world.pod("web-0", json!({})).await;
    let pod = world.until_running("web-0", &old).await;
    assert_eq!(status(&pod, "c").expect("shown").restart_count, 0);

    // Nobody else tells the next pod of this name that the last one is gone.
    world.runtime.panic_once("remove_sandbox");
    world.delete("web-0", Some(0)).await;
    let new = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &new).await;
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_panics_goes_on() {
    let world = World::start().await;
    let uid = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &uid).await;
    world.runtime.panic_once("kill_container");
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_panics_has_failed() {
    let world = World::start().await;
    let panics = Arc::new(AtomicBool::new(true));
    world.runtime.fake.on_exec(move |_, _| {
        assert!(!panics.swap(false, Ordering::SeqCst), "the hook panics as it was told to");
        Ok((0, Vec::new()))
    });
    let hook = json!({"postStart": {"exec": {"command": ["prepare"]}}});
    let uid = world.pod("web-0", json!({"containers": [{"name": "db", "image": IMAGE, "lifecycle": hook}]})).await;
    let pod = world.until_running("web-0", &uid).await;
    assert_eq!(status(&pod, "db").expect("shown").restart_count, 1);
    world.until_told("web-0", "FailedPostStartHook: PostStartHook failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_panics_goes_on() {
    let world = World::start().await;
    let looks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&looks);
    world.runtime.fake.on_exec(move |id, _| match (id.0.ends_with("-0"), seen.fetch_add(1, Ordering::SeqCst)) {
        (true, 0) => panic!("the check panics as it was told to"),
        (true, _) => Ok((1, b"no space left".to_vec())),
        (false, _) => Ok((0, Vec::new())),
    });
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
    let uid = world.pod("web-0", json!({"containers": [{"name": "c", "image": IMAGE, "livenessProbe": probe}]})).await;
    world.until_runs(&uid, "c", 1).await;
    let unknown = "Unhealthy: Liveness probe errored and resulted in unknown state: it panicked: the check panics";
    world.until_told("web-0", unknown).await;
    world.until_told("web-0", "Unhealthy: Liveness probe failed: no space left").await;
}
