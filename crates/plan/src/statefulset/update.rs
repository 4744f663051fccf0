//! Rolling out a revision: which replica is replaced next, and at which revision a replica is made
//! (contract sections I and L), with the two rules of Stead's design beside Kubernetes':
//!
//! - *Broken rollouts heal.* A replica that never stood in this incarnation and is not at the
//!   revision it should be at is replaced at once, whatever else waits. One that stood and went
//!   unready halts the rollout, as in Kubernetes, unless its revision was taken back.
//! - *The partition works both ways.* A replica below the partition at a revision newer than the
//!   current one goes back to it, in the same order and under the same budget, unless the set is
//!   annotated `stead.dev/partition-raise: hold`.
//!
//! One guard beside them: where no probe says that a container works, the first replica of a revision
//! has to stay Ready for a moment ([`PROVING_S`]) before the next is touched, so that an update to a
//! crashing image stops at the first replica. The others follow without delay.
//!
//! And one replacement for a racy counter (I2, S7): where the rollingUpdate block is absent,
//! Kubernetes decides by `status.currentReplicas` at which revision a lost replica returns. Here a
//! replica whose turn has not come returns at the current revision only while the update is in
//! doubt, that is, while an updated replica is not Ready.
//!
//! Where the node of a replica can be asked to make ready for the change, it is asked first
//! ([`super::preparing`]).
//!
//! A paused set ([`super::pause`]) rolls and heals nothing. The strategy Recreate of Kubernetes 1.37
//! ([`clear`]) lets all old pods go before the first new one comes.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::Stage;
use super::actions::{Draft, Removal, Rule};
use super::adopt::Claimed;
use super::ordinals::{Ordinal, pod_name};
use super::revisions::{Resolved, RevisionName};
use super::views::{PodView, Strategy};
use super::{claims, pause, preparing, reset, scale};

/// Seconds that the first replica of a revision has to be Ready for where nothing probes it.
const PROVING_S: i32 = 2;

/// The revision at which the replica `ordinal` is made now (section I).
pub(super) fn revision_for_new(stage: &Stage<'_>, ordinal: Ordinal) -> RevisionName {
    let (current, update) = (&stage.resolved.current, &stage.resolved.update);
    if stage.view.set.wishes.paused {
        return pause::revision_for(stage, ordinal);
    }
    let held = match stage.view.set.strategy {
        Strategy::OnDelete | Strategy::Recreate => false,
        Strategy::RollingUpdate { partition: Some(partition), .. } => {
            ordinal < stage.view.set.range.partition_end(partition)
        }
        Strategy::RollingUpdate { partition: None, .. } => awaits_its_turn(stage, ordinal),
    };
    if held { current.clone() } else { update.clone() }
}

/// The replicas below which the turn of an update in doubt has not come, looked for once per plan.
pub(super) type Doubt = Option<Ordinal>;

/// The highest replica that is not updated, while an updated one is not Ready.
pub(super) fn doubt(claimed: &Claimed<'_>, resolved: &Resolved) -> Doubt {
    let in_doubt = || claimed.in_range.values().any(|pod| resolved.is_update(pod) && !pod.running_ready());
    let (ordinal, _) = claimed.in_range.iter().rfind(|(_, pod)| !resolved.is_update(pod))?;
    in_doubt().then_some(*ordinal)
}

/// Whether a higher replica has yet to be updated while an updated one is not Ready. Asked of replicas that are
/// missing or not updated themselves.
fn awaits_its_turn(stage: &Stage<'_>, ordinal: Ordinal) -> bool {
    stage.doubt > Some(ordinal)
}

/// Replaces the replicas that never stood, or are down at a revision that was taken back, and are not at a
/// revision they may be at.
pub(super) fn heal(stage: &Stage<'_>, draft: &mut Draft) {
    if stage.view.set.wishes.paused {
        return;
    }
    for (ordinal, pod) in stage.claimed.in_range.iter().rev() {
        if (is_broken(pod) || is_taken_back(stage, pod)) && is_misplaced(stage, *ordinal, pod) {
            claims::own(stage.view, pod, *ordinal, false, draft);
            draft.delete(pod, *ordinal, Removal::Broken);
        }
    }
}

/// Whether the replica would be made at another revision now. Where that depends on how other replicas
/// fare, what was made at the update revision stays there: replicas must not take turns in moving.
fn is_misplaced(stage: &Stage<'_>, ordinal: Ordinal, pod: &PodView) -> bool {
    match stage.view.set.strategy {
        Strategy::OnDelete => false,
        Strategy::RollingUpdate { partition: None, .. } if stage.resolved.is_update(pod) => false,
        Strategy::RollingUpdate { .. } if stage.view.set.wishes.hold_on_raise && stage.resolved.is_update(pod) => false,
        Strategy::RollingUpdate { .. } | Strategy::Recreate => {
            pod.revision.as_ref() != Some(&revision_for_new(stage, ordinal).label())
        }
    }
}

/// Whether nothing is lost by replacing the pod: it is down and never stood.
fn is_broken(pod: &PodView) -> bool {
    !pod.terminating && !pod.phase.is_terminal() && !pod.running_ready() && !pod.ever_stood
}

/// Whether the pod is down at a revision that was taken back: that it stood once is no reason to wait for it.
fn is_taken_back(stage: &Stage<'_>, pod: &PodView) -> bool {
    let is_down = !pod.terminating && !pod.phase.is_terminal() && !pod.running_ready();
    let mut taken_back = stage.view.set.wishes.rolled_back.iter();
    is_down && taken_back.any(|revision| pod.revision.as_ref() == Some(&revision.label()))
}

/// The wanted ordinals in the order in which they are updated: from the highest down, and those that
/// are to be last after all others.
pub(super) fn rollout_order(stage: &Stage<'_>) -> Vec<Ordinal> {
    let is_last = |ordinal: &Ordinal| stage.claimed.in_range.get(ordinal).is_some_and(|pod| pod.last);
    let mut order: Vec<Ordinal> = stage.view.set.range.ascending().collect();
    order.sort_by_key(|ordinal| (is_last(ordinal), Reverse(*ordinal)));
    order
}

/// For the strategy that lets all pods go before the first new one comes: asks the old ones to end, and
/// says whether they are all gone.
pub(super) fn clear(stage: &Stage<'_>, draft: &mut Draft) -> bool {
    if stage.view.set.strategy != Strategy::Recreate || stage.view.set.wishes.paused {
        return true;
    }
    let mut cleared = true;
    let condemned = stage.claimed.condemned.iter().map(|(ordinal, pod)| (ordinal, pod, Removal::Condemned));
    let wanted = stage.claimed.in_range.iter().map(|(ordinal, pod)| (ordinal, pod, Removal::Outdated));
    for (ordinal, pod, why) in condemned.chain(wanted).filter(|(_, pod, _)| !stage.resolved.is_update(pod)) {
        cleared = false;
        if pod.terminating {
            draft.wait_for(pod, Rule::Terminating);
        } else if !draft.is_doomed(&pod.target) {
            if why == Removal::Outdated {
                claims::own(stage.view, pod, *ordinal, false, draft);
            }
            draft.delete(pod, *ordinal, why);
            draft.wait(&pod.target.name, Rule::Replacing);
        }
    }
    if !cleared {
        // Scaling down comes too late for those that go already, or go with the others.
        scale::give_claims(stage, draft);
    }
    cleared
}

/// Replaces outdated replicas, in the order of the rollout.
pub(super) fn roll(stage: &Stage<'_>, draft: &mut Draft) {
    if stage.view.set.wishes.paused {
        return;
    }
    match stage.view.set.strategy {
        Strategy::OnDelete | Strategy::Recreate => {}
        Strategy::RollingUpdate { partition, unavailable_max: None } => {
            one_by_one(stage, partition.unwrap_or(0), draft);
        }
        Strategy::RollingUpdate { partition, unavailable_max: Some(budget) } => {
            within_budget(stage, partition.unwrap_or(0), budget, draft);
        }
    }
}

/// The first outdated replica goes; the walk waits at the first one that is down (L2).
fn one_by_one(stage: &Stage<'_>, partition: i32, draft: &mut Draft) {
    let outdated = |(ordinal, pod): (&Ordinal, &&PodView)| is_outdated(stage, *ordinal, pod, partition);
    if !stage.claimed.in_range.iter().any(outdated) {
        return;
    }
    let order = rollout_order(stage);
    let place = |ordinal: &Ordinal| stage.claimed.in_range.get(ordinal).is_some_and(|pod| outdated((ordinal, pod)));
    let end = order.iter().rposition(place).map_or(0, |last| last + 1);
    for ordinal in order.into_iter().take(end) {
        // What a missing replica waits for has been said when it could not be made.
        let Some(pod) = stage.claimed.in_range.get(&ordinal) else { return };
        if !pod.terminating && !draft.is_doomed(&pod.target) && is_outdated(stage, ordinal, pod, partition) {
            if let Some(other) = reset::in_work(stage, draft).filter(|other| *other != ordinal) {
                draft.wait(&pod_name(&stage.view.set.name, other), Rule::Resetting);
                return;
            }
            if stage.view.set.wishes.update_last.is_some() && !is_done_with_the_last(stage, partition, draft) {
                return;
            }
            preparing::replace(stage, ordinal, pod, draft);
            return;
        }
        if let Some((rule, at)) = unfit(stage, pod, draft) {
            draft.wait_for(pod, rule);
            if let Some(at) = at {
                draft.wake(at);
            }
            return;
        }
    }
}

/// Whether the rollout has no replica in its hands. Who comes last may change at any moment, also to one that
/// is being replaced, so the order alone does not tell.
fn is_done_with_the_last(stage: &Stage<'_>, partition: i32, draft: &mut Draft) -> bool {
    for ordinal in stage.view.set.range.ascending() {
        let Some(pod) = stage.claimed.in_range.get(&ordinal) else { return false };
        let leaving = pod.terminating || draft.is_doomed(&pod.target);
        if !leaving && is_outdated(stage, ordinal, pod, partition) {
            continue;
        }
        if let Some((rule, at)) = unfit(stage, pod, draft) {
            draft.wait_for(pod, rule);
            at.into_iter().for_each(|at| draft.wake(at));
            return false;
        }
    }
    true
}

/// As many outdated replicas go as may be down beside those that are (L6).
///
/// Broken replicas cost nothing: [`heal`] replaces them whatever the budget. Of the others, those that
/// are down already go first, for replacing them takes nothing away that is there; healthy ones go only
/// as far as everything that is down leaves room. Kubernetes 1.35 counted the broken ones too and so never
/// repaired them (kubernetes#137409); the annotation [`super::wishes::MAX_UNAVAILABLE`] asks for its count.
fn within_budget(stage: &Stage<'_>, partition: i32, budget: i32, draft: &mut Draft) {
    let budget = usize::try_from(budget).unwrap_or(0);
    let mut in_work = 0;
    let (mut down, mut healthy) = (Vec::new(), Vec::new());
    for ordinal in rollout_order(stage) {
        let Some(pod) = stage.claimed.in_range.get(&ordinal).copied() else {
            in_work += 1;
            continue;
        };
        let leaving = pod.terminating || draft.is_doomed(&pod.target);
        let late = !leaving && is_outdated(stage, ordinal, pod, partition);
        match (late, unfit(stage, pod, draft)) {
            (false, None) => {}
            (false, Some((rule, at))) => {
                in_work += 1;
                if let Some(at) = at {
                    draft.wait_for(pod, rule);
                    draft.wake(at);
                }
            }
            (true, None) => healthy.push((ordinal, pod)),
            (true, Some(_)) => down.push((ordinal, pod)),
        }
    }
    let room = budget.saturating_sub(in_work + down.len());
    if room == 0 && !healthy.is_empty() {
        let blocking = stage.claimed.in_range.values().find(|pod| unfit(stage, pod, draft).is_some());
        if let Some(pod) = blocking {
            draft.wait_for(pod, Rule::Budget);
        }
    }
    let going: Vec<(Ordinal, &PodView)> = if stage.view.set.wishes.upstream_budget {
        let mut late: Vec<_> = down.into_iter().chain(healthy).collect();
        late.sort_by_key(|(ordinal, pod)| (pod.last, Reverse(*ordinal)));
        late.into_iter().take(room).collect()
    } else {
        let repairs = budget.saturating_sub(in_work);
        down.into_iter().take(repairs).chain(healthy.into_iter().take(room)).collect()
    };
    for (ordinal, pod) in going {
        preparing::replace(stage, ordinal, pod, draft);
    }
}

/// Whether the replica is not at the revision the rollout wants it at.
pub(super) fn is_outdated(stage: &Stage<'_>, ordinal: Ordinal, pod: &PodView, partition: i32) -> bool {
    if ordinal >= stage.view.set.range.partition_end(partition) {
        !stage.resolved.is_update(pod)
    } else {
        !stage.view.set.wishes.hold_on_raise
            && !stage.resolved.is_current(pod)
            && stage.resolved.is_newer_than_current(pod)
    }
}

/// Whether the replica stands: here to stay, available, and for long enough to be trusted.
pub(super) fn is_in_place(stage: &Stage<'_>, pod: &PodView) -> bool {
    unfit(stage, pod, &Draft::default()).is_none()
}

/// When the next replica will stand by the passing of time alone.
pub(super) fn next_in_place(stage: &Stage<'_>) -> Option<Timestamp> {
    let pods = stage.claimed.in_range.values();
    pods.filter_map(|pod| unfit(stage, pod, &Draft::default()).and_then(|(_, at)| at)).min()
}

/// Why a rollout may not pass this pod yet, and when that may change by itself.
pub(super) fn unfit(stage: &Stage<'_>, pod: &PodView, draft: &Draft) -> Option<(Rule, Option<Timestamp>)> {
    if pod.terminating || draft.is_doomed(&pod.target) {
        return Some((Rule::Terminating, None));
    }
    let steady_at = pod.steady_at.max(proven_at(stage, pod));
    match (pod.available_at(stage.view.set.min_ready_s), steady_at) {
        (None, _) => Some((Rule::NotReady, None)),
        (Some(at), _) if at > stage.now => Some((Rule::NotYetAvailable, Some(at))),
        (Some(_), Some(at)) if at > stage.now => Some((Rule::NotYetSteady, Some(at))),
        (Some(_), _) => None,
    }
}

/// Whether a replica has shown that the update revision runs at all. One is enough.
pub(super) fn is_proven(claimed: &Claimed<'_>, resolved: &Resolved, now: Timestamp) -> bool {
    let mut updated = claimed.in_range.values().filter(|pod| resolved.is_update(pod));
    updated.any(|pod| pod.available_at(PROVING_S).is_some_and(|at| at <= now))
}

/// When the pod will have shown that the update revision runs at all, if that is still open.
fn proven_at(stage: &Stage<'_>, pod: &PodView) -> Option<Timestamp> {
    if pod.probed || stage.view.set.min_ready_s >= PROVING_S || stage.proven || !stage.resolved.is_update(pod) {
        return None;
    }
    pod.available_at(PROVING_S)
}
