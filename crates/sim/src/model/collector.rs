//! What the garbage collector and the protection of claims do: dependents go when their owners are gone,
//! and claims when nothing uses them any more.

use super::invariants::{self, Violation};
use super::objects::{Claim, Going, Keeper, Owner};
use super::state::State;
use super::steps::{Step, has_dependents, slots, templates};

pub(crate) fn possible(state: &State, steps: &mut Vec<Step>) {
    let going = state.live.set.map_or(Going::No, |set| set.going);
    for (at, slot) in slots() {
        if let Some(pod) = state.live.pods[slot] {
            if !pod.terminating && is_orphaned(state, pod.owner) {
                steps.push(Step::CollectPod(at));
            } else if going == Going::Orphan && is_of_set(state, pod.owner) {
                steps.push(Step::FreePod(at));
            }
        }
        if let Some(claim) = state.live.claims[slot] {
            if !claim.terminating && is_ownerless(state, slot, &claim) {
                steps.push(Step::CollectClaim(at));
            } else if going == Going::Orphan && state.live.set.is_some_and(|set| claim.keeper == Keeper::Set(set.uid)) {
                steps.push(Step::FreeClaim(at));
            }
            if claim.terminating && !is_used(state, slot, &claim) {
                steps.push(Step::FinishClaim(at));
            }
        }
    }
    for (at, template) in templates() {
        let Some(revision) = state.live.revisions[template] else { continue };
        if is_orphaned(state, revision.owner) {
            steps.push(Step::CollectRevision(at));
        } else if going == Going::Orphan && is_of_set(state, revision.owner) {
            steps.push(Step::FreeRevision(at));
        }
    }
    if going != Going::No && !has_dependents(state) {
        steps.push(Step::FinishSet);
    }
}

/// Whether the owner is gone, or goes and takes its dependents along.
fn is_orphaned(state: &State, owner: Owner) -> bool {
    match owner {
        Owner::Nobody | Owner::Other => false,
        Owner::Set(uid) => !state.live.set.is_some_and(|set| set.uid == uid && set.going != Going::Foreground),
    }
}

fn is_of_set(state: &State, owner: Owner) -> bool {
    state.live.set.is_some_and(|set| owner == Owner::Set(set.uid))
}

fn is_ownerless(state: &State, slot: usize, claim: &Claim) -> bool {
    match claim.keeper {
        Keeper::Nobody => false,
        Keeper::Set(uid) => is_orphaned(state, Owner::Set(uid)),
        Keeper::Pod(uid) => state.live.pods[slot].is_none_or(|pod| pod.uid != uid),
    }
}

pub(crate) fn is_used(state: &State, slot: usize, claim: &Claim) -> bool {
    state.live.pods[slot].is_some_and(|pod| pod.mounts == Some(claim.uid))
}

/// Deletes the claim, or where something else holds it too, takes the lost owner away.
pub(crate) fn collect_claim(state: &mut State, slot: usize) -> Result<(), Violation> {
    let Some(claim) = state.live.claims[slot] else { return Ok(()) };
    let version = state.fresh();
    let claim = if claim.foreign {
        Some(Claim { version, keeper: Keeper::Nobody, ..claim })
    } else {
        invariants::on_collect(state, &claim, slot)?;
        is_used(state, slot, &claim).then_some(Claim { version, terminating: true, ..claim })
    };
    state.live.claims[slot] = claim;
    Ok(())
}

pub(crate) fn free_pod(state: &mut State, slot: usize) {
    let version = state.fresh();
    if let Some(pod) = &mut state.live.pods[slot] {
        (pod.owner, pod.version) = (Owner::Nobody, version);
    }
}

pub(crate) fn free_claim(state: &mut State, slot: usize) {
    let version = state.fresh();
    if let Some(claim) = &mut state.live.claims[slot] {
        (claim.keeper, claim.version) = (Keeper::Nobody, version);
    }
}

pub(crate) fn free_revision(state: &mut State, template: usize) {
    let version = state.fresh();
    if let Some(revision) = &mut state.live.revisions[template] {
        (revision.owner, revision.version) = (Owner::Nobody, version);
    }
}
