//! The laws of making and removing pods.

use std::cmp::Ordering;

use super::facts::Facts;
use super::{Flaws, Law};
use crate::ids::Target;
use crate::statefulset::actions::{Action, Removal};
use crate::statefulset::ordinals::{Ordinal, pod_name};
use crate::statefulset::views::{Owner, PodView, Strategy};

pub(super) fn check(facts: &Facts<'_>, flaws: &mut Flaws) {
    for action in facts.plan.actions() {
        match action {
            Action::AdoptPod(target) => {
                let pod = seen(facts, target, flaws);
                let may = pod.is_none_or(|pod| facts.is_adoptable(pod));
                flaws.check(may, Law::Adoption, || format!("{} is not to be adopted", target.name));
            }
            Action::ReleasePod(target) => {
                let pod = seen(facts, target, flaws);
                let may = pod.is_none_or(|pod| pod.owner == Owner::This && !facts.is_mine(pod));
                flaws.check(may, Law::Adoption, || format!("{} is not to be released", target.name));
            }
            Action::RelabelPod { target, ordinal } => {
                let pod = seen(facts, target, flaws);
                let may = pod.is_none_or(|pod| facts.is_mine(pod) && !pod.identity_ok && pod.ordinal == Some(*ordinal));
                flaws.check(may, Law::Reason, || format!("{} carries its identity", target.name));
            }
            Action::CreatePod { ordinal, .. } => creation(facts, *ordinal, flaws),
            Action::DeletePod { target, ordinal, why } => {
                if let Some(pod) = seen(facts, target, flaws) {
                    deletion(facts, pod, *ordinal, *why, flaws);
                }
            }
            Action::ConfirmSet
            | Action::AdoptRevision(_)
            | Action::CreateRevision { .. }
            | Action::RenumberRevision { .. }
            | Action::DeleteRevision(_)
            | Action::OwnClaim { .. }
            | Action::CreateClaim { .. }
            | Action::DeleteClaim { .. }
            | Action::Prepare { .. }
            | Action::Withdraw { .. }
            | Action::GrowClaim { .. }
            | Action::Remember { .. }
            | Action::RollBack { .. } => {}
        }
    }
    belonging(facts, flaws);
    from_below(facts, flaws);
    from_above(facts, flaws);
    budget(facts, flaws);
    resets(facts, flaws);
    leaders_last(facts, flaws);
}

/// Whatever should be adopted or let go is, at once (M2, M3).
fn belonging(facts: &Facts<'_>, flaws: &mut Flaws) {
    let planned = |action: &Action| facts.plan.actions().any(|planned| planned == action);
    for pod in &facts.view.pods {
        let due = if facts.is_adoptable(pod) {
            Action::AdoptPod(pod.target.clone())
        } else if pod.owner == Owner::This && !facts.is_mine(pod) {
            Action::ReleasePod(pod.target.clone())
        } else {
            continue;
        };
        flaws.check(planned(&due), Law::Adoption, || format!("{due:?} is left out"));
    }
}

pub(super) fn seen<'a>(facts: &Facts<'a>, target: &Target, flaws: &mut Flaws) -> Option<&'a PodView> {
    let seen = facts.view.pods.iter().map(AsRef::as_ref).find(|pod: &&PodView| pod.target == *target);
    flaws.check(seen.is_some() && super::books::is_exact(target), Law::Exact, || format!("pod {target:?}"));
    seen
}

fn creation(facts: &Facts<'_>, ordinal: Ordinal, flaws: &mut Flaws) {
    let view = facts.view;
    let name = pod_name(&view.set.name, ordinal);
    flaws.check(view.set.range.contains(ordinal), Law::Wanted, || format!("{name} is made out of range"));
    let vacant = view.pods.iter().all(|pod| pod.ordinal != Some(ordinal));
    flaws.check(vacant, Law::Vacant, || format!("{name} is there already"));
}

fn deletion(facts: &Facts<'_>, pod: &PodView, ordinal: Ordinal, why: Removal, flaws: &mut Flaws) {
    let in_range = facts.view.set.range.contains(ordinal);
    let taken_back = facts.view.set.wishes.rolled_back.iter().any(|name| pod.revision == Some(name.label()));
    let never_stood = !pod.phase.is_terminal() && !pod.running_ready() && (!pod.ever_stood || taken_back);
    let holds = match why {
        Removal::Ended => in_range && pod.phase.is_terminal(),
        Removal::Condemned => !in_range,
        Removal::Outdated => in_range && facts.is_outdated(ordinal, pod),
        Removal::Broken => in_range && never_stood && is_elsewhere(facts, ordinal, pod),
        Removal::Reset => in_range && facts.view.set.wishes.resets.contains_key(&ordinal),
    };
    let rolls = matches!(why, Removal::Outdated | Removal::Broken);
    let holds = holds && !(rolls && facts.view.set.wishes.paused);
    let whole = holds && facts.is_mine(pod) && !pod.terminating && pod.ordinal == Some(ordinal);
    flaws.check(whole, Law::Reason, || format!("{} is deleted as {why:?}", pod.target.name));
}

/// Whether the pod's revision is not one that its ordinal may be made at.
fn is_elsewhere(facts: &Facts<'_>, ordinal: Ordinal, pod: &PodView) -> bool {
    let is_current = pod.revision == Some(facts.current.label());
    let is_update = pod.revision == Some(facts.update.label());
    match facts.view.set.strategy {
        Strategy::OnDelete => false,
        Strategy::RollingUpdate { .. } if facts.view.set.wishes.hold_on_raise && is_update => false,
        Strategy::RollingUpdate { partition: Some(_), .. } if facts.is_held(ordinal) => !is_current,
        Strategy::RollingUpdate { .. } | Strategy::Recreate => !is_update,
    }
}

fn from_below(facts: &Facts<'_>, flaws: &mut Flaws) {
    if !facts.ordered() {
        return;
    }
    let made: Vec<Ordinal> = facts.creations().map(|(ordinal, _)| ordinal).collect();
    flaws.check(made.len() <= 1, Law::FromBelow, || format!("{made:?} are made at once"));
    for ordinal in made {
        let below = facts.view.set.range.ascending().take_while(|below| *below < ordinal);
        for down in below.filter(|below| !facts.stands(*below)) {
            flaws.add(Law::FromBelow, format!("{ordinal} is made while {down} does not stand"));
        }
    }
}

fn from_above(facts: &Facts<'_>, flaws: &mut Flaws) {
    let removed = |why: Removal| facts.deletions().filter(move |deletion| deletion.2 == why);
    let highest = facts.condemned().max_by_key(|(ordinal, _)| *ordinal);
    let in_order = facts.ordered() && facts.view.set.strategy != Strategy::Recreate;
    let Some((highest, pod)) = highest.filter(|_| in_order) else { return };
    flaws.check(removed(Removal::Outdated).next().is_none(), Law::FromAbove, || {
        format!("an update goes on while {highest} is still to go")
    });
    let mut going = removed(Removal::Condemned);
    let Some((target, ..)) = going.next() else { return };
    flaws.check(going.next().is_none(), Law::FromAbove, || "more than one replica goes at once".to_owned());
    flaws.check(*target == pod.target, Law::FromAbove, || format!("{} goes before {highest}", target.name));
    for down in facts.view.set.range.ascending().filter(|ordinal| !facts.stands(*ordinal)) {
        flaws.add(Law::FromAbove, format!("{} goes while {down} does not stand", target.name));
    }
    let unwell = |pod: &PodView| !facts.is_available(pod) && !pod.phase.is_terminal();
    let lower = facts.condemned().find(|(ordinal, pod)| *ordinal < highest && unwell(pod));
    if let Some((lower, _)) = lower.filter(|_| unwell(pod)) {
        flaws.add(Law::FromAbove, format!("{} goes, which is unwell like {lower}", target.name));
    }
}

/// How many replicas a rollout finds down or takes down itself. Late ones that are down are replaced within
/// the budget, and those that are up only as far as all that is down leaves room.
fn budget(facts: &Facts<'_>, flaws: &mut Flaws) {
    let outdated: Vec<Ordinal> =
        facts.deletions().filter(|deletion| deletion.2 == Removal::Outdated).map(|(_, ordinal, _)| ordinal).collect();
    let Some(lowest) = outdated.iter().min() else { return };
    let range = || facts.view.set.range.ascending();
    match facts.view.set.strategy {
        // Nothing is outdated then, which is found elsewhere.
        Strategy::OnDelete | Strategy::Recreate => {}
        Strategy::RollingUpdate { unavailable_max: Some(max), .. } => {
            let steady = |pod: &PodView| pod.steady_at.is_none_or(|at| at <= facts.now);
            let was_up =
                |ordinal: Ordinal| facts.replica(ordinal).is_some_and(|pod| facts.is_available(pod) && steady(pod));
            let late = |ordinal: Ordinal| facts.replica(ordinal).is_some_and(|pod| facts.is_late(ordinal, pod));
            let in_work = range().filter(|ordinal| !late(*ordinal) && !facts.stands(*ordinal)).count();
            let late_down = range().filter(|ordinal| late(*ordinal) && !was_up(*ordinal)).count();
            let up = outdated.iter().filter(|ordinal| was_up(**ordinal)).count();
            let max = usize::try_from(max).unwrap_or(0);
            let within = if facts.view.set.wishes.upstream_budget {
                in_work + late_down + outdated.len() <= max
            } else {
                // Replacing what is down takes nothing away that is there.
                in_work + outdated.len() <= max && (up == 0 || in_work + late_down + up <= max)
            };
            flaws.check(within, Law::Budget, || {
                format!("{outdated:?} are replaced, {late_down} late and {in_work} others are down, {max} may be")
            });
        }
        Strategy::RollingUpdate { unavailable_max: None, .. } => {
            flaws.check(outdated.len() == 1, Law::Budget, || format!("{outdated:?} are replaced at once"));
            let by_number = facts.view.set.wishes.update_last.is_none();
            let late = |ordinal: Ordinal| facts.replica(ordinal).is_some_and(|pod| facts.is_late(ordinal, pod));
            let counts = |ordinal: &Ordinal| match ordinal.cmp(lowest) {
                Ordering::Equal => false,
                Ordering::Less if by_number => facts.ordered(),
                Ordering::Greater if by_number => true,
                Ordering::Less | Ordering::Greater => facts.ordered() || !late(*ordinal),
            };
            for down in range().filter(|ordinal| counts(ordinal) && !facts.stands(*ordinal)) {
                flaws.add(Law::Budget, format!("{lowest} is replaced while {down} does not stand"));
            }
        }
    }
}

/// A replica that is up is made anew only while all others are, and one at a time (I9).
fn resets(facts: &Facts<'_>, flaws: &mut Flaws) {
    let mut resets = facts.deletions().filter(|deletion| deletion.2 == Removal::Reset).map(|(_, ordinal, _)| ordinal);
    let Some(ordinal) = resets.next() else { return };
    flaws.check(resets.next().is_none(), Law::Budget, || "several replicas are reset at once".to_owned());
    let is_up = |ordinal: Ordinal| facts.replica(ordinal).is_some_and(|pod| facts.is_available(pod));
    let mut others = facts.view.set.range.ascending().filter(|other| is_up(ordinal) && *other != ordinal);
    if let Some(down) = others.find(|other| !is_up(*other)) {
        flaws.add(Law::Budget, format!("{ordinal} is reset while {down} is down"));
    }
    let alone = matches!(facts.view.set.strategy, Strategy::RollingUpdate { unavailable_max: None, .. });
    let rolls = facts.deletions().any(|deletion| deletion.2 == Removal::Outdated);
    flaws.check(!(alone && rolls), Law::Budget, || format!("{ordinal} is reset, and another one is replaced"));
}

/// No replica that is to be last is taken down while another one is left to be updated (I9).
fn leaders_last(facts: &Facts<'_>, flaws: &mut Flaws) {
    let outdated = || facts.deletions().filter(|deletion| deletion.2 == Removal::Outdated);
    let led = outdated()
        .find(|(_, ordinal, _)| facts.replica(*ordinal).is_some_and(|pod| pod.last && facts.is_available(pod)));
    let Some((leader, ..)) = led.filter(|_| facts.view.set.strategy != Strategy::Recreate) else { return };
    let left = facts.mine().find(|(ordinal, pod)| {
        let wanted = facts.view.set.range.contains(*ordinal);
        wanted && !pod.last && facts.removal(pod).is_none() && facts.is_late(*ordinal, pod)
    });
    if let Some((left, _)) = left {
        flaws.add(Law::Budget, format!("{} is to be last, but {left} is left", leader.name));
    }
}
