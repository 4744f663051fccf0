//! What the API server makes of an action: preconditions are checked against what is, not against what
//! the controller saw. Every success is held against the invariants.

use super::Model;
use super::asked;
use super::invariants::{self, Violation};
use super::objects::{Claim, Going, Keeper, Kind, Life, Note, Owner, Pod, Revision, Set, Stamp};
use super::preparing::Errand;
use super::state::{Act, Given, Job, State, Target};

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Done, and nothing is left of the object, so that there is no write of its own to wait for.
    Vanished,
    Conflict,
    AlreadyExists,
    NotFound,
    /// Not now and not later: a quota is used up, a webhook says no.
    Refused,
}

impl Outcome {
    /// Whether the executor goes on. That what is to be deleted is gone already is fine.
    pub(crate) fn is_fine(self, act: &Act) -> bool {
        match self {
            Self::Done | Self::Vanished => true,
            Self::NotFound => matches!(act, Act::DeletePod(..) | Act::DeleteClaim(_) | Act::DeleteRevision(_)),
            Self::Conflict | Self::AlreadyExists | Self::Refused => false,
        }
    }
}

/// Whether the API would not make the object whatever else is.
pub(crate) fn refuses(state: &State, act: &Act) -> bool {
    let kind = match act {
        Act::CreatePod { .. } => Kind::Pods,
        Act::CreateClaim { .. } => Kind::Claims,
        _ => return false,
    };
    state.world.refused & kind.bit() != 0
}

/// Carries out one action of `job`.
pub(crate) fn act(model: &Model, state: &mut State, job: &Job, act: &Act) -> Result<Outcome, Violation> {
    if refuses(state, act) {
        return Ok(Outcome::Refused);
    }
    let outcome = match *act {
        Act::Confirm => confirm(state, job),
        Act::AdoptRevision(target) => revision(state, target, |revision| revision.owner = Owner::Set(job.set))?,
        Act::Renumber(target, number) => revision(state, target, |revision| revision.number = number)?,
        Act::CreateRevision { template, number } => create_revision(state, job, template, number),
        Act::DeleteRevision(target) => {
            let outcome = revision(state, target, |_| {})?;
            if outcome == Outcome::Done {
                invariants::on_drop(state, job, target.slot)?;
                state.live.revisions[usize::from(target.slot)] = None;
                return Ok(Outcome::Vanished);
            }
            outcome
        }
        Act::AdoptPod(target) => {
            invariants::on_adopt(state, target.slot)?;
            pod(state, target, |pod| pod.owner = Owner::Set(job.set))?
        }
        Act::ReleasePod(target) => pod(state, target, |pod| pod.owner = Owner::Nobody)?,
        Act::Relabel(target) => pod(state, target, |pod| pod.labelled = true)?,
        Act::Prepare(target, template) => pod(state, target, |pod| {
            pod.errand.request = Some((target.version.unwrap_or(pod.version), template));
        })?,
        Act::Withdraw(target) => pod(state, target, |pod| pod.errand.request = None)?,
        Act::OwnClaim(target, given) => own_claim(state, job, target, given)?,
        Act::CreateClaim { slot } => create_claim(model, state, job, usize::from(slot)),
        Act::CreatePod { slot, template } => create_pod(model, state, job, usize::from(slot), template)?,
        Act::DeletePod(target, why) => {
            if exact(state.live.pods[usize::from(target.slot)].map(|pod| (pod.uid, pod.version)), target) {
                invariants::on_delete(state, job, usize::from(target.slot), why)?;
            }
            delete_pod(state, target)?
        }
        Act::DeleteClaim(target) => delete_claim(state, job, target)?,
        Act::GrowClaim(target, size) => {
            asked::on_grow(state, job, usize::from(target.slot), size)?;
            claim(state, target, |claim| claim.asks = size)?
        }
        Act::Remember(note) => {
            let here = |set: &Set| set.uid == job.set;
            set(state, here, |set| match note {
                Note::Paused(paused) => set.notes.paused = paused,
                Note::RolledOut(rolled_out) => set.notes.rolled_out = rolled_out,
                Note::Resetting(resetting) => set.notes.resetting = resetting,
            })
        }
        Act::RollBack { set: target, to, from } => {
            let here = state.live.set.map(|set| (set.uid, set.version));
            match answer(here, target)? {
                Outcome::Done => {
                    asked::on_roll_back(state, job, from)?;
                    set(
                        state,
                        |_| true,
                        |set| {
                            set.spec.template = to;
                            set.generation += 1;
                            set.notes.rolled_back.put(usize::from(from), true);
                        },
                    )
                }
                refusal => refusal,
            }
        }
    };
    if outcome == Outcome::Done
        && let Some(kind) = written(act)
    {
        state.unseen |= kind.bit();
    }
    Ok(outcome)
}

/// The kind whose cache has to show the action before the next plan.
pub(crate) fn written(act: &Act) -> Option<Kind> {
    match act {
        Act::Confirm => None,
        Act::AdoptRevision(_) | Act::CreateRevision { .. } | Act::Renumber(..) | Act::DeleteRevision(_) => {
            Some(Kind::Revisions)
        }
        Act::AdoptPod(_)
        | Act::ReleasePod(_)
        | Act::Relabel(_)
        | Act::Prepare(..)
        | Act::Withdraw(_)
        | Act::CreatePod { .. }
        | Act::DeletePod(..) => Some(Kind::Pods),
        Act::OwnClaim(..) | Act::CreateClaim { .. } | Act::DeleteClaim(_) | Act::GrowClaim(..) => Some(Kind::Claims),
        Act::Remember(_) | Act::RollBack { .. } => Some(Kind::Sets),
    }
}

/// Whether the API would let an action on `target` through. What is not named is not checked.
fn exact(live: Option<(Stamp, Stamp)>, target: Target) -> bool {
    live.is_some_and(|(uid, version)| {
        target.uid.is_none_or(|wanted| wanted == uid) && target.version.is_none_or(|wanted| wanted == version)
    })
}

fn answer(live: Option<(Stamp, Stamp)>, target: Target) -> Result<Outcome, Violation> {
    if live.is_none() {
        return Ok(Outcome::NotFound);
    }
    if !exact(live, target) {
        return Ok(Outcome::Conflict);
    }
    if target.uid.is_none() || target.version.is_none() {
        return Err(Violation::new("I7", "an action succeeds that does not name the very object it was decided on"));
    }
    Ok(Outcome::Done)
}

fn confirm(state: &State, job: &Job) -> Outcome {
    match state.live.set {
        Some(set) if set.uid == job.set && set.going == Going::No => Outcome::Done,
        Some(_) | None => Outcome::Conflict,
    }
}

/// Writes on the set, if it is the one that is meant.
fn set(state: &mut State, is_meant: impl FnOnce(&Set) -> bool, change: impl FnOnce(&mut Set)) -> Outcome {
    let version = state.fresh();
    match &mut state.live.set {
        None => Outcome::NotFound,
        Some(set) if !is_meant(set) => Outcome::Conflict,
        Some(set) => {
            change(set);
            set.version = version;
            Outcome::Done
        }
    }
}

fn pod(state: &mut State, target: Target, change: impl FnOnce(&mut Pod)) -> Result<Outcome, Violation> {
    let version = state.fresh();
    let live = &mut state.live.pods[usize::from(target.slot)];
    let outcome = answer(live.map(|pod| (pod.uid, pod.version)), target)?;
    if let (Some(pod), Outcome::Done) = (live, outcome) {
        change(pod);
        pod.version = version;
    }
    Ok(outcome)
}

fn revision(state: &mut State, target: Target, change: impl FnOnce(&mut Revision)) -> Result<Outcome, Violation> {
    let version = state.fresh();
    let live = &mut state.live.revisions[usize::from(target.slot)];
    let outcome = answer(live.map(|revision| (revision.uid, revision.version)), target)?;
    if let (Some(revision), Outcome::Done) = (live, outcome) {
        change(revision);
        revision.version = version;
    }
    Ok(outcome)
}

fn create_revision(state: &mut State, job: &Job, template: u8, number: u8) -> Outcome {
    let (uid, version) = (state.fresh(), state.fresh());
    let live = &mut state.live.revisions[usize::from(template)];
    if live.is_some() {
        return Outcome::AlreadyExists;
    }
    *live = Some(Revision { uid, version, owner: Owner::Set(job.set), number, made: number });
    Outcome::Done
}

fn claim(state: &mut State, target: Target, change: impl FnOnce(&mut Claim)) -> Result<Outcome, Violation> {
    let version = state.fresh();
    let live = &mut state.live.claims[usize::from(target.slot)];
    let outcome = answer(live.map(|claim| (claim.uid, claim.version)), target)?;
    if let (Some(claim), Outcome::Done) = (live, outcome) {
        change(claim);
        claim.version = version;
    }
    Ok(outcome)
}

fn own_claim(state: &mut State, job: &Job, target: Target, given: Given) -> Result<Outcome, Violation> {
    let keeper = match given {
        Given::Nobody => Keeper::Nobody,
        Given::Set => Keeper::Set(job.set),
        Given::Pod(uid) => Keeper::Pod(uid),
    };
    let outcome = claim(state, target, |claim| claim.keeper = keeper)?;
    if outcome == Outcome::Done {
        invariants::on_own(job, usize::from(target.slot), given)?;
    }
    Ok(outcome)
}

/// Asks for the claim to go. It does when nothing uses it any more.
fn delete_claim(state: &mut State, job: &Job, target: Target) -> Result<Outcome, Violation> {
    let outcome = claim(state, target, |claim| claim.terminating = true)?;
    if outcome == Outcome::Done {
        asked::on_delete_claim(state, job, usize::from(target.slot))?;
    }
    Ok(outcome)
}

fn create_claim(model: &Model, state: &mut State, job: &Job, slot: usize) -> Outcome {
    let (uid, version) = (state.fresh(), state.fresh());
    let (keeper, reset, size) = model.first_claim(job, slot);
    let live = &mut state.live.claims[slot];
    if live.is_some() {
        return Outcome::AlreadyExists;
    }
    *live = Some(Claim { uid, version, terminating: false, keeper, foreign: false, reset, asks: size, has: size });
    Outcome::Done
}

fn create_pod(model: &Model, state: &mut State, job: &Job, slot: usize, template: u8) -> Result<Outcome, Violation> {
    let (uid, version) = (state.fresh(), state.fresh());
    if state.live.pods[slot].is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    invariants::on_create(state, job, slot)?;
    asked::on_create(state, job, slot, template)?;
    state.live.pods[slot] = Some(Pod {
        uid,
        version,
        owner: Owner::Set(job.set),
        selected: true,
        labelled: true,
        terminating: false,
        life: Life::Pending,
        template,
        mounts: None,
        errand: Errand::default(),
        leader: false,
        reset: model.pod_made_for(job, slot),
    });
    state.world.starting.put(slot, true);
    state.world.ready_once.put(slot, false);
    Ok(Outcome::Done)
}

fn delete_pod(state: &mut State, target: Target) -> Result<Outcome, Violation> {
    let outcome = pod(state, target, |_| {})?;
    if outcome == Outcome::Done && ask_to_end(state, usize::from(target.slot)) {
        return Ok(Outcome::Vanished);
    }
    Ok(outcome)
}

/// Asks the pod to end; true when it is gone at once, because no node has taken it yet.
pub(crate) fn ask_to_end(state: &mut State, slot: usize) -> bool {
    let version = state.fresh();
    let live = &mut state.live.pods[slot];
    let unbound = live.is_some_and(|pod| pod.life == Life::Pending);
    match live {
        _ if unbound => *live = None,
        Some(pod) => (pod.terminating, pod.version) = (true, version),
        None => {}
    }
    unbound
}
