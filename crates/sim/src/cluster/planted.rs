//! Proof that the observer sees: deeds that no controller, agent or store may do, each done on purpose, and
//! the invariant that must notice. They are scenarios like the others, but not among them.

mod lies;
mod rollouts;
mod status;
mod storage;

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;
use stead_client::ObjectKey;
use stead_plan::statefulset::wishes;

use super::observer::CONTROLLERS;
use super::scenarios::{Course, Scenario, web};
use super::settle::View;
use super::users::NAMESPACE;
use super::world::World;

macro_rules! planted {
    ($name:literal, $invariant:literal, $run:path) => {
        Scenario { name: $name, fault: 0, about: $invariant, course: Course::Run(|w, t| Box::pin($run(w, t))) }
    };
}

/// All of them; `about` is the invariant.
pub static ALL: [Scenario; 39] = [
    planted!("planted-twin", "I1", twin),
    planted!("planted-twin-beside", "I1", twin_beside),
    planted!("planted-early-pod", "I2", early_pod),
    planted!("planted-early-successor", "I2", early_successor),
    planted!("planted-held-back-update", "I2", rollouts::held_back_update),
    planted!("planted-old-revision", "I2", rollouts::old_revision),
    planted!("planted-paused-update", "I2", rollouts::paused_update),
    planted!("planted-lost-claim", "I3", storage::lost_claim),
    planted!("planted-shared-claim", "I3", storage::shared_claim),
    planted!("planted-revisions-again", "I4", storage::revisions_again),
    planted!("planted-empty-promise", "I5", storage::empty_promise),
    planted!("planted-old-answer", "I5", lies::old_answer),
    planted!("planted-other-answer", "I5", lies::other_answer),
    planted!("planted-short-list", "I5", lies::short_list),
    planted!("planted-forgetful-disk", "I6", storage::forgetful_disk),
    planted!("planted-silent-watch", "I6", lies::silent_watch),
    planted!("planted-untrue-watch", "I6", lies::untrue_watch),
    planted!("planted-broken-watch", "I6", lies::broken_watch),
    planted!("planted-hasty-410", "I6", lies::hasty_410),
    planted!("planted-stale-update", "I7", lies::stale_update),
    planted!("planted-stale-patch", "I7", lies::stale_patch),
    planted!("planted-stale-deletion", "I7", lies::stale_deletion),
    planted!("planted-wrong-status", "I8", status::wrong_status),
    planted!("planted-wrong-count", "I8", status::wrong_count),
    planted!("planted-early-revision", "I8", status::early_revision),
    planted!("planted-late-deletion", "I9", late_deletion),
    planted!("planted-unasked-update", "I9", rollouts::unasked_update),
    planted!("planted-unasked-revision", "I9", rollouts::unasked_revision),
    planted!("planted-unasked-template", "I9", rollouts::unasked_template),
    planted!("planted-held-deletion", "I9", rollouts::held_deletion),
    planted!("planted-hasty-deletion", "I9", rollouts::hasty_deletion),
    planted!("planted-mislabelled", "I9", rollouts::mislabelled),
    planted!("planted-mislabelled-by-hand", "I9", rollouts::mislabelled_by_hand),
    planted!("planted-needless-deletion", "I9", needless_deletion),
    planted!("planted-namesake-taken", "I9", namesake_taken),
    planted!("planted-orphan-taken", "I10", orphan_taken),
    planted!("planted-stale-names", "I11", stale_names),
    planted!("planted-old-address", "I11", old_address),
    planted!("planted-restlessness", "I12", restlessness),
];

/// Whatever the deed, the world goes on for a while.
async fn aftermath<T>(deed: kube::Result<T>) {
    tokio::time::sleep(Duration::from_secs(if deed.is_ok() { 60 } else { 1 })).await;
}

/// The API, as a controller.
fn api<K>(world: &World) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(world.link(CONTROLLERS).client(), NAMESPACE)
}

async fn twin(world: World, _: Duration) {
    web(&world).await;
    world.machines()[0].start(&ObjectKey::new(NAMESPACE, "web-1"), "twin", "c", 0, "app:v0");
}

/// On the very node where web-1 runs.
async fn twin_beside(world: World, _: Duration) {
    web(&world).await;
    let node = View::of(&world).pods()["web-1"].spec.as_ref().and_then(|spec| spec.node_name.clone());
    let machine = world.machines().iter().find(|machine| Some(machine.name()) == node.as_deref());
    if let Some(machine) = machine {
        machine.start(&ObjectKey::new(NAMESPACE, "web-1"), "twin", "c", 0, "app:v0");
    }
}

async fn early_pod(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = api(&world);
    let deed = async {
        let mut pod = pods.get("web-2").await?;
        pod.metadata.name = Some("web-7".to_owned());
        pod.metadata.resource_version = None;
        pod.metadata.uid = None;
        pods.create(&PostParams::default(), &pod).await
    };
    aftermath(deed.await).await;
}

async fn orphan_taken(world: World, _: Duration) {
    let user = web(&world).await;
    user.delete_set("web", PropagationPolicy::Orphan).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pods: Api<Pod> = api(&world);
    aftermath(pods.delete("web-0", &DeleteParams::default()).await).await;
}

async fn stale_names(world: World, _: Duration) {
    let user = web(&world).await;
    world.partition_resolver(true);
    user.scale("web", 1).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
}

/// The nodes come back with pods at other addresses, which the name server does not hear of.
async fn old_address(world: World, _: Duration) {
    web(&world).await;
    world.partition_resolver(true);
    for nth in 0..world.machines().len() {
        world.power_off(nth);
        world.power_on(nth);
    }
    tokio::time::sleep(Duration::from_secs(400)).await;
}

/// A replica that was surplus a minute ago goes, though it is wanted again and has been made anew.
async fn late_deletion(world: World, _: Duration) {
    let user = web(&world).await;
    user.scale("web", 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    user.scale("web", 3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pods: Api<Pod> = api(&world);
    aftermath(pods.delete("web-2", &DeleteParams::default()).await).await;
}

/// A replica is made by those who have just taken away one below it.
async fn early_successor(world: World, _: Duration) {
    let user = web(&world).await;
    world.kill_controllers();
    user.annotate("web", wishes::RESET, Some("0=g1")).await;
    user.scale("web", 4).await;
    let pods: Api<Pod> = api(&world);
    let deed = async {
        let mut pod = pods.get("web-2").await?;
        pods.delete("web-0", &DeleteParams::default()).await?;
        pod.metadata.name = Some("web-3".to_owned());
        pod.metadata.resource_version = None;
        pod.metadata.uid = None;
        pods.create(&PostParams::default(), &pod).await
    };
    aftermath(deed.await).await;
}

async fn needless_deletion(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = api(&world);
    aftermath(pods.delete("web-0", &DeleteParams::default()).await).await;
}

/// The set is a new one of an old name: that the old one is gone is no reason.
async fn namesake_taken(world: World, _: Duration) {
    let user = web(&world).await;
    user.delete_set("web", PropagationPolicy::Background).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    web(&world).await;
    let pods: Api<Pod> = api(&world);
    aftermath(pods.delete("web-0", &DeleteParams::default()).await).await;
}

async fn restlessness(world: World, _: Duration) {
    web(&world).await;
    let maps: Api<ConfigMap> = api(&world);
    let restless: BoxFuture<'static, ()> = Box::pin(async move {
        for beat in 0.. {
            let change = Patch::Merge(json!({"metadata": {"annotations": {"beat": format!("{beat}")}}}));
            let deed = maps.patch("kube-root-ca.crt", &PatchParams::default(), &change).await;
            aftermath(deed).await;
        }
    });
    drop(tokio::spawn(restless));
}
