//! Layers of images: there as long as a container uses them or is about to, and no longer.

use rustix::fs::FlockOperation;
use serde_json::json;

use crate::world::{IMAGE, World};

/// Whether nobody holds the layers of the store.
fn can_be_collected(world: &World) -> bool {
    let lock = std::fs::File::open(world.dir().join("images/lock")).expect("the lock of the image store");
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_go_with_the_last_pod_that_uses_them_once_their_image_has_no_name() {
    let world = World::start().await;
    let uid = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &uid).await;
    let other = world.pod("web-1", json!({})).await;
    world.until_running("web-1", &other).await;
    let layers = world.images.get(IMAGE).expect("there").layers.clone();
    assert!(world.images.remove(IMAGE).expect("removed"));
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    assert!(layers.iter().all(|layer| layer.exists()), "the other pod uses them");
    world.delete("web-1", None).await;
    world.until_gone("web-1").await;
    world.eventually("the layers are gone", async || layers.iter().all(|layer| !layer.exists()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_of_a_container_that_is_about_to_start_are_not_collected() {
    let world = World::start().await;
    let starts = world.runtime.hold_starts().await;
    let uid = world.pod("web-0", json!({})).await;
    world.eventually("its start", async || (world.runtime.starts_asked() > 0).then_some(())).await;
    // The runtime does not list the container yet, and its image has no name any more.
    assert!(world.images.remove(IMAGE).expect("removed"));
    assert!(!can_be_collected(&world), "a collection would take its layers away");
    drop(starts);
    world.until_running("web-0", &uid).await;
    assert!(can_be_collected(&world), "the runtime tells what it uses from now on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_of_a_start_under_way_stay_though_the_agent_is_killed() {
    let mut world = World::start().await;
    let starts = world.runtime.hold_starts().await;
    let uid = world.pod("web-0", json!({})).await;
    world.eventually("its start", async || (world.runtime.starts_asked() > 0).then_some(())).await;
    world.end_agent();
    assert!(world.images.remove(IMAGE).expect("removed"));
    assert!(!can_be_collected(&world), "its successor would take the layers away, for the list does not have them yet");
    drop(starts);
    world.until_runs(&uid, "c", 0).await;
    world.eventually("the lock is free", async || can_be_collected(&world).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_starts_while_a_collection_waits_for_its_turn_keeps_its_layers() {
    let world = World::start().await;
    let uid = world.pod("old", json!({})).await;
    world.until_running("old", &uid).await;
    let stale = world.image("stale:1", None);
    let fresh = world.image("fresh:1", None);
    assert!(world.images.remove("stale:1").expect("removed"));
    // Somebody else is at work in the store, so what the end of this pod sets off has to wait.
    let using = world.images.using().expect("locked");
    world.delete("old", None).await;
    world.until_gone("old").await;
    let uid = world.pod("new", json!({"containers": [{"name": "c", "image": "fresh:1"}]})).await;
    world.until_running("new", &uid).await;
    assert!(world.images.remove("fresh:1").expect("removed"));
    drop(using);
    world.eventually("what nobody uses is gone", async || (!stale.exists()).then_some(())).await;
    // Everything of one collection has gone once the store can be locked.
    drop(world.images.using().expect("locked"));
    assert!(fresh.exists(), "it is in use");
}
