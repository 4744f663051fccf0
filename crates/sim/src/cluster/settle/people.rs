//! What people do before everything comes to rest: what they left that cannot work is taken back. Some of their sets
//! they leave paused, or to be updated when somebody deletes pods.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use stead_plan::statefulset::wishes;

use super::View;
use crate::cluster::observer::image;
use crate::cluster::users::User;
use crate::cluster::world::World;

/// Longest until controllers have heard of a template.
const HEARD: Duration = Duration::from_secs(30);

/// Makes the desired state one that can be reached.
pub(super) async fn put_right(world: &World) {
    let user = User::of(world);
    for machine in world.machines() {
        user.cordon(machine.name(), false).await;
    }
    for set in View::of(world).sets() {
        mend(world, &user, &set).await;
    }
    if View::of(world).sets().iter().any(keeps_broken) {
        tokio::time::sleep(HEARD).await;
        delete_broken(world, &user).await;
    }
}

async fn mend(world: &World, user: &User, set: &StatefulSet) {
    let revisions = View::of(world).revisions();
    let name = set.metadata.name.clone().unwrap_or_default();
    let template = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    if template.and_then(image).is_some_and(is_broken) {
        user.set_image(&name, "app:mended").await;
    }
    let paused = !revisions.iter().any(names_broken) && world.dice(&format!("{name} at rest")).permille(300);
    user.annotate(&name, wishes::PAUSED, paused.then_some("true")).await;
    // Some replicas are at the current revision or may go back to it, and it may be one that never worked.
    let current = set.status.as_ref().and_then(|status| status.current_revision.as_ref());
    if revisions.iter().any(|revision| revision.metadata.name.as_ref() == current && names_broken(revision)) {
        user.annotate(&name, wishes::AUTO_ROLLBACK, None).await;
        if !updates_on_delete(set) {
            user.partition(&name, 0).await;
        }
    }
}

/// Pods that nobody else replaces.
async fn delete_broken(world: &World, user: &User) {
    let view = View::of(world);
    let sets: Vec<String> =
        view.sets().iter().filter(|set| keeps_broken(set)).filter_map(|set| set.metadata.uid.clone()).collect();
    for (name, pod) in view.pods() {
        let owner = stead_plan::pods::controller_of(&pod.metadata);
        let is_broken = pod.spec.as_ref().and_then(image).is_some_and(is_broken);
        if is_broken && owner.is_some_and(|owner| sets.contains(&owner.uid)) {
            user.delete_pod(&name, false).await;
        }
    }
}

/// Whether pods of the set may stay at what does not work until somebody deletes them.
fn keeps_broken(set: &StatefulSet) -> bool {
    let annotations = set.metadata.annotations.as_ref();
    updates_on_delete(set) || annotations.is_some_and(|all| all.contains_key(wishes::PARTITION_RAISE))
}

fn updates_on_delete(set: &StatefulSet) -> bool {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete"))
}

/// Whether the revision names an image that does not work.
fn names_broken(revision: &ControllerRevision) -> bool {
    revision.data.as_ref().is_some_and(|data| data.0.to_string().split('"').any(is_broken))
}

fn is_broken(image: &str) -> bool {
    [":bad", ":mute", ":absent"].iter().any(|kind| image.ends_with(kind))
}
