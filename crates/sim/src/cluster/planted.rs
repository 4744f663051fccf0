//! Proof that the observer sees: deeds that no controller, agent or store may do, each done on purpose, and
//! the invariant that must notice. They are scenarios like the others, but not among them.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use serde_json::json;
use stead_client::{Cache, ListScope, ObjectKey};
use stead_plan::statefulset::wishes;

use super::lies::Lie;
use super::link::Weather;
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
pub static ALL: [Scenario; 30] = [
    planted!("planted-twin", "I1", twin),
    planted!("planted-twin-beside", "I1", twin_beside),
    planted!("planted-early-pod", "I2", early_pod),
    planted!("planted-early-successor", "I2", early_successor),
    planted!("planted-held-back-update", "I2", held_back_update),
    planted!("planted-lost-claim", "I3", lost_claim),
    planted!("planted-shared-claim", "I3", shared_claim),
    planted!("planted-revisions-again", "I4", revisions_again),
    planted!("planted-empty-promise", "I5", empty_promise),
    planted!("planted-old-answer", "I5", old_answer),
    planted!("planted-other-answer", "I5", other_answer),
    planted!("planted-short-list", "I5", short_list),
    planted!("planted-forgetful-disk", "I6", forgetful_disk),
    planted!("planted-silent-watch", "I6", silent_watch),
    planted!("planted-untrue-watch", "I6", untrue_watch),
    planted!("planted-broken-watch", "I6", broken_watch),
    planted!("planted-hasty-410", "I6", hasty_410),
    planted!("planted-stale-update", "I7", stale_update),
    planted!("planted-stale-patch", "I7", stale_patch),
    planted!("planted-stale-deletion", "I7", stale_deletion),
    planted!("planted-wrong-status", "I8", wrong_status),
    planted!("planted-wrong-count", "I8", wrong_count),
    planted!("planted-early-revision", "I8", early_revision),
    planted!("planted-late-deletion", "I9", late_deletion),
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

async fn shared_claim(world: World, _: Duration) {
    web(&world).await;
    let thief = ObjectKey::new(NAMESPACE, "thief");
    let claims = View::of(&world).claim_uids();
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
    let maps: Api<ConfigMap> = lied_to(&world, Lie::Forces);
    let deed = async {
        let old = maps.get("kube-root-ca.crt").await?;
        let change = Patch::Merge(json!({"metadata": {"annotations": {"beat": "1"}}}));
        maps.patch("kube-root-ca.crt", &PatchParams::default(), &change).await?;
        maps.replace("kube-root-ca.crt", &PostParams::default(), &old).await
    };
    aftermath(deed.await).await;
}

/// The API over a link whose server lies.
fn lied_to<K>(world: &World, lie: Lie) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let link = world.link("careless");
    link.set_weather(Weather { lie: Some(lie), ..Weather::FAIR });
    Api::namespaced(link.client(), NAMESPACE)
}

async fn stale_patch(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Forces);
    let deed = async {
        let change = json!({"metadata": {"annotations": {"beat": "1"}, "resourceVersion": "1"}});
        pods.patch("web-1", &PatchParams::default(), &Patch::Merge(change)).await
    };
    aftermath(deed.await).await;
}

/// The pod that was meant is long gone.
async fn stale_deletion(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Forces);
    let meant = Preconditions { uid: Some("gone".to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(meant), ..DeleteParams::default() };
    aftermath(pods.delete("web-1", &params).await).await;
}

async fn old_answer(world: World, _: Duration) {
    let user = web(&world).await;
    let sets: Api<StatefulSet> = lied_to(&world, Lie::Repeats);
    let deed = async {
        sets.get("web").await?;
        user.scale("web", 2).await;
        sets.get("web").await
    };
    aftermath(deed.await).await;
}

async fn other_answer(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Swaps);
    aftermath(pods.get("web-0").await).await;
}

async fn short_list(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Shortens);
    aftermath(pods.list(&ListParams::default()).await).await;
}

/// Somebody watches the pods of a set over a link whose server lies, and the set rolls.
async fn watched(world: &World, lie: Lie) {
    let user = web(world).await;
    let pods: Api<Pod> = lied_to(world, lie);
    let watched = Cache::start(pods, ListScope { labels: Some("app=web".to_owned()), ..ListScope::default() });
    user.set_image("web", "app:v1").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    drop(watched);
}

async fn silent_watch(world: World, _: Duration) {
    watched(&world, Lie::LeavesOut).await;
}

async fn untrue_watch(world: World, _: Duration) {
    watched(&world, Lie::Alters).await;
}

async fn broken_watch(world: World, _: Duration) {
    watched(&world, Lie::Breaks).await;
}

async fn hasty_410(world: World, _: Duration) {
    watched(&world, Lie::Expires).await;
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

async fn wrong_status(world: World, _: Duration) {
    web(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let status = Patch::Merge(json!({"status": {"replicas": 9}}));
    aftermath(sets.patch_status("web", &PatchParams::default(), &status).await).await;
}

async fn wrong_count(world: World, _: Duration) {
    web(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let status = Patch::Merge(json!({"status": {"updatedReplicas": 2}}));
    aftermath(sets.patch_status("web", &PatchParams::default(), &status).await).await;
}

/// The update is called done while it has hardly begun.
async fn early_revision(world: World, _: Duration) {
    let user = web(&world).await;
    user.partition("web", 2).await;
    user.set_image("web", "app:v1").await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    let sets: Api<StatefulSet> = api(&world);
    let deed = async {
        let update = sets.get("web").await?.status.and_then(|status| status.update_revision);
        let status = Patch::Merge(json!({"status": {"currentRevision": update, "currentReplicas": 1}}));
        sets.patch_status("web", &PatchParams::default(), &status).await
    };
    aftermath(deed.await).await;
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
