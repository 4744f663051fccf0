//! The status of a Deployment, summed over its sets (contract 1.21, 1.16, 1.24).

use k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSet};

use super::Want;
use super::sets::{Family, size};

/// The counts; conditions and collisions are the step's.
pub(super) fn count(want: &Want<'_>, family: &Family) -> DeploymentStatus {
    let total = |count: &dyn Fn(&ReplicaSet) -> i32| family.all().map(count).sum::<i32>();
    let status = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let available = total(&|set| status(set).available_replicas.unwrap_or(0));
    let updated = family.new.as_ref().map_or(0, |set| status(set).replicas);
    DeploymentStatus {
        observed_generation: want.deployment.metadata.generation,
        replicas: some(total(&|set| status(set).replicas)),
        updated_replicas: some(updated),
        ready_replicas: some(total(&|set| status(set).ready_replicas.unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some((total(&size) - available).max(0)),
        terminating_replicas: terminating(family),
        ..DeploymentStatus::default()
    }
}

/// Whether everything wanted is up and nothing else is (1.16). A set that was only just changed does
/// not show it yet.
pub(super) fn is_complete(want: &Want<'_>, status: &DeploymentStatus) -> bool {
    let all = Some(want.replicas).filter(|replicas| *replicas > 0);
    [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|count| *count == all)
}

/// Whether there is more of the new or less of the old than before (1.24).
pub(super) fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(now.updated_replicas) > count(before.updated_replicas)
        || old(now) < old(before)
        || count(now.ready_replicas) > count(before.ready_replicas)
        || count(now.available_replicas) > count(before.available_replicas)
}

/// Whether `status` is worth a write: absent and zero counts are the same.
pub(super) fn differs(want: &Want<'_>, status: &DeploymentStatus) -> bool {
    let comparable = |status: &DeploymentStatus| DeploymentStatus {
        replicas: some(status.replicas.unwrap_or(0)),
        updated_replicas: some(status.updated_replicas.unwrap_or(0)),
        ready_replicas: some(status.ready_replicas.unwrap_or(0)),
        available_replicas: some(status.available_replicas.unwrap_or(0)),
        unavailable_replicas: some(status.unavailable_replicas.unwrap_or(0)),
        ..status.clone()
    };
    comparable(&want.stored()) != comparable(status)
}

/// Summed, unless a set that was observed does not say.
fn terminating(family: &Family) -> Option<i32> {
    let observed =
        family.all().filter_map(|set| set.status.as_ref()).filter(|status| status.observed_generation.is_some());
    observed.map(|status| status.terminating_replicas).sum()
}

/// Zero counts are left out on the wire.
fn some(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count > 0)
}
