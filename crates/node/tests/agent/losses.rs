//! What the node loses: its supervisor, its containers, its records.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use stead_net::{Network, PodKey};
use stead_runtime::FakeCall;

use crate::world::{World, status, with_claim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_come_back_after_everything_was_taken_down_can_be_deleted() {
    let mut world = World::start().await;
    world.claim("data-web-0").await;
    let uid = world.pod("web-0", with_claim("data-web-0")).await;
    let before = world.until_running("web-0", &uid).await;
    world.end_agent();
    world.take_everything_down();
    // The address the pod had is another's by now.
    world.network.attach(&PodKey("other".to_owned()), "/fake".as_ref()).await.expect("attached");
    world.start_agent().await;
    let back = world
        .until("back", "web-0", |pod| {
            pod.is_some_and(|pod| {
                status(pod, "c").is_some_and(|status| status.restart_count == 1 && status.ready)
                    && pod.status.as_ref().map(|status| &status.pod_ip)
                        != before.status.as_ref().map(|status| &status.pod_ip)
            })
        })
        .await
        .expect("just seen");
    let shown = back.status.clone().expect("a status");
    let ips: Vec<String> = shown.pod_ips.into_iter().flatten().map(|ip| ip.ip).collect();
    assert_eq!(ips, ["10.244.0.3"], "one address, the new one");
    let last = status(&back, "c").and_then(|status| status.last_state.clone()?.terminated).expect("a last state");
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    world.until_told("web-0", "SandboxChanged: Pod sandbox changed").await;

    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.network.detach(&PodKey("other".to_owned())).await.expect("detached");
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_containers_run_again_when_what_they_made_may_be_lost() {
    let mut world = World::start().await;
    let uid = world.pod("web-0", json!({"initContainers": [{"name": "init", "image": "web:1"}]})).await;
    let init = world.until_runs(&uid, "init", 0).await;
    world.runtime.fake.exit(&init, 0);
    world.until_running("web-0", &uid).await;
    world.end_agent();
    world.take_everything_down();
    world.start_agent().await;
    let init = world.until_runs(&uid, "init", 1).await;
    assert!(world.container(&uid, "c").await.is_none(), "first the init container");
    world.runtime.fake.exit(&init, 0);
    world.until_runs(&uid, "c", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_must_not_restart_is_not_started_again_when_the_node_lost_it() {
    let mut world = World::start().await;
    let uid = world.pod("job", json!({"restartPolicy": "Never"})).await;
    world.until_running("job", &uid).await;
    world.end_agent();
    world.take_everything_down();
    world.start_agent().await;
    let pod = world.until("failed", "job", |pod| pod.is_some_and(|pod| crate::world::phase(pod) == "Failed")).await;
    let pod = pod.expect("just seen");
    let ended = status(&pod, "c").and_then(|status| status.state.clone()?.terminated).expect("ended");
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    assert!(!world.runtime.fake.calls().iter().any(|call| matches!(call, FakeCall::StartContainer(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_supervisor_is_gone_pods_wait_and_nothing_is_blamed_on_them() {
    let world = World::start().await;
    world.runtime.set_unreachable(true);
    let uid = world.pod("web-0", json!({})).await;
    world.until_told("web-0", "FailedCreatePodSandBox").await;
    world.runtime.set_unreachable(false);
    world.until_running("web-0", &uid).await;

    world.runtime.set_unreachable(true);
    world.delete("web-0", None).await;
    world.until("told to end", "web-0", |pod| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())).await;
    world.runtime.set_unreachable(false);
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_container_the_supervisor_lost_sight_of_can_be_deleted() {
    let world = World::start().await;
    let uid = world.pod("web-0", json!({"terminationGracePeriodSeconds": 1})).await;
    world.until_running("web-0", &uid).await;
    let id = world.container(&uid, "c").await.expect("it runs").spec.id;
    world.runtime.lose_sight_of(&id);
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_an_agent_asked_for_and_never_saw_goes_with_its_pod() {
    let mut world = World::start().await;
    let uid = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &uid).await;
    world.end_agent();
    world.delete("web-0", None).await;
    // It was killed while its request was on the way: its successor's first look came too early.
    world.runtime.show_late(&world.container(&uid, "c").await.expect("it runs").spec.id);
    world.start_agent().await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_keeps_neither_the_agent_from_starting_nor_the_pod_from_being_taken_away() {
    let mut world = World::start().await;
    world.claim("data-web-0").await;
    let uid = world.pod("web-0", with_claim("data-web-0")).await;
    world.until_running("web-0", &uid).await;
    world.end_agent();
    world.delete("web-0", Some(0)).await;
    std::fs::write(world.dir().join("pods").join(&uid).join("pod.json"), "{ torn").expect("written");
    // A directory of which nothing else is known.
    std::fs::create_dir(world.dir().join("pods/stray")).expect("made");
    world.start_agent().await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_object_is_deleted_registers_again_and_its_pod_runs_on() {
    let world = World::start().await;
    let (nodes, leases): (Api<Node>, Api<Lease>) =
        (Api::all(world.client.clone()), Api::namespaced(world.client.clone(), "kube-node-lease"));
    let uid = world.pod("web-0", json!({})).await;
    world.until_running("web-0", &uid).await;
    let first = world.eventually("a node", async || nodes.get_opt("n1").await.expect("read")).await;
    let owner = async || {
        let owners = leases.get_opt("n1").await.expect("read")?.metadata.owner_references?;
        Some(owners.first()?.uid.clone())
    };
    world.eventually("a lease", async || owner().await.filter(|uid| Some(uid) == first.metadata.uid.as_ref())).await;

    nodes.delete("n1", &DeleteParams::default()).await.expect("deleted");
    let second = world.eventually("another node", async || {
        let found = nodes.get_opt("n1").await.expect("read")?;
        let ready =
            found.status.as_ref()?.conditions.as_ref()?.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        (ready && found.metadata.uid != first.metadata.uid).then_some(found)
    });
    let second = second.await;
    world.eventually("its lease", async || owner().await.filter(|uid| Some(uid) == second.metadata.uid.as_ref())).await;
    world.until_running("web-0", &uid).await;
}
