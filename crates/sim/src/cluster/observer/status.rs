//! I8: the status of a set is that of one real state: of a set as it was asked for and of pods as they were,
//! both no older than what its controller had seen.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use stead_store::simulated::Committed;

use super::deeds::available;
use super::facts::{PodFact, SetFact};
use super::pictures::{Picture, moments};
use super::revisions::is_left;
use super::sights::PLAN_MAX;
use super::{CONTROLLERS, Name, Observer, State, decode};

impl Observer {
    /// A set was written; what its controller says of it is judged when it says something new.
    pub(super) fn status(&self, state: &mut State, change: &Committed, name: &Name, set: &StatefulSet) {
        let before = change.event.before.as_ref().map(|before| decode::<StatefulSet>(&before.bytes));
        let said = before.as_ref().and_then(|before| before.status.as_ref());
        let Some(status) = set.status.as_ref().filter(|status| Some(*status) != said) else { return };
        let (observed, generation) = (status.observed_generation.unwrap_or(0), set.metadata.generation.unwrap_or(0));
        let known = said.and_then(|said| said.observed_generation).unwrap_or(0);
        if !(known..=generation).contains(&observed) {
            let text = format!("{} observes generation {observed} after {known}, at {generation}", name.1);
            self.story.violated("I8", text);
        }
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let floor = state.sights.floor(CONTROLLERS, name);
        let mut seen = moments(&state.pictures, name, floor);
        if status.observed_generation.is_some() && !seen.any(|picture| is_of(state, uid, status, &picture)) {
            self.story.violated("I8", format!("{}: {} was never true lately", name.1, told(status)));
        }
        if &*change.writer == CONTROLLERS {
            state.sights.reported(name, change.event.after.revision.0);
        }
    }
}

/// Counts the set's pods that are so.
type Count<'a> = &'a dyn Fn(&dyn Fn(&PodFact) -> bool) -> i32;

/// Whether the status is that of the picture, once the controller has done what it decided on there.
fn is_of(state: &State, uid: &str, status: &StatefulSetStatus, picture: &Picture) -> bool {
    let Some(set) = picture.set.as_ref().filter(|set| set.uid == uid) else { return false };
    let own = || picture.pods.values().filter(|pod| pod.owner == uid);
    let count = |wanted: &dyn Fn(&PodFact) -> bool| int(own().filter(|pod| wanted(pod)).count());
    let (replicas, ready) = (count(&|_| true), count(&|pod| pod.ready_since.is_some()));
    Some(set.generation) == status.observed_generation
        && (replicas, ready) == (status.replicas, status.ready_replicas.unwrap_or(0))
        && is_between(status.available_replicas, available_counts(state, set, &count))
        && is_between(status.updated_replicas, at_revision(state, status.update_revision.as_deref(), &count))
        && (set.deleting || is_update(state, set, status))
        && is_current(state, set, status, &count)
}

/// Least and most that can have been available: those that had been Ready for long, and those for about long
/// enough.
fn available_counts(state: &State, set: &SetFact, count: Count<'_>) -> (i32, i32) {
    let ready = count(&|pod| pod.ready_since.is_some());
    if state.clocks_stepped {
        return (0, ready);
    }
    if set.min_ready.is_zero() {
        return (ready, ready);
    }
    let for_long = |pod: &PodFact| pod.ready_since.is_some_and(|since| since.elapsed() > set.min_ready + PLAN_MAX);
    let may_be = |pod: &PodFact| available(&PodFact { terminating: false, ..pod.clone() }, set, false);
    (count(&for_long), count(&may_be))
}

/// Least and most replicas at a revision, those left out that were asked to end since.
fn at_revision(state: &State, revision: Option<&str>, count: Count<'_>) -> (i32, i32) {
    let there = |pod: &PodFact| !pod.terminating && pod.revision.as_deref() == revision;
    let stays = |pod: &PodFact| state.pods.values().any(|now| now.uid == pod.uid && !now.terminating);
    (count(&|pod| there(pod) && stays(pod)), count(&there))
}

/// Whether the update revision is the newest, or one that somebody else's set of that name has left.
fn is_update(state: &State, set: &SetFact, status: &StatefulSetStatus) -> bool {
    let left = status.update_revision.as_deref().is_some_and(|revision| is_left(state, set, revision));
    status.update_revision == set.update || left
}

/// Whether the current revision is the right one: the update revision once every replica wanted is there, Ready
/// and updated, and otherwise the one there was. That may also stay until the replicas can be trusted, where a
/// rollout may be taken back, and stays while a paused set has no replicas.
fn is_current(state: &State, set: &SetFact, status: &StatefulSetStatus, count: Count<'_>) -> bool {
    let (updated, ready) = (status.updated_replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
    let complete = [updated, ready, status.replicas].iter().all(|count| *count == set.range.replicas);
    let may_stay = set.watched || (set.paused && set.range.replicas == 0);
    if complete && !(may_stay && status.current_revision != status.update_revision) {
        return status.current_revision == status.update_revision && status.current_replicas.unwrap_or(0) == updated;
    }
    let exists = |name: &String| state.revisions.iter().any(|(own, of)| own.1 == *name && of.owner == set.uid);
    let stands = set.current.as_ref().filter(|current| exists(current));
    let kept = status.current_revision == set.current
        || (stands.is_none() && status.current_revision == status.update_revision);
    kept && is_between(status.current_replicas, at_revision(state, status.current_revision.as_deref(), count))
}

fn told(status: &StatefulSetStatus) -> String {
    let said = StatefulSetStatus { conditions: None, ..status.clone() };
    serde_json::to_string(&said).expect("invariant: API types always serialise")
}

fn is_between(count: Option<i32>, (least, most): (i32, i32)) -> bool {
    (least..=most).contains(&count.unwrap_or(0))
}

fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
