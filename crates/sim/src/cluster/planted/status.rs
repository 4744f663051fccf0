//! A status that is not true.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::rollouts::{held_back, newest};
use super::{aftermath, api};
use crate::cluster::scenarios::web;
use crate::cluster::world::World;

pub(super) async fn wrong_status(world: World, _: Duration) {
    web(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let status = Patch::Merge(json!({"status": {"replicas": 9}}));
    aftermath(sets.patch_status("web", &PatchParams::default(), &status).await).await;
}

pub(super) async fn wrong_count(world: World, _: Duration) {
    web(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let status = Patch::Merge(json!({"status": {"updatedReplicas": 2}}));
    aftermath(sets.patch_status("web", &PatchParams::default(), &status).await).await;
}

/// The update is called done while it has hardly begun.
pub(super) async fn early_revision(world: World, _: Duration) {
    held_back(&world, 2).await;
    let update = newest(&world).await;
    let sets: Api<StatefulSet> = api(&world);
    let status = Patch::Merge(json!({"status": {"currentRevision": update, "currentReplicas": 1}}));
    aftermath(sets.patch_status("web", &PatchParams::default(), &status).await).await;
}
