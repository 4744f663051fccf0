//! The status of a set, counted from its pods (contract section O).
//!
//! Differences from Kubernetes, all where the contract calls its behaviour a fault: counts are never
//! adjusted, only counted, with the pods that the plan removes already left out (O5, S4); an
//! OnDelete set whose pods have all been replaced completes like any other (O7, S4); conditions
//! somebody put there stay (O9, S5). Where a rollout may be taken back, `currentRevision` stays until all
//! replicas can be trusted; and while a set is paused, it stays when there are no replicas.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};

use super::Stage;
use super::actions::Draft;
use super::update;
use super::views::PodView;

/// The status as the plan will have left things.
pub(super) fn count(stage: &Stage<'_>, draft: &Draft) -> StatefulSetStatus {
    let set = &stage.view.set;
    let Tally { replicas, ready, available, updated, mut current } = Tally::of(stage, draft);
    let mut current_revision = &stage.resolved.current;
    let complete = [updated, ready, replicas].iter().all(|count| *count == set.range.replicas);
    if complete && may_complete(stage, draft) {
        current_revision = &stage.resolved.update;
        current = updated;
    }
    StatefulSetStatus {
        observed_generation: Some(set.generation),
        replicas,
        ready_replicas: some_if_positive(ready),
        available_replicas: Some(available),
        current_replicas: some_if_positive(current),
        updated_replicas: some_if_positive(updated),
        current_revision: Some(current_revision.0.clone()),
        update_revision: Some(stage.resolved.update.0.clone()),
        collision_count: Some(stage.resolved.collisions),
        conditions: None,
    }
}

/// How many pods of the set there are, and how many of them are what.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    replicas: i32,
    ready: i32,
    available: i32,
    /// At the update revision, and not on their way out.
    updated: i32,
    /// The same at the current one.
    current: i32,
}

impl Tally {
    fn of(stage: &Stage<'_>, draft: &Draft) -> Self {
        let min_ready_s = stage.view.set.min_ready_s;
        let mut tally = Self::default();
        for pod in stage.claimed.all() {
            let stays = !pod.terminating && !draft.is_doomed(&pod.target);
            tally.replicas += 1;
            tally.ready += i32::from(pod.running_ready());
            tally.available += i32::from(pod.available(min_ready_s, stage.now));
            tally.updated += i32::from(stays && stage.resolved.is_update(pod));
            tally.current += i32::from(stays && stage.resolved.is_current(pod));
        }
        tally
    }
}

/// Whether a rollout all of whose replicas are Ready has come to its end: then there is no way back. One that may
/// have to be called failed or be taken back ends only when every replica has come to stay. A paused set without
/// replicas has rolled out nothing.
fn may_complete(stage: &Stage<'_>, draft: &Draft) -> bool {
    let set = &stage.view.set;
    let nothing_rolled = set.wishes.paused && set.range.replicas == 0;
    let wanted = |pod: &PodView| pod.ordinal.is_some_and(|ordinal| set.range.contains(ordinal));
    let stays = |pod: &PodView| wanted(pod) && update::unfit(stage, pod, draft).is_none();
    !nothing_rolled && (!set.wishes.watches_rollouts() || stage.claimed.all().all(stays))
}

/// When the counts next change by the passing of time alone (N3).
pub(super) fn next_change(stage: &Stage<'_>) -> Option<Timestamp> {
    let set = &stage.view.set;
    let available = stage.claimed.all().filter_map(|pod| pod.available_at(set.min_ready_s));
    let available = available.filter(|at| *at > stage.now).min();
    let way_back = set.wishes.watches_rollouts() && stage.resolved.current != stage.resolved.update;
    available.into_iter().chain(way_back.then(|| update::next_in_place(stage)).flatten()).min()
}

/// Whether `status` is worth a write over the stored one (O8).
pub(super) fn is_news(set: &StatefulSet, status: &StatefulSetStatus) -> bool {
    let Some(stored) = &set.status else { return true };
    let comparable = |status: &StatefulSetStatus| {
        let count = |count: Option<i32>| count.unwrap_or(0);
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        (
            [
                status.replicas,
                count(status.ready_replicas),
                count(status.available_replicas),
                count(status.current_replicas),
                count(status.updated_replicas),
                count(status.collision_count),
            ],
            [name(&status.current_revision), name(&status.update_revision)],
        )
    };
    stored.observed_generation < status.observed_generation
        || comparable(stored) != comparable(status)
        || stored.conditions.as_deref().unwrap_or_default() != status.conditions.as_deref().unwrap_or_default()
}

/// Zero counts other than replicas and availableReplicas are left out on the wire (A9).
fn some_if_positive(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count > 0)
}
