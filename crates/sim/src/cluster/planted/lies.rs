//! A server that lies to its clients.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use stead_client::{Cache, ListScope};

use super::aftermath;
use crate::cluster::lies::Lie;
use crate::cluster::link::Weather;
use crate::cluster::scenarios::web;
use crate::cluster::users::NAMESPACE;
use crate::cluster::world::World;

/// The API over a link whose server lies.
fn lied_to<K>(world: &World, lie: Lie) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let link = world.link("careless");
    link.set_weather(Weather { lie: Some(lie), ..Weather::FAIR });
    Api::namespaced(link.client(), NAMESPACE)
}

pub(super) async fn stale_update(world: World, _: Duration) {
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

pub(super) async fn stale_patch(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Forces);
    let deed = async {
        let change = json!({"metadata": {"annotations": {"beat": "1"}, "resourceVersion": "1"}});
        pods.patch("web-1", &PatchParams::default(), &Patch::Merge(change)).await
    };
    aftermath(deed.await).await;
}

/// The pod that was meant is long gone.
pub(super) async fn stale_deletion(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Forces);
    let meant = Preconditions { uid: Some("gone".to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(meant), ..DeleteParams::default() };
    aftermath(pods.delete("web-1", &params).await).await;
}

pub(super) async fn old_answer(world: World, _: Duration) {
    let user = web(&world).await;
    let sets: Api<StatefulSet> = lied_to(&world, Lie::Repeats);
    let deed = async {
        sets.get("web").await?;
        user.scale("web", 2).await;
        sets.get("web").await
    };
    aftermath(deed.await).await;
}

pub(super) async fn other_answer(world: World, _: Duration) {
    web(&world).await;
    let pods: Api<Pod> = lied_to(&world, Lie::Swaps);
    aftermath(pods.get("web-0").await).await;
}

pub(super) async fn short_list(world: World, _: Duration) {
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

pub(super) async fn silent_watch(world: World, _: Duration) {
    watched(&world, Lie::LeavesOut).await;
}

pub(super) async fn untrue_watch(world: World, _: Duration) {
    watched(&world, Lie::Alters).await;
}

pub(super) async fn broken_watch(world: World, _: Duration) {
    watched(&world, Lie::Breaks).await;
}

pub(super) async fn hasty_410(world: World, _: Duration) {
    watched(&world, Lie::Expires).await;
}
