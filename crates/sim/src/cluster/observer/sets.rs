//! The rules about sets and their pods: I2 (order), I9 (partition and budget), I10 (nothing goes without a
//! reason).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use stead_store::simulated::Committed;
use tokio::time::Instant;

use super::facts::{PodFact, RevisionFact, SetFact};
use super::pictures::{Picture, moments};
use super::{CONTROLLERS, Name, Observer, State, WINDOW};

/// Wire times have whole seconds, and two of them are compared.
pub(super) const ROUNDING: std::time::Duration = std::time::Duration::from_secs(2);

impl Observer {
    pub(super) fn pod(&self, state: &mut State, change: &Committed, name: Name, pod: &Pod) {
        let before = state.pods.get(&name).cloned();
        let set = (name.0.clone(), set_of(&name.1));
        let Some(fact) = PodFact::of(pod, before.as_ref()) else {
            return;
        };
        if fact.ready_since.is_some() || before.as_ref().is_some_and(|before| before.ready_since.is_some()) {
            state.last_ready.insert(fact.uid.clone(), Instant::now());
        }
        let asked_to_go = before.as_ref().is_some_and(|before| before.uid == fact.uid && !before.terminating)
            && (fact.terminating || change.event.deleted);
        let created = change.event.before.is_none();
        self.narrate(change, &name, before.as_ref(), &fact);
        if &*change.writer == CONTROLLERS {
            if created {
                self.check_creation(state, &set, &name, &fact);
            }
            if asked_to_go && let Some(before) = &before {
                self.check_deletion(state, &set, &name, before);
            }
        }
        super::names::note_home(state, &name, &fact, change.event.deleted);
        // What has ended others take away, too.
        let is_doomed = asked_to_go && before.as_ref().is_some_and(|before| !before.terminal);
        let doomed = (is_doomed && &*change.writer == CONTROLLERS).then(|| fact.uid.clone());
        if doomed.is_some() || (created && &*change.writer == CONTROLLERS) {
            state.sights.wrote_pod(&set, change.event.after.revision.0);
        }
        if change.event.deleted {
            state.pods.remove(&name);
        } else {
            state.pods.insert(name, fact);
        }
        take(state, &set, change, doomed);
    }

    pub(super) fn set(&self, state: &mut State, change: &Committed, name: Name, set: &StatefulSet) {
        let uid = set.metadata.uid.clone().unwrap_or_default();
        if change.event.deleted {
            self.story.tell(&change.writer, &format!("set {} is gone", name.1));
            state.sets.remove(&name);
        } else {
            // Judged by what was before: it must not be its own witness.
            self.status(state, change, &name, set);
            let update = newest_revision(state, &uid);
            let fact = SetFact::of(set, update);
            if state.sets.get(&name) != Some(&fact) {
                self.story.tell(
                    &change.writer,
                    &format!(
                        "set {}: {} replicas, updated from {}, current {}",
                        name.1,
                        fact.range.replicas,
                        fact.updated_from,
                        fact.current.as_deref().unwrap_or("-")
                    ),
                );
            }
            if !fact.keeps_claims {
                state.takes_claims.insert(name.clone());
            }
            let resets = fact.resets.keys().map(|ordinal| (name.0.clone(), format!("{}-{ordinal}", name.1)));
            state.resets.extend(resets);
            state.sets.insert(name.clone(), fact);
        }
        take(state, &name, change, None);
    }

    pub(super) fn revision(&self, state: &mut State, change: &Committed, name: Name, revision: &ControllerRevision) {
        let fact = RevisionFact::of(revision);
        let owner = fact.owner.clone();
        if change.event.deleted {
            state.revisions.remove(&name);
            state.removed.insert(name, Instant::now());
        } else {
            state.revisions.insert(name, fact);
        }
        let newest = newest_revision(state, &owner);
        let found = state.sets.iter_mut().find(|(_, set)| set.uid == owner);
        if let Some((name, set)) = found {
            set.update = newest;
            let name = name.clone();
            take(state, &name, change, None);
        }
    }

    fn narrate(&self, change: &Committed, name: &Name, before: Option<&PodFact>, fact: &PodFact) {
        let what = match before {
            _ if change.event.deleted => "gone",
            None => "created",
            Some(before) if !before.terminating && fact.terminating => "asked to end",
            Some(before) if before.node.is_none() && fact.node.is_some() => "bound",
            Some(before) if before.ready_since.is_none() && fact.ready_since.is_some() => "Ready",
            Some(before) if before.ready_since.is_some() && fact.ready_since.is_none() => "not Ready",
            Some(before) if !before.terminal && fact.terminal => "ended",
            Some(_) => return,
        };
        let (uid, node) = (fact.uid.get(..8).unwrap_or_default(), fact.node.as_deref().unwrap_or("-"));
        let revision = fact.revision.as_deref().unwrap_or("-");
        self.story.tell(&change.writer, &format!("pod {} ({uid}, {revision}, on {node}): {what}", name.1));
    }

    /// I2: the ordinals below must have been Ready and Available together in some recent state. I9: below the
    /// partition replicas come back at the current revision.
    fn check_creation(&self, state: &State, set: &Name, name: &Name, pod: &PodFact) {
        let floor = state.sights.floor(CONTROLLERS, set);
        if !moments(&state.pictures, set, floor).any(|picture| may_create(state, set, &picture, pod)) {
            self.story
                .violated("I2", format!("{} was created out of turn or at a revision that is not its own", name.1));
        }
    }

    /// I2, I9 and I10: some recent state gives a reason to delete the pod, and leaves room for it.
    fn check_deletion(&self, state: &State, set: &Name, name: &Name, pod: &PodFact) {
        let floor = state.sights.floor(CONTROLLERS, set);
        if pod.owner.is_empty() {
            if !may_collect(state, pod) {
                self.story.violated("I10", format!("{} ({}) was deleted and is nobody's", name.1, pod.uid));
            }
            return;
        }
        let alive = state.sets.get(set).is_some_and(|set| set.uid == pod.owner && !set.deleting);
        // Otherwise it is the collector's business.
        if alive && !moments(&state.pictures, set, floor).any(|picture| may_delete(state, set, &picture, pod)) {
            let text = format!("{} ({}) was deleted without a reason or room for it", name.1, pod.uid);
            self.story.violated("I9", text);
        }
    }
}

/// Whether the replica may be made: it is wanted, and those below stand.
fn may_create(state: &State, name: &Name, picture: &Picture, pod: &PodFact) -> bool {
    let Some(set) = picture.set.as_ref().filter(|set| set.uid == pod.owner && !set.deleting) else { return false };
    let doomed = state.pictures.doomed_since(name, picture);
    let stands = |lower: &PodFact| available(lower, set, state.clocks_stepped) && !doomed.contains(&*lower.uid);
    let mut lower = set.ordinals().filter(|lower| *lower < pod.ordinal);
    set.in_range(pod.ordinal)
        && may_be_at(set, pod)
        && (!set.ordered || lower.all(|lower| picture.pods.get(&lower).is_some_and(stands)))
}

fn may_delete(state: &State, name: &Name, picture: &Picture, pod: &PodFact) -> bool {
    let Some(set) = picture.set.as_ref().filter(|set| set.uid == pod.owner) else { return false };
    let Some(seen) = picture.pods.get(&pod.ordinal).filter(|seen| seen.uid == pod.uid) else { return false };
    if seen.terminal {
        return true;
    }
    let differs = |from: &Option<String>| from.is_some() && seen.revision != *from;
    let (update, current) = (differs(&set.update), differs(&set.current));
    if !set.in_range(pod.ordinal) {
        // Recreate lets all that are of an older revision go at once, wanted or not.
        if set.recreate && !set.paused && update {
            return true;
        }
        let higher = || picture.pods.range(pod.ordinal + 1..).map(|(_, higher)| higher);
        return !set.ordered || higher().all(|higher| higher.owner != set.uid || set.in_range(higher.ordinal));
    }
    if set.resets(seen) {
        return true;
    }
    if seen.ready_since.is_none() {
        return !set.on_delete && !set.paused && (update || current);
    }
    let outdated = if pod.ordinal >= set.updated_from { update } else { current };
    outdated
        && !set.on_delete
        && !set.paused
        && (set.recreate || (is_prepared(state, set, seen) && has_room(state, name, picture, set, pod)))
}

/// Whether the node of a replica that is up has made ready for its replacement, if it can be asked for that.
fn is_prepared(state: &State, set: &SetFact, pod: &PodFact) -> bool {
    let node = pod.node.as_ref().and_then(|node| state.preparing.get(node));
    // Controllers know of nodes by a watch of their own.
    let can_be_asked = node.is_some_and(|since| since.elapsed() > WINDOW);
    let revision = if pod.ordinal >= set.updated_from { &set.update } else { &set.current };
    !set.asks_nodes || !can_be_asked || pod.prepared == *revision
}

/// Whether a replica may be made at the revision that `pod` has.
fn may_be_at(set: &SetFact, pod: &PodFact) -> bool {
    let free = set.on_delete || set.recreate || set.paused || pod.ordinal >= set.updated_from;
    free || set.current.is_none() || pod.revision == set.current
}

/// Whether a pod without an owner may go by itself: its node is gone or it never had one.
fn may_collect(state: &State, pod: &PodFact) -> bool {
    let Some(node) = &pod.node else { return pod.terminating };
    pod.terminal || state.nodes.get(node).is_none_or(Option::is_some)
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

fn take(state: &mut State, name: &Name, change: &Committed, doomed: Option<String>) {
    let own = state.pods.iter().filter(|(pod, _)| pod.0 == name.0 && set_of(&pod.1) == name.1);
    let pods: BTreeMap<i64, PodFact> = own.map(|(_, pod)| (pod.ordinal, pod.clone())).collect();
    let (at, revision, set) = (Instant::now(), change.event.after.revision.0, state.sets.get(name).cloned());
    let picture = Picture { at, revision, until: None, set, pods, doomed };
    state.pictures.add(name, picture);
}

fn newest_revision(state: &State, uid: &str) -> Option<String> {
    let own = state.revisions.iter().filter(|(_, revision)| revision.owner == uid);
    own.max_by_key(|(_, revision)| revision.number).map(|((_, name), _)| name.clone())
}

/// `web-3` belongs to `web`.
pub(super) fn set_of(pod: &str) -> String {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set).to_owned()
}
