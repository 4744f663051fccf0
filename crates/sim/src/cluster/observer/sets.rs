//! The rules about sets and their pods: I2 (order), I8 (status), I9 (partition and budget), I10 (nothing
//! goes without a reason).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use stead_store::simulated::Committed;
use tokio::time::Instant;

use super::facts::{PodFact, RevisionFact, SetFact};
use super::pictures::Picture;
use super::{CONTROLLERS, Name, Observer, State};

/// Wire times have whole seconds, and two of them are compared.
const ROUNDING: std::time::Duration = std::time::Duration::from_secs(2);

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
        let doomed = (asked_to_go && &*change.writer == CONTROLLERS).then(|| fact.uid.clone());
        if change.event.deleted {
            state.pods.remove(&name);
        } else {
            state.pods.insert(name, fact);
        }
        take(state, &set, doomed);
    }

    pub(super) fn set(&self, state: &mut State, change: &Committed, name: Name, set: &StatefulSet) {
        let uid = set.metadata.uid.clone().unwrap_or_default();
        if change.event.deleted {
            self.story.tell(&change.writer, &format!("set {} is gone", name.1));
            state.sets.remove(&name);
        } else {
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
        take(state, &name, None);
        if !change.event.deleted {
            self.check_status(state, &name, set);
        }
    }

    pub(super) fn revision(&self, state: &mut State, change: &Committed, name: Name, revision: &ControllerRevision) {
        let fact = RevisionFact::of(revision);
        let owner = fact.owner.clone();
        if change.event.deleted {
            state.revisions.remove(&name);
        } else {
            state.revisions.insert(name, fact);
        }
        let newest = newest_revision(state, &owner);
        let found = state.sets.iter_mut().find(|(_, set)| set.uid == owner);
        if let Some((name, set)) = found {
            set.update = newest;
            let name = name.clone();
            take(state, &name, None);
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
        let stepped = state.clocks_stepped;
        let allowed = |picture: &Picture| {
            let Some(asked) = picture.set.as_ref().filter(|asked| asked.uid == pod.owner) else { return false };
            asked.in_range(pod.ordinal)
                && may_be_at(asked, pod)
                && (!asked.ordered
                    || asked.ordinals().filter(|lower| *lower < pod.ordinal).all(|lower| {
                        picture.pods.get(&lower).is_some_and(|lower| {
                            available(lower, asked, picture.until.unwrap_or_else(Instant::now), stepped)
                        })
                    }))
        };
        if !moments(state, set).any(|picture| allowed(&picture)) {
            self.story
                .violated("I2", format!("{} was created out of turn or at a revision that is not its own", name.1));
        }
    }

    /// I2, I9 and I10: some recent state gives a reason to delete the pod, and leaves room for it.
    fn check_deletion(&self, state: &State, set: &Name, name: &Name, pod: &PodFact) {
        if pod.owner.is_empty() {
            if !may_collect(state, pod) {
                self.story.violated("I10", format!("{} ({}) was deleted and is nobody's", name.1, pod.uid));
            }
        } else if !moments(state, set).any(|picture| may_delete(state, set, &picture, pod)) {
            let text = format!("{} ({}) was deleted without a reason or room for it", name.1, pod.uid);
            self.story.violated("I9", text);
        }
    }

    /// I8: the counts are those of one real state.
    fn check_status(&self, state: &State, name: &Name, set: &StatefulSet) {
        let Some(status) = &set.status else { return };
        let generation = set.metadata.generation.unwrap_or(0);
        if status.observed_generation.unwrap_or(0) > generation {
            self.story.violated("I8", format!("{} observes a generation that is yet to come", name.1));
        }
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let wanted = (status.replicas, status.ready_replicas.unwrap_or(0));
        let counts = |picture: &Picture| {
            let own = || picture.pods.values().filter(|pod| pod.owner == uid);
            (int(own().count()), int(own().filter(|pod| pod.ready_since.is_some()).count())) == wanted
        };
        if status.observed_generation.is_some() && !state.pictures.of(name).any(counts) {
            self.story.violated("I8", format!("{}: counts {wanted:?} were never true lately", name.1));
        }
    }
}

fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Set and pods reach a controller by two watches: any recent set may meet any recent pods.
fn moments<'a>(state: &'a State, set: &'a Name) -> impl Iterator<Item = Picture> + 'a {
    let mut asked: Vec<Option<SetFact>> = Vec::new();
    for picture in state.pictures.of(set) {
        if asked.last() != Some(&picture.set) {
            asked.push(picture.set.clone());
        }
    }
    let all = state.pictures.of(set).rev();
    all.flat_map(move |picture| {
        let asked = asked.clone();
        asked.into_iter().rev().map(move |set| Picture { set, ..picture.clone() })
    })
}

fn may_delete(state: &State, name: &Name, picture: &Picture, pod: &PodFact) -> bool {
    let alive = |set: &&SetFact| set.uid == pod.owner && !set.deleting;
    let Some(set) = picture.set.as_ref().filter(alive) else {
        // Its owner is gone: the collector's business. What is there now has been there all the time.
        return state.sets.get(name).filter(alive).is_none();
    };
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
    outdated && !set.on_delete && !set.paused && (set.recreate || has_room(state, name, picture, set, pod))
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
    let later = state.pictures.of(name).filter(|later| later.at >= picture.at);
    let taken: std::collections::BTreeSet<&String> = later.filter_map(|later| later.doomed.as_ref()).collect();
    let taken = taken
        .into_iter()
        .filter(|uid| **uid != pod.uid)
        .filter(|uid| {
            picture.pods.range(from..).any(|(_, pod)| pod.uid == **uid && pod.ready_since.is_some() && !pod.terminating)
        })
        .count();
    down + taken < set.budget.unwrap_or(1)
}

fn available(pod: &PodFact, set: &SetFact, at: Instant, stepped: bool) -> bool {
    let Some(since) = pod.ready_since.filter(|_| !pod.terminating && pod.owner == set.uid) else { return false };
    stepped || at.saturating_duration_since(since) + ROUNDING >= set.min_ready
}

fn take(state: &mut State, name: &Name, doomed: Option<String>) {
    let own = state.pods.iter().filter(|(pod, _)| pod.0 == name.0 && set_of(&pod.1) == name.1);
    let pods: BTreeMap<i64, PodFact> = own.map(|(_, pod)| (pod.ordinal, pod.clone())).collect();
    let picture = Picture { at: Instant::now(), until: None, set: state.sets.get(name).cloned(), pods, doomed };
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
