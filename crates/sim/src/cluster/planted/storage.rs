//! Claims that are lost or shared, and a disk that does not keep what it is given.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use stead_client::ObjectKey;

use super::{aftermath, api};
use crate::cluster::disk::DiskMood;
use crate::cluster::scenarios::web;
use crate::cluster::settle::View;
use crate::cluster::users::NAMESPACE;
use crate::cluster::world::World;

pub(super) async fn shared_claim(world: World, _: Duration) {
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

pub(super) async fn lost_claim(world: World, _: Duration) {
    web(&world).await;
    let claims: Api<PersistentVolumeClaim> = api(&world);
    aftermath(claims.delete("data-web-1", &DeleteParams::default()).await).await;
}

pub(super) async fn forgetful_disk(world: World, _: Duration) {
    world.disk().set_mood(DiskMood { forgets: Some(""), ..Default::default() });
    web(&world).await;
}

pub(super) async fn revisions_again(world: World, _: Duration) {
    let user = web(&world).await;
    world.disk().set_mood(DiskMood { turns_back: true, ..Default::default() });
    world.server().kill();
    world.server().start();
    user.scale("web", 2).await;
}

/// Nobody watches what is lost here, so only the promise can tell.
pub(super) async fn empty_promise(world: World, _: Duration) {
    web(&world).await;
    world.kill_controllers();
    world.disk().set_mood(DiskMood { forgets: Some("configmaps"), ..Default::default() });
    let maps: Api<ConfigMap> = Api::namespaced(world.user(), NAMESPACE);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("promised".to_owned()), ..Default::default() },
        ..Default::default()
    };
    aftermath(maps.create(&PostParams::default(), &map).await).await;
}
