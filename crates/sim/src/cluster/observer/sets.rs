//! What is written about sets and their pods, and whose deeds are judged ([`super::deeds`]): I2 (order), I9
//! (partition and budget), I10 (nothing goes without a reason).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use stead_store::simulated::Committed;
use tokio::time::Instant;

use super::deeds::{may_collect, may_create, may_delete};
use super::facts::{PodFact, SetFact};
use super::pictures::{Picture, moments};
use super::revisions::{called, newest_revision};
use super::{CONTROLLERS, Name, Observer, State};

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
            if super::deeds::is_given_up(state, &fact) {
                state.forced.insert(fact.uid);
            }
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
            if &*change.writer == CONTROLLERS {
                self.check_template(state, &name, &fact);
            }
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
        let revision = called(state, &name.0, pod.revision.as_deref());
        if revision.is_some_and(|revision| revision.image() != pod.image.as_deref()) {
            self.story.violated("I9", format!("{} was not made from the revision that it names", name.1));
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

pub(super) fn take(state: &mut State, name: &Name, change: &Committed, doomed: Option<String>) {
    let own = state.pods.iter().filter(|(pod, _)| pod.0 == name.0 && set_of(&pod.1) == name.1);
    let pods: BTreeMap<i64, PodFact> = own.map(|(_, pod)| (pod.ordinal, pod.clone())).collect();
    let (at, revision, set) = (Instant::now(), change.event.after.revision.0, state.sets.get(name).cloned());
    let picture = Picture { at, revision, until: None, set, pods, doomed };
    state.pictures.add(name, picture);
}

/// `web-3` belongs to `web`.
pub(super) fn set_of(pod: &str) -> String {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set).to_owned()
}
