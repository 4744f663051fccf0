//! The laws of what is written down: revisions and status.

use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::facts::Facts;
use super::{Flaws, Law};
use crate::ids::Target;
use crate::statefulset::actions::Action;
use crate::statefulset::ordinals::Ordinal;
use crate::statefulset::revisions::{Likeness, RevisionName, RevisionView};
use crate::statefulset::views::{Owner, PodView, Strategy};

/// Whether the target can only ever hit the one object that was seen.
pub(super) fn is_exact(target: &Target) -> bool {
    !target.uid.0.is_empty() && !target.resource_version.0.is_empty()
}

pub(super) fn check(facts: &Facts<'_>, flaws: &mut Flaws) {
    for action in facts.plan.actions() {
        match action {
            Action::AdoptRevision(target) => {
                let may = seen(facts, target, flaws).is_none_or(|revision| revision.orphan);
                flaws.check(may, Law::Adoption, || format!("{} is not to be adopted", target.name));
            }
            Action::CreateRevision { name, number, .. } => {
                let new = *name == facts.view.template.name && facts.update == *name && is_highest(facts, *number);
                flaws.check(new, Law::History, || format!("{name} is made as number {number}"));
            }
            Action::RenumberRevision { target, number } => {
                let equal = seen(facts, target, flaws).is_none_or(|revision| revision.likeness == Likeness::Equal);
                let may = equal && is_highest(facts, *number);
                flaws.check(may, Law::History, || format!("{} becomes number {number}", target.name));
            }
            Action::DeleteRevision(target) => {
                let may = seen(facts, target, flaws).is_none_or(|revision| is_idle(facts, revision));
                flaws.check(may, Law::History, || format!("{} is dropped, but used", target.name));
            }
            Action::CreatePod { ordinal, revision } => pod_at(facts, *ordinal, revision, flaws),
            Action::RollBack { to, from } => {
                let wishes = &facts.view.set.wishes;
                let taken = to != from && *to == facts.current && *from == facts.update;
                let asked = wishes.auto_rollback && wishes.deadline_s.is_some() && !wishes.paused;
                let may = asked && taken && !wishes.rolled_back.contains(from);
                flaws.check(may, Law::Reason, || format!("{from} is taken back"));
            }
            Action::ConfirmSet
            | Action::AdoptPod(_)
            | Action::ReleasePod(_)
            | Action::OwnClaim { .. }
            | Action::CreateClaim { .. }
            | Action::RelabelPod { .. }
            | Action::DeletePod { .. }
            | Action::DeleteClaim { .. }
            | Action::Prepare { .. }
            | Action::Withdraw { .. }
            | Action::GrowClaim { .. }
            | Action::Remember { .. } => {}
        }
    }
    truncation(facts, flaws);
    let written = is_stored(facts, &facts.update) || creates(facts, &facts.update);
    flaws.check(written, Law::History, || "the template is not written down".to_owned());
}

fn seen<'a>(facts: &Facts<'a>, target: &Target, flaws: &mut Flaws) -> Option<&'a RevisionView> {
    let seen = facts.view.revisions.iter().find(|revision| revision.target == *target);
    flaws.check(seen.is_some() && is_exact(target), Law::Exact, || format!("revision {target:?}"));
    seen
}

fn is_highest(facts: &Facts<'_>, number: i64) -> bool {
    // Nothing can come after the largest number.
    facts.view.revisions.iter().all(|revision| revision.number < number || revision.number == i64::MAX)
}

fn is_stored(facts: &Facts<'_>, name: &RevisionName) -> bool {
    let listed = facts.view.revisions.iter().any(|revision| revision.name() == *name);
    listed || (facts.view.template.exists && facts.view.template.name == *name)
}

fn creates(facts: &Facts<'_>, name: &RevisionName) -> bool {
    facts.plan.actions().any(|action| matches!(action, Action::CreateRevision { name: made, .. } if made == name))
}

fn is_idle(facts: &Facts<'_>, revision: &RevisionView) -> bool {
    let name = revision.name();
    let mut own = facts.view.pods.iter().filter(|pod| pod.owner == Owner::This || facts.is_adoptable(pod));
    let used = own.any(|pod| pod.revision == Some(name.label()));
    let wishes = &facts.view.set.wishes;
    let kept = wishes.paused && wishes.paused_replicas.contains_key(&name);
    !revision.orphan && !used && !kept && name != facts.current && name != facts.update
}

/// Exactly what exceeds the limit goes, oldest first (H9).
fn truncation(facts: &Facts<'_>, flaws: &mut Flaws) {
    let idle: Vec<&Target> = facts
        .view
        .revisions
        .iter()
        .filter(|revision| is_idle(facts, revision))
        .map(|revision| &revision.target)
        .collect();
    let limit = usize::try_from(facts.view.set.history_limit).unwrap_or(usize::MAX);
    let excess = &idle[..idle.len().saturating_sub(limit)];
    let dropped: Vec<&Target> = facts
        .plan
        .actions()
        .filter_map(|action| match action {
            Action::DeleteRevision(target) => Some(target),
            _ => None,
        })
        .collect();
    let right = excess.len() == dropped.len() && excess.iter().all(|target| dropped.contains(target));
    flaws.check(right, Law::History, || format!("{} revisions are dropped, not {}", dropped.len(), excess.len()));
}

/// A pod is made at the revision its ordinal is at (section I).
fn pod_at(facts: &Facts<'_>, ordinal: Ordinal, revision: &RevisionName, flaws: &mut Flaws) {
    let (is_current, is_update) = (*revision == facts.current, *revision == facts.update);
    let wishes = &facts.view.set.wishes;
    let noted = wishes.paused_replicas.iter().any(|(name, ordinals)| name == revision && ordinals.contains(ordinal));
    let right = match facts.view.set.strategy {
        // Old and new replicas are kept apart.
        Strategy::Recreate if wishes.paused && !noted && facts.mine().next().is_some() => {
            facts.mine().any(|(_, pod)| pod.revision == Some(revision.label())) || is_current
        }
        _ if wishes.paused => is_current || noted,
        Strategy::OnDelete | Strategy::Recreate => is_update,
        Strategy::RollingUpdate { partition: Some(_), .. } if facts.is_held(ordinal) => is_current,
        Strategy::RollingUpdate { partition: Some(_), .. } => is_update,
        // Without the block a replica whose turn has not come may return as it was (I2, S7).
        Strategy::RollingUpdate { partition: None, .. } => is_current || is_update,
    };
    flaws.check(right, Law::Revision, || format!("{ordinal} is made at {revision}"));
    let known = is_stored(facts, revision) || creates(facts, revision);
    flaws.check(known, Law::Revision, || format!("{revision} is nowhere written down"));
}

/// The status counts what the plan was made from, all in one set of pods: so the API accepts it (I8, B15).
pub(super) fn check_status(facts: &Facts<'_>, flaws: &mut Flaws) {
    let set = &facts.view.set;
    let replicas: Vec<&PodView> = facts
        .view
        .pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod: &&PodView| (facts.is_mine(pod) || facts.is_adoptable(pod)) && pod.ordinal.is_some())
        .collect();
    let count = |wanted: &dyn Fn(&PodView) -> bool| {
        i32::try_from(replicas.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    let stays = |pod: &PodView| !pod.terminating && facts.removal(pod).is_none();
    let at = |name: &RevisionName| count(&|pod| stays(pod) && pod.revision == Some(name.label()));
    let (total, ready, updated) = (count(&|_| true), count(&|pod| pod.running_ready()), at(&facts.update));
    let all_updated = [total, ready, updated] == [set.range.replicas; 3];
    let watched = set.wishes.watches_rollouts();
    let wanted = |pod: &PodView| pod.ordinal.is_some_and(|ordinal| set.range.contains(ordinal));
    let trusted = || replicas.iter().all(|pod| wanted(pod) && facts.is_trusted(pod) && facts.removal(pod).is_none());
    let nothing_rolled = set.wishes.paused && set.range.replicas == 0;
    let complete = all_updated && !nothing_rolled && (!watched || trusted());
    let current = if complete { &facts.update } else { &facts.current };
    let counted = Counts {
        observed_generation: set.generation,
        replicas: total,
        ready,
        available: count(&|pod| pod.available(set.min_ready_s, facts.now)),
        current: at(current),
        updated,
        current_revision: current.0.clone(),
        update_revision: facts.update.0.clone(),
    };
    let shown = Counts::of(&facts.plan.status);
    flaws.check(shown == counted, Law::Status, || format!("{shown:?} is shown, {counted:?} was seen"));
}

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    observed_generation: i64,
    replicas: i32,
    ready: i32,
    available: i32,
    current: i32,
    updated: i32,
    current_revision: String,
    update_revision: String,
}

impl Counts {
    fn of(status: &StatefulSetStatus) -> Self {
        Self {
            observed_generation: status.observed_generation.unwrap_or(0),
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            current: status.current_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            current_revision: status.current_revision.clone().unwrap_or_default(),
            update_revision: status.update_revision.clone().unwrap_or_default(),
        }
    }
}
