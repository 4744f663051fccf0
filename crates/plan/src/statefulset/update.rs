//! Rolling out a revision: which replica is replaced next, and at which revision a replica is made
//! (contract sections I and L), with the two rules of Stead's design beside Kubernetes':
//!
//! - *Broken rollouts heal.* A replica that never stood in this incarnation and is not at the
//!   revision it should be at is replaced at once, whatever else waits. One that stood and went
//!   unready halts the rollout, as in Kubernetes.
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

use jiff::Timestamp;

use super::Stage;
use super::actions::{Draft, Removal, Rule};
use super::ordinals::{Ordinal, pod_name};
use super::revisions::RevisionName;
use super::views::{PodView, Strategy};

/// Seconds that the first replica of a revision has to be Ready for where nothing probes it.
const PROVING_S: i32 = 2;

/// The revision at which the replica `ordinal` is made now (section I).
pub(super) fn revision_for_new(stage: &Stage<'_>, ordinal: Ordinal) -> RevisionName {
    let (current, update) = (&stage.resolved.current, &stage.resolved.update);
    let held = match stage.view.set.strategy {
        Strategy::OnDelete => false,
        Strategy::RollingUpdate { partition: Some(partition), .. } => {
            ordinal < stage.view.set.range.partition_end(partition)
        }
        Strategy::RollingUpdate { partition: None, .. } => awaits_its_turn(stage, ordinal),
    };
    if held { current.clone() } else { update.clone() }
}

/// Whether a higher replica has yet to be updated while another updated one is not Ready.
fn awaits_its_turn(stage: &Stage<'_>, ordinal: Ordinal) -> bool {
    let others = || stage.claimed.in_range.iter().filter(move |(other, _)| **other != ordinal);
    let in_doubt = others().any(|(_, pod)| stage.resolved.is_update(pod) && !pod.running_ready());
    in_doubt && others().any(|(other, pod)| *other > ordinal && !stage.resolved.is_update(pod))
}

/// Replaces the replicas that never stood and are not at a revision they may be at.
pub(super) fn heal(stage: &Stage<'_>, draft: &mut Draft) {
    for (ordinal, pod) in stage.claimed.in_range.iter().rev() {
        if is_broken(pod) && is_misplaced(stage, *ordinal, pod) {
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
        Strategy::RollingUpdate { .. } => pod.revision.as_ref() != Some(&revision_for_new(stage, ordinal).label()),
    }
}

/// Whether nothing is lost by replacing the pod: it is down and never stood.
fn is_broken(pod: &PodView) -> bool {
    !pod.terminating && !pod.phase.is_terminal() && !pod.running_ready() && !pod.ever_stood
}

/// Replaces outdated replicas, highest ordinal first.
pub(super) fn roll(stage: &Stage<'_>, draft: &mut Draft) {
    match stage.view.set.strategy {
        Strategy::OnDelete => {}
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
    let outdated = |(ordinal, pod): &(&Ordinal, &&PodView)| is_outdated(stage, **ordinal, pod, partition);
    let Some((lowest, _)) = stage.claimed.in_range.iter().find(outdated) else { return };
    for ordinal in stage.view.set.range.ascending().rev().take_while(|ordinal| ordinal >= lowest) {
        let Some(pod) = stage.claimed.in_range.get(&ordinal) else {
            draft.wait(&pod_name(&stage.view.set.name, ordinal), Rule::NotReady);
            return;
        };
        if !pod.terminating && !draft.is_doomed(&pod.target) && is_outdated(stage, ordinal, pod, partition) {
            draft.delete(pod, ordinal, Removal::Outdated);
            return;
        }
        if let Some((rule, at)) = unfit(stage, pod, draft) {
            draft.wait(&pod.target.name, rule);
            if let Some(at) = at {
                draft.wake(at);
            }
            return;
        }
    }
}

/// As many outdated replicas go as may be down beside those that are (L6). Broken replicas at a
/// revision they should not be at cost nothing: they are down anyway, and replaced by [`heal`].
fn within_budget(stage: &Stage<'_>, partition: i32, budget: i32, draft: &mut Draft) {
    let missing = stage.view.set.range.ascending().filter(|ordinal| !stage.claimed.in_range.contains_key(ordinal));
    let mut down = missing.count();
    let mut outdated = Vec::new();
    for (ordinal, pod) in stage.claimed.in_range.iter().rev() {
        let late = is_outdated(stage, *ordinal, pod, partition);
        let doomed = draft.is_doomed(&pod.target);
        if doomed || unfit(stage, pod, draft).is_some() {
            let free = late && is_broken(pod);
            down += usize::from(!free);
        }
        if late && !pod.terminating && !doomed {
            outdated.push((*ordinal, *pod));
        }
    }
    let budget = usize::try_from(budget).unwrap_or(0);
    let allowed = budget.saturating_sub(down);
    if allowed == 0
        && let Some((_, pod)) = outdated.first()
    {
        draft.wait(&pod.target.name, Rule::Budget);
    }
    for (ordinal, pod) in outdated.into_iter().take(allowed) {
        draft.delete(pod, ordinal, Removal::Outdated);
    }
}

/// Whether the replica is not at the revision the rollout wants it at.
fn is_outdated(stage: &Stage<'_>, ordinal: Ordinal, pod: &PodView, partition: i32) -> bool {
    if ordinal >= stage.view.set.range.partition_end(partition) {
        !stage.resolved.is_update(pod)
    } else {
        !stage.view.set.hold_on_raise && !stage.resolved.is_current(pod) && stage.resolved.is_newer_than_current(pod)
    }
}

/// Why a rollout may not pass this pod yet, and when that may change by itself.
fn unfit(stage: &Stage<'_>, pod: &PodView, draft: &Draft) -> Option<(Rule, Option<Timestamp>)> {
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

/// When the pod has shown that the update revision runs at all, if that is still open.
fn proven_at(stage: &Stage<'_>, pod: &PodView) -> Option<Timestamp> {
    let proof_at = |pod: &PodView| pod.available_at(PROVING_S).filter(|_| stage.resolved.is_update(pod));
    let unproven = |pod: &PodView| proof_at(pod).is_none_or(|at| at > stage.now);
    if pod.probed || stage.view.set.min_ready_s >= PROVING_S {
        return None;
    }
    proof_at(pod).filter(|_| stage.claimed.in_range.values().all(|pod| unproven(pod)))
}
