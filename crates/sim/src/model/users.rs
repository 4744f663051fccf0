//! What users and faults do to a cluster. Each scenario has its own alphabet of these, and a bound on
//! how many of them happen.

use super::api;
use super::nodes;
use super::objects::{Going, Kind, Life, Owner, Pod, SLOTS, Set, Slots, Spec, Strategy};
use super::preparing::Errand;
use super::state::State;
use super::steps::{is_staying, is_up};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Disturbance {
    // A user edits the set.
    Scale(u8),
    StartAt(u8),
    Template(u8),
    Partition(u8),
    Unavailable(u8),
    MinReady(bool),
    /// Whether claims go with their replica, with their set.
    Retention(bool, bool),
    Recreate,
    /// The claim template asks for so much.
    Storage(u8),
    // A user edits annotations of the set.
    Pause(bool),
    /// Bits of the ordinals that no replica may hold.
    Reserve(u8),
    /// A replica is to be made anew for this generation; 0 takes that back.
    Reset(u8, u8),
    RollsBack(bool),
    /// What was taken back may be taken back again.
    Forgive,
    /// The set goes: at once, after its dependents, or without them.
    DeleteSet,
    DeleteSetForeground,
    DeleteSetOrphan,
    /// A set of the same name is made.
    MakeSet,
    // A user touches pods and claims.
    DeletePod(u8),
    /// With a grace period of nothing.
    ForceDelete(u8),
    DeleteClaim(u8),
    /// Takes a pod's owner away.
    Disown(u8),
    /// Takes the labels away that the selector wants, or puts them back.
    Unlabel(u8),
    Label(u8),
    /// Takes the identity label away.
    Unname(u8),
    /// Somebody else's pod takes the name.
    Squat(u8),
    /// Somebody else's controller takes the claim.
    Seize(u8),
    /// The role of the leader moves to a pod.
    Lead(u8),
    /// Takes the owner of a revision away.
    DisownRevision(u8),
    /// Writes something of no meaning on a pod.
    Touch(u8),
    // Faults.
    /// From now on the API refuses every new object of the kind.
    Refuse(Kind),
    Unready(u8),
    Fail(u8),
    Succeed(u8),
    LoseNode(u8),
}

/// Whether `what` can happen, and changes anything.
pub(crate) fn can(state: &State, what: Disturbance) -> bool {
    let live = &state.live;
    let pod = |slot: u8| live.pods[usize::from(slot)];
    match what {
        Disturbance::DeleteSet | Disturbance::DeleteSetForeground | Disturbance::DeleteSetOrphan => is_staying(state),
        Disturbance::MakeSet => live.set.is_none(),
        Disturbance::DeletePod(slot) => pod(slot).is_some_and(|pod| !pod.terminating),
        Disturbance::ForceDelete(slot) => pod(slot).is_some(),
        Disturbance::DeleteClaim(slot) => live.claims[usize::from(slot)].is_some_and(|claim| !claim.terminating),
        Disturbance::Disown(slot) => pod(slot).is_some_and(|pod| matches!(pod.owner, Owner::Set(_))),
        Disturbance::Unlabel(slot) => pod(slot).is_some_and(|pod| pod.selected),
        Disturbance::Label(slot) => pod(slot).is_some_and(|pod| !pod.selected),
        Disturbance::Unname(slot) => pod(slot).is_some_and(|pod| pod.labelled),
        Disturbance::Squat(slot) => pod(slot).is_none() && !state.world.leftover.has(usize::from(slot)),
        Disturbance::Seize(slot) => live.claims[usize::from(slot)].is_some_and(|claim| !claim.foreign),
        Disturbance::DisownRevision(template) => {
            live.revisions[usize::from(template)].is_some_and(|revision| matches!(revision.owner, Owner::Set(_)))
        }
        Disturbance::Touch(slot) => pod(slot).is_some(),
        Disturbance::Lead(slot) => pod(slot).is_some_and(|pod| !pod.leader),
        Disturbance::Forgive => live.set.is_some_and(|set| set.notes.rolled_back != Slots::default()),
        Disturbance::Refuse(kind) => state.world.refused & kind.bit() == 0,
        Disturbance::Unready(slot) => pod(slot).is_some_and(|pod| pod.life.is_ready()),
        Disturbance::Fail(slot) | Disturbance::Succeed(slot) => {
            pod(slot).is_some_and(|pod| pod.life.runs()) && !state.world.down.has(usize::from(slot))
        }
        Disturbance::LoseNode(slot) => is_up(state, usize::from(slot)) && !state.world.down.has(usize::from(slot)),
        Disturbance::Scale(_)
        | Disturbance::StartAt(_)
        | Disturbance::Template(_)
        | Disturbance::Partition(_)
        | Disturbance::Unavailable(_)
        | Disturbance::MinReady(_)
        | Disturbance::Retention(..)
        | Disturbance::Recreate
        | Disturbance::Storage(_)
        | Disturbance::Pause(_)
        | Disturbance::Reserve(_)
        | Disturbance::Reset(..)
        | Disturbance::RollsBack(_) => {
            live.set.is_some_and(|set| set.going == Going::No && edited(set.spec, what) != set.spec)
        }
    }
}

pub(crate) fn happen(state: &mut State, what: Disturbance) {
    match what {
        Disturbance::Scale(_)
        | Disturbance::StartAt(_)
        | Disturbance::Template(_)
        | Disturbance::Partition(_)
        | Disturbance::Unavailable(_)
        | Disturbance::MinReady(_)
        | Disturbance::Retention(..)
        | Disturbance::Recreate
        | Disturbance::Storage(_)
        | Disturbance::Pause(_)
        | Disturbance::Reserve(_)
        | Disturbance::Reset(..)
        | Disturbance::RollsBack(_) => edit(state, what),
        Disturbance::Forgive => {
            let version = state.fresh();
            if let Some(set) = &mut state.live.set {
                (set.notes.rolled_back, set.version) = (Slots::default(), version);
            }
        }
        Disturbance::Lead(slot) => lead(state, usize::from(slot)),
        Disturbance::DeleteSet => state.live.set = None,
        Disturbance::DeleteSetForeground => goes(state, Going::Foreground),
        Disturbance::DeleteSetOrphan => goes(state, Going::Orphan),
        Disturbance::MakeSet => make_set(state),
        Disturbance::DeletePod(slot) => drop(api::ask_to_end(state, usize::from(slot))),
        Disturbance::ForceDelete(slot) => force(state, usize::from(slot)),
        Disturbance::DeleteClaim(slot) => delete_claim(state, usize::from(slot)),
        Disturbance::Disown(slot) => write(state, slot, |pod| pod.owner = Owner::Nobody),
        Disturbance::Unlabel(slot) => write(state, slot, |pod| pod.selected = false),
        Disturbance::Label(slot) => write(state, slot, |pod| pod.selected = true),
        Disturbance::Unname(slot) => write(state, slot, |pod| pod.labelled = false),
        Disturbance::Touch(slot) => write(state, slot, |_| {}),
        Disturbance::Squat(slot) => squat(state, usize::from(slot)),
        Disturbance::Seize(slot) => {
            let version = state.fresh();
            if let Some(claim) = &mut state.live.claims[usize::from(slot)] {
                (claim.foreign, claim.version) = (true, version);
            }
        }
        Disturbance::DisownRevision(template) => {
            let version = state.fresh();
            if let Some(revision) = &mut state.live.revisions[usize::from(template)] {
                (revision.owner, revision.version) = (Owner::Nobody, version);
            }
        }
        Disturbance::Refuse(kind) => state.world.refused |= kind.bit(),
        Disturbance::Unready(slot) => nodes::change(state, usize::from(slot), Life::Down),
        Disturbance::Fail(slot) => nodes::change(state, usize::from(slot), Life::Failed),
        Disturbance::Succeed(slot) => nodes::change(state, usize::from(slot), Life::Succeeded),
        Disturbance::LoseNode(slot) => {
            state.world.down.put(usize::from(slot), true);
            nodes::change(state, usize::from(slot), Life::Down);
        }
    }
}

fn edited(mut spec: Spec, what: Disturbance) -> Spec {
    let (partition, unavailable_max) = match spec.strategy {
        Strategy::Block { partition, unavailable_max } => (partition, unavailable_max),
        Strategy::OnDelete | Strategy::Recreate | Strategy::Plain => (0, None),
    };
    match what {
        Disturbance::Scale(replicas) => spec.replicas = replicas,
        Disturbance::StartAt(start) => spec.start = start,
        Disturbance::Template(template) => spec.template = template,
        Disturbance::Partition(partition) => spec.strategy = Strategy::Block { partition, unavailable_max },
        Disturbance::Unavailable(max) => spec.strategy = Strategy::Block { partition, unavailable_max: Some(max) },
        Disturbance::MinReady(min_ready) => spec.min_ready = min_ready,
        Disturbance::Retention(scaled, deleted) => (spec.scaled_delete, spec.deleted_delete) = (scaled, deleted),
        Disturbance::Recreate => spec.strategy = Strategy::Recreate,
        Disturbance::Storage(size) => spec.storage = size,
        Disturbance::Pause(paused) => spec.wishes.paused = paused,
        Disturbance::Reserve(slots) => spec.wishes.reserved = Slots(slots),
        Disturbance::Reset(slot, generation) => spec.wishes.resets[usize::from(slot)] = generation,
        Disturbance::RollsBack(on) => spec.wishes.rolls_back = on,
        // Nothing else edits the spec.
        _ => {}
    }
    spec
}

fn edit(state: &mut State, what: Disturbance) {
    let version = state.fresh();
    if let Some(set) = &mut state.live.set {
        let before = set.spec;
        set.spec = edited(before, what);
        set.version = version;
        // Annotations are no part of the spec.
        set.generation += u8::from(Spec { wishes: before.wishes, ..set.spec } != before);
        state.world.overdue &= set.spec.template == before.template;
        if !set.spec.wishes.rolls_back {
            state.world.finished = None;
        }
        // Who asks for another generation asks anew.
        for slot in (0..SLOTS).filter(|slot| set.spec.wishes.resets[*slot] != before.wishes.resets[*slot]) {
            state.world.wiped[slot] = 0;
        }
        state.world.ever_scaled_delete |= set.spec.scaled_delete;
        state.world.ever_deleted_delete |= set.spec.deleted_delete;
    }
}

fn goes(state: &mut State, how: Going) {
    let version = state.fresh();
    if let Some(set) = &mut state.live.set {
        set.version = version;
        set.going = how;
        set.generation += 1;
    }
}

/// The same manifest is applied again: as far as the world remembers, the spec of the set that was.
fn make_set(state: &mut State) {
    let (uid, version) = (state.fresh(), state.fresh());
    state.live.set = state.world.manifest.map(|spec| Set::new(uid, version, spec));
}

fn lead(state: &mut State, leader: usize) {
    for slot in 0..SLOTS {
        let version = state.fresh();
        if let Some(pod) = state.live.pods[slot].as_mut().filter(|pod| pod.leader != (slot == leader)) {
            (pod.leader, pod.version) = (slot == leader, version);
        }
    }
}

fn write(state: &mut State, slot: u8, change: impl FnOnce(&mut Pod)) {
    let version = state.fresh();
    if let Some(pod) = &mut state.live.pods[usize::from(slot)] {
        change(pod);
        pod.version = version;
    }
}

fn force(state: &mut State, slot: usize) {
    let ran = state.live.pods[slot].is_some_and(|pod| pod.life.runs());
    state.live.pods[slot] = None;
    if ran {
        state.world.leftover.put(slot, true);
    }
}

fn delete_claim(state: &mut State, slot: usize) {
    let version = state.fresh();
    let mounted = state.live.pods[slot].and_then(|pod| pod.mounts);
    let claim = &mut state.live.claims[slot];
    match claim {
        Some(held) if mounted == Some(held.uid) => (held.terminating, held.version) = (true, version),
        Some(_) | None => *claim = None,
    }
}

fn squat(state: &mut State, slot: usize) {
    let (uid, version) = (state.fresh(), state.fresh());
    state.live.pods[slot] = Some(Pod {
        uid,
        version,
        owner: Owner::Other,
        selected: true,
        labelled: true,
        terminating: false,
        life: Life::Ready,
        template: 0,
        mounts: None,
        errand: Errand::default(),
        leader: false,
        reset: 0,
    });
}
