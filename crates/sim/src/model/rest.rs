//! Once users and faults stop: from every state the fair run, in which everybody does what is theirs in
//! turn, comes to rest in the wanted state within a bound, and then nobody writes any more (I12).

use super::Model;
use super::invariants::Violation;
use super::objects::{Keeper, Life, Owner, SLOTS, Set, Spec, Strategy, TEMPLATES};
use super::state::State;
use super::steps::{self, Step};
use super::{asked, collector};

/// Steps after which a fair run must have come to rest. The longest of the scenarios take about 150.
const STEPS_MAX: usize = 400;

/// The steps of the fair run from `state` to rest, or to a state that is `known` to come to rest, and
/// what is wrong there.
pub(crate) fn run(
    model: &mut Model,
    state: &State,
    mut known: impl FnMut(&State) -> bool,
) -> (Vec<Step>, Result<(), Violation>) {
    let mut taken = Vec::new();
    let mut state = state.clone();
    loop {
        if known(&state) {
            return (taken, Ok(()));
        }
        let Some(step) = next(model, &state) else {
            let verdict = check(model, &state);
            return (taken, verdict);
        };
        if taken.len() == STEPS_MAX {
            return (taken, Err(Violation::new("I12", format!("no rest after {STEPS_MAX} steps"))));
        }
        taken.push(step);
        state = match steps::take(model, &state, step) {
            Ok(state) => state,
            Err(violation) => return (taken, Err(violation)),
        };
    }
}

/// The next step of the fair run. The controller goes first; time passes only when the planner asks to be
/// woken, so that what only time changes must not be forgotten.
fn next(model: &mut Model, state: &State) -> Option<Step> {
    let possible = steps::possible(model, state);
    let is_time = |step: &Step| matches!(step, Step::Age(_) | Step::Expire);
    let is_fair = |step: &Step| {
        !matches!(step, Step::Do(_) | Step::Crash | Step::Lose(_) | Step::Evict(_) | Step::Prepared(_, false))
    };
    if let Some(step) = possible.iter().find(|step| is_fair(step) && !is_time(step)) {
        return Some(*step);
    }
    let wakes = model.planner.ask(&state.seen).is_some_and(|(answer, _)| answer.wakes);
    possible.iter().find(|step| wakes && is_time(step)).copied()
}

/// Whether the state, in which nobody has anything to do, is the wanted one.
fn check(model: &mut Model, state: &State) -> Result<(), Violation> {
    let wrong = |text: String| Violation::new("I12", format!("at rest, but {text}"));
    for (slot, claim) in state.live.claims.iter().enumerate() {
        let left = claim.is_some_and(|claim| claim.terminating && !collector::is_used(state, slot, &claim));
        if left {
            return Err(wrong(format!("data-web-{slot} is still there")));
        }
    }
    let Some(set) = state.live.set else { return gone(state) };
    let squatted = |slot: usize| {
        let squats = |owner: Owner, selected: bool| match owner {
            Owner::Set(uid) => uid != set.uid,
            Owner::Nobody => !selected,
            Owner::Other => true,
        };
        state.live.pods[slot].is_some_and(|pod| squats(pod.owner, pod.selected))
    };
    let stuck = (0..SLOTS).any(|slot| set.spec.contains(slot) && squatted(slot))
        || model.scenario.broken.is_some_and(|broken| {
            // What stood for a moment halts rollouts as in Kubernetes, unless it was taken back.
            let halts = model.scenario.flickers && !set.notes.rolled_back.has(usize::from(broken));
            let stays = broken == set.spec.template || set.spec.wishes.paused || halts;
            stays && state.live.pods.iter().flatten().any(|pod| pod.template == broken)
        });
    history(state, &set.spec).map_err(wrong)?;
    asked::at_rest(model, state).map_err(wrong)?;
    let is_refused = state.world.refused != 0 && wanted_are_missing(state, &set.spec);
    if is_refused {
        asked::refused(model, state).map_err(wrong)?;
    }
    if stuck || is_refused {
        // It cannot get on, but it must say so.
        let says = model.planner.ask(&state.seen).is_some_and(|(answer, _)| !answer.waits.is_empty());
        return if says { Ok(()) } else { Err(wrong("it does not say what it waits for".to_owned())) };
    }
    for slot in 0..SLOTS {
        replica(state, &set.spec, slot).map_err(wrong)?;
    }
    held(model, state).map_err(wrong)?;
    counts(model, state).map_err(wrong)
}

fn wanted_are_missing(state: &State, spec: &Spec) -> bool {
    (0..SLOTS).any(|slot| spec.contains(slot) && state.live.pods[slot].is_none())
}

/// Nothing is left of a set that is gone but what was let go, and the claims that stay.
fn gone(state: &State) -> Result<(), Violation> {
    let pods = state.live.pods.iter().flatten().any(|pod| matches!(pod.owner, Owner::Set(_)));
    let revisions = state.live.revisions.iter().flatten().any(|revision| matches!(revision.owner, Owner::Set(_)));
    if pods || revisions {
        return Err(Violation::new("I10", "the set is gone, but not its dependents"));
    }
    Ok(())
}

fn replica(state: &State, spec: &Spec, slot: usize) -> Result<(), String> {
    let own = |owner: Owner| state.live.set.is_some_and(|set| owner == Owner::Set(set.uid));
    let pod = state.live.pods[slot];
    if !spec.contains(slot) {
        let left = pod.is_some_and(|pod| own(pod.owner));
        return if left { Err(format!("web-{slot} is still there")) } else { Ok(()) };
    }
    let Some(pod) = pod else { return Err(format!("web-{slot} is missing")) };
    let up = pod.life == Life::Ready || (pod.life == Life::Fresh && !spec.min_ready);
    if pod.terminating || !up || !pod.labelled {
        return Err(format!("web-{slot} is not well"));
    }
    if pod.errand.request.is_some() {
        return Err(format!("web-{slot} is still being made ready"));
    }
    let held = match spec.strategy {
        _ if spec.wishes.paused => true,
        Strategy::OnDelete => true,
        Strategy::Plain | Strategy::Recreate => false,
        Strategy::Block { partition, .. } => spec.is_below(partition, slot),
    };
    if !held && pod.template != spec.template {
        return Err(format!("web-{slot} is out of date"));
    }
    let Some(claim) = state.live.claims[slot] else { return Err(format!("data-web-{slot} is missing")) };
    if pod.mounts.is_some_and(|mounted| mounted != claim.uid) {
        return Err(format!("web-{slot} runs on another claim"));
    }
    let owned = match claim.keeper {
        Keeper::Nobody => !spec.deleted_delete || claim.foreign,
        Keeper::Set(uid) => spec.deleted_delete && state.live.set.is_some_and(|set| set.uid == uid),
        Keeper::Pod(_) => false,
    };
    // A user may have deleted a claim that is still in use.
    if owned || claim.terminating { Ok(()) } else { Err(format!("data-web-{slot} is not owned as the policy says")) }
}

/// Nothing below the partition is at a revision made after the current one.
fn held(model: &Model, state: &State) -> Result<(), String> {
    let goes_back = |set: &Set| !set.spec.wishes.hold_on_raise && !set.spec.wishes.paused;
    let Some(Set { spec, .. }) = state.live.set.filter(goes_back) else { return Ok(()) };
    let Strategy::Block { partition, .. } = spec.strategy else { return Ok(()) };
    let name = state.live.set.and_then(|set| model.planner.status(&set)?.current_revision.clone());
    let current = name.and_then(|name| model.planner.wire().template_called(&name));
    let made = |template: u8| state.live.revisions[usize::from(template)].map(|revision| revision.made);
    let number = |template: u8| state.live.revisions[usize::from(template)].map(|revision| revision.number);
    let below = (0..SLOTS).filter(|slot| spec.contains(*slot) && spec.is_below(partition, *slot));
    let newer = |slot: &usize| {
        let pod = state.live.pods[*slot].map(|pod| pod.template);
        pod.is_some_and(|own| number(own) > current.and_then(number) || made(own) > current.and_then(made))
    };
    match { below }.find(newer) {
        Some(slot) => Err(format!("web-{slot} is ahead of the partition")),
        None => Ok(()),
    }
}

fn counts(model: &Model, state: &State) -> Result<(), String> {
    let Some(set) = state.live.set else { return Ok(()) };
    let Some(status) = model.planner.status(&set) else { return Err("there is no status".to_owned()) };
    let wanted = i32::from(set.spec.replicas);
    let shown = [status.replicas, status.ready_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0)];
    if shown != [wanted; 3] || status.observed_generation != Some(set.generation.into()) {
        return Err(format!("the status shows {shown:?} of {wanted}"));
    }
    Ok(())
}

fn history(state: &State, spec: &Spec) -> Result<(), String> {
    let number = |template: usize| state.live.revisions[template].map(|revision| revision.number);
    let highest = (0..TEMPLATES).filter_map(number).max();
    let own = number(usize::from(spec.template));
    if own.is_none() || own != highest {
        return Err("the template is not the newest revision".to_owned());
    }
    let stored = state.live.revisions.iter().flatten().count();
    // The current revision and that of the template, and those that pods are at.
    let pods = state.live.pods.iter().flatten().filter(|pod| usize::from(pod.template) < TEMPLATES).count();
    if stored > usize::from(spec.history_limit) + 2 + pods {
        return Err(format!("{stored} revisions are kept"));
    }
    Ok(())
}
