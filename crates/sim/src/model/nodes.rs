//! What nodes do: start pods, find them Ready, end them; and the passing of time. A node starts a pod's
//! processes only when those of its predecessor are gone, which is the node's promise, not the
//! planner's.

use super::objects::{Life, Pod};
use super::scenarios::Scenario;
use super::state::State;
use super::steps::{Step, slots};

pub(crate) fn possible(scenario: &Scenario, state: &State, steps: &mut Vec<Step>) {
    for (at, slot) in slots() {
        if state.live.claims[slot].is_some_and(|claim| claim.has < claim.asks) {
            steps.push(Step::Grow(at));
        }
        let up = !state.world.down.has(slot);
        if !up {
            steps.push(Step::Return(at));
        } else if state.world.leftover.has(slot) {
            steps.push(Step::Clear(at));
        }
        let Some(pod) = state.live.pods[slot] else { continue };
        let breaks = scenario.broken == Some(pod.template);
        let never_ready = breaks && !scenario.flickers;
        match pod.life {
            _ if pod.terminating && up => steps.push(Step::Finish(at)),
            _ if !up && !pod.terminating && pod.life != Life::Pending => steps.push(Step::Evict(at)),
            Life::Pending if up && can_start(state, slot) => steps.push(Step::Start(at)),
            Life::Unready if up && !never_ready => steps.push(Step::BecomeReady(at)),
            Life::Down if up && !breaks => steps.push(Step::BecomeReady(at)),
            Life::Fresh if up && breaks => steps.push(Step::Flicker(at)),
            Life::Pending | Life::Unready | Life::Down | Life::Ready | Life::Fresh | Life::Failed | Life::Succeeded => {
            }
        }
        if pod.life == Life::Fresh && !breaks {
            steps.push(Step::Age(at));
        }
    }
}

fn can_start(state: &State, slot: usize) -> bool {
    let claim = state.live.claims[slot].is_some_and(|claim| !claim.terminating);
    claim && !state.world.leftover.has(slot)
}

pub(crate) fn start(state: &mut State, slot: usize) {
    let claim = state.live.claims[slot].map(|claim| claim.uid);
    change(state, slot, Life::Unready);
    if let Some(pod) = &mut state.live.pods[slot] {
        pod.mounts = claim;
    }
}

pub(crate) fn become_ready(scenario: &Scenario, state: &mut State, slot: usize) {
    change(state, slot, if scenario.slow { Life::Fresh } else { Life::Ready });
}

/// The node reports that the pod is now like this.
pub(crate) fn change(state: &mut State, slot: usize, life: Life) {
    let version = state.fresh();
    if let Some(pod) = &mut state.live.pods[slot] {
        (pod.life, pod.version) = (life, version);
    }
}

/// Time passes, for what is and for what caches show of it. Nobody writes anything.
pub(crate) fn age(state: &mut State, slot: usize) {
    let is_fresh = |pod: Option<Pod>| pod.is_some_and(|pod| pod.life == Life::Fresh);
    if is_fresh(state.seen.pods[slot]) && !is_fresh(state.live.pods[slot]) {
        // It is gone, but becomes available for a controller that has yet to see that.
        state.world.starting.put(slot, false);
    }
    for objects in [&mut state.live, &mut state.seen] {
        if let Some(pod) = objects.pods[slot].as_mut().filter(|pod| pod.life == Life::Fresh) {
            pod.life = Life::Ready;
        }
    }
}

/// Whoever provisioned the volume makes it as large as its claim asks for.
pub(crate) fn grow(state: &mut State, slot: usize) {
    let version = state.fresh();
    if let Some(claim) = &mut state.live.claims[slot] {
        (claim.has, claim.version) = (claim.asks, version);
    }
}

pub(crate) fn finish(state: &mut State, slot: usize) {
    state.live.pods[slot] = None;
}

/// What the invariants remember is forgotten when a replica is available.
pub(crate) fn remember(state: &mut State) {
    let Some(set) = state.live.set else {
        (state.world.starting, state.world.rolling, state.world.ready_once) = Default::default();
        (state.world.resetting, state.world.wiped, state.world.kept) = Default::default();
        return;
    };
    for (_, slot) in slots() {
        let life = state.live.pods[slot].map(|pod| pod.life);
        let available = life == Some(Life::Ready) || (life == Some(Life::Fresh) && !set.spec.min_ready);
        if available || !set.spec.contains(slot) {
            state.world.starting.put(slot, false);
            state.world.rolling.put(slot, false);
            state.world.resetting.put(slot, false);
        }
        let open = state.world.starting.has(slot) || state.world.rolling.has(slot);
        let ready = open && (state.world.ready_once.has(slot) || life == Some(Life::Fresh));
        state.world.ready_once.put(slot, ready);
    }
}
