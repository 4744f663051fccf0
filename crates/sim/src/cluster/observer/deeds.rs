//! What the controller of a set may do to its pods in one state that it can have been looking at: I2 (order), I9
//! (partition and budget), I10 (nothing goes without a reason).

use std::time::Duration;

use super::facts::{PodFact, SetFact};
use super::pictures::Picture;
use super::revisions::{current_revisions, is_left, is_newer};
use super::{Name, State, WINDOW};

/// Wire times have whole seconds, and two of them are compared.
const ROUNDING: Duration = Duration::from_secs(2);

/// How long a node's object is away before its pods are collected (contract `controllers.md` 7.19).
const QUARANTINE: Duration = Duration::from_secs(40);

/// Whether the replica may be made: it is wanted, and those below stand.
pub(super) fn may_create(state: &State, name: &Name, picture: &Picture, pod: &PodFact) -> bool {
    let Some(set) = picture.set.as_ref().filter(|set| set.uid == pod.owner && !set.deleting) else { return false };
    let doomed = state.pictures.doomed_since(name, picture);
    let stands = |lower: &PodFact| available(lower, set, state.clocks_stepped) && !doomed.contains(&*lower.uid);
    let mut lower = set.ordinals().filter(|lower| *lower < pod.ordinal);
    set.in_range(pod.ordinal)
        && may_be_at(state, set, picture, pod)
        && (!set.ordered || lower.all(|lower| picture.pods.get(&lower).is_some_and(stands)))
}

/// Whether a replica may be made at the revision that `pod` has.
fn may_be_at(state: &State, set: &SetFact, picture: &Picture, pod: &PodFact) -> bool {
    let Some(revision) = pod.revision.as_deref() else { return false };
    let is_current = || current_revisions(state, set).any(|current| current == revision);
    let is_update = || set.update.as_deref() == Some(revision) || is_left(state, set, revision);
    if set.paused {
        let lived = || set.recreate && picture.pods.values().any(|other| other.revision == pod.revision);
        let exists = |noted: &&str| state.revisions.keys().any(|name| name.1 == **noted);
        return match set.lost_at(pod.ordinal).filter(exists) {
            Some(noted) => noted == revision,
            None => is_current() || is_left(state, set, revision) || lived(),
        };
    }
    let is_held = !set.on_delete && !set.recreate && pod.ordinal < set.updated_from;
    if is_held { is_current() } else { is_update() || (set.takes_turns && is_current()) }
}

/// Whether there is a reason to delete the pod, and room for it.
pub(super) fn may_delete(state: &State, name: &Name, picture: &Picture, pod: &PodFact) -> bool {
    let Some(set) = picture.set.as_ref().filter(|set| set.uid == pod.owner) else { return false };
    let Some(seen) = picture.pods.get(&pod.ordinal).filter(|seen| seen.uid == pod.uid) else { return false };
    if seen.terminal {
        return true;
    }
    if !set.in_range(pod.ordinal) {
        // Recreate lets all that are of an older revision go at once, wanted or not.
        if set.recreate && !set.paused && is_behind(set, seen) {
            return true;
        }
        let higher = || picture.pods.range(pod.ordinal + 1..).map(|(_, higher)| higher);
        return !set.ordered || higher().all(|higher| higher.owner != set.uid || set.in_range(higher.ordinal));
    }
    if set.resets(seen) {
        return true;
    }
    if set.on_delete || set.paused {
        return false;
    }
    if seen.ready_since.is_none() {
        return is_misplaced(state, set, seen);
    }
    is_outdated(state, set, seen)
        && (set.recreate || (is_prepared(state, set, seen) && has_room(state, name, picture, set, pod)))
}

/// Whether the pod is at another revision than the newest.
fn is_behind(set: &SetFact, pod: &PodFact) -> bool {
    set.update.is_some() && pod.revision != set.update
}

/// Whether the pod is at another revision than the current one.
fn is_astray(state: &State, set: &SetFact, pod: &PodFact) -> bool {
    current_revisions(state, set).any(|current| pod.revision.as_deref() != Some(current))
}

/// Whether a replica that is down would be made at another revision now.
fn is_misplaced(state: &State, set: &SetFact, pod: &PodFact) -> bool {
    if pod.ordinal >= set.updated_from {
        return is_behind(set, pod);
    }
    is_astray(state, set, pod) && (!set.holds || is_behind(set, pod))
}

/// Whether the rollout wants a replica that is up at another revision: at the newest, or below the partition back
/// at the current one.
fn is_outdated(state: &State, set: &SetFact, pod: &PodFact) -> bool {
    if pod.ordinal >= set.updated_from {
        return is_behind(set, pod);
    }
    !set.holds && is_astray(state, set, pod) && is_newer(state, set, pod.revision.as_deref())
}

/// Whether the node of a replica that is up has made ready for its replacement, if it can be asked for that.
fn is_prepared(state: &State, set: &SetFact, pod: &PodFact) -> bool {
    let node = pod.node.as_ref().and_then(|node| state.preparing.get(node));
    // Controllers know of nodes by a watch of their own.
    let can_be_asked = node.is_some_and(|since| since.elapsed() > WINDOW);
    let revision = if pod.ordinal >= set.updated_from { &set.update } else { &set.current };
    !set.asks_nodes || !can_be_asked || pod.prepared == *revision
}

/// Whether a pod without an owner may go by itself: its node is gone or it never had one.
pub(super) fn may_collect(state: &State, pod: &PodFact) -> bool {
    let Some(node) = &pod.node else { return pod.terminating };
    pod.terminal || state.nodes.get(node).is_none_or(Option::is_some)
}

/// Whether the object of the pod's node has stayed away so long that its pods are collected: whoever deleted it
/// answers for the processes there. The object of a node whose agent works comes back.
pub(super) fn is_given_up(state: &State, pod: &PodFact) -> bool {
    let gone = pod.node.as_ref().and_then(|node| state.nodes.get(node).copied().flatten());
    gone.is_some_and(|since| since.elapsed() >= QUARANTINE)
}

/// Whether the budget has room, counting what controllers have deleted since.
fn has_room(state: &State, name: &Name, picture: &Picture, set: &SetFact, pod: &PodFact) -> bool {
    let ready = |ordinal: &i64| picture.pods.get(ordinal).filter(|pod| pod.ready_since.is_some() && !pod.terminating);
    // One after the other, from the highest down: a Parallel set then waits for those above only (L2).
    let from = if set.ordered || set.budget.is_some() { 0 } else { pod.ordinal };
    let down = set.ordinals().filter(|ordinal| *ordinal >= from && ready(ordinal).is_none()).count();
    let taken = state.pictures.doomed_since(name, picture);
    let taken = picture.pods.range(from..).filter(|(_, taking)| {
        taken.contains(&*taking.uid) && taking.uid != pod.uid && taking.ready_since.is_some() && !taking.terminating
    });
    down + taken.count() < set.budget.unwrap_or(1)
}

/// Whether a controller that knows of nothing later can take the pod for available now.
pub(super) fn available(pod: &PodFact, set: &SetFact, stepped: bool) -> bool {
    let Some(since) = pod.ready_since.filter(|_| !pod.terminating && pod.owner == set.uid) else { return false };
    stepped || since.elapsed() + ROUNDING >= set.min_ready
}
