//! Proof that the observer sees: deeds that no controller, agent or store may do, each done on purpose, and
//! the invariant that must notice. They are scenarios like the others, but not among them.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;
use stead_client::ObjectKey;

use super::link::Weather;
use super::observer::CONTROLLERS;
use super::scenarios::{Course, Scenario, web};
use super::users::NAMESPACE;
use super::world::World;

macro_rules! planted {
    ($name:literal, $invariant:literal, $run:path) => {
        Scenario { name: $name, fault: 0, about: $invariant, course: Course::Run(|w, t| Box::pin($run(w, t))) }
    };
}

/// All of them; `about` is the invariant.
pub static ALL: [Scenario; 15] = [
    planted!("planted-twin", "I1", twin),
    planted!("planted-early-pod", "I2", early_pod),
    planted!("planted-held-back-update", "I2", held_back_update),
    planted!("planted-lost-claim", "I3", lost_claim),
    planted!("planted-shared-claim", "I3", shared_claim),
    planted!("planted-revisions-again", "I4", revisions_again),
    planted!("planted-empty-promise", "I5", empty_promise),
    planted!("planted-forgetful-disk", "I6", forgetful_disk),
    planted!("planted-stale-update", "I7", stale_update),
    planted!("planted-wrong-status", "I8", wrong_status),
    planted!("planted-needless-deletion", "I9", needless_deletion),
    planted!("planted-namesake-taken", "I9", namesake_taken),
    planted!("planted-orphan-taken", "I10", orphan_taken),
    planted!("planted-stale-names", "I11", stale_names),
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

async fn shared_claim(world: World, _: Duration) {
    web(&world).await;
    let thief = ObjectKey::new(NAMESPACE, "thief");
    let claims = super::settle::View::of(&world).claim_uids();
    for machine in world.machines() {
        if claims.values().any(|claim| machine.steal(claim, &thief)) {
            machine.start(&thief, "thief", "c", 0, "app:v0");
            return;
        }
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

async fn lost_claim(world: World, _: Duration) {
    web(&world).await;
    let claims: Api<PersistentVolumeClaim> = api(&world);
    aftermath(claims.delete("data-web-1", &DeleteParams::default()).await).await;
}

async fn forgetful_disk(world: World, _: Duration) {
    world.disk().set_mood(super::disk::DiskMood { forgets: Some(""), ..Default::default() });
    web(&world).await;
}

async fn revisions_again(world: World, _: Duration) {
    let user = web(&world).await;
    world.disk().set_mood(super::disk::DiskMood { turns_back: true, ..Default::default() });
    world.server().kill();
    world.server().start();
    user.scale("web", 2).await;
}

/// Nobody watches what is lost here, so only the promise can tell.
async fn empty_promise(world: World, _: Duration) {
    web(&world).await;
    world.kill_controllers();
    world.disk().set_mood(super::disk::DiskMood { forgets: Some("configmaps"), ..Default::default() });
    let maps: Api<ConfigMap> = Api::namespaced(world.user(), NAMESPACE);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("promised".to_owned()), ..Default::default() },
        ..Default::default()
    };
    aftermath(maps.create(&PostParams::default(), &map).await).await;
}

async fn stale_update(world: World, _: Duration) {
    web(&world).await;
    let link = world.link("careless");
    link.set_weather(Weather { forces: true, ..Weather::FAIR });
    let maps: Api<ConfigMap> = Api::namespaced(link.client(), NAMESPACE);
    let deed = async {
        let old = maps.get("kube-root-ca.crt").await?;
        let change = Patch::Merge(json!({"metadata": {"annotations": {"beat": "1"}}}));
        maps.patch("kube-root-ca.crt", &PatchParams::default(), &change).await?;
        maps.replace("kube-root-ca.crt", &PostParams::default(), &old).await
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

async fn wrong_status(world: World, _: Duration) {
    web(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let status = Patch::Merge(json!({"status": {"replicas": 9}}));
    aftermath(sets.patch_status("web", &PatchParams::default(), &status).await).await;
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

/// A replica below the partition comes back at the revision that is held back.
async fn held_back_update(world: World, _: Duration) {
    let user = web(&world).await;
    user.partition("web", 3).await;
    user.set_image("web", "app:v1").await;
    // Until nothing that was seen before that counts any more.
    tokio::time::sleep(Duration::from_secs(200)).await;
    let (pods, sets): (Api<Pod>, Api<StatefulSet>) = (api(&world), api(&world));
    let deed = async {
        let mut pod = pods.get("web-2").await?;
        let update = sets.get("web").await?.status.and_then(|status| status.update_revision);
        world.kill_controllers();
        user.delete_pod("web-2", false).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.extend(update.map(|update| ("controller-revision-hash".to_owned(), update)));
        pod.metadata.resource_version = None;
        pod.metadata.uid = None;
        pods.create(&PostParams::default(), &pod).await
    };
    aftermath(deed.await).await;
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
