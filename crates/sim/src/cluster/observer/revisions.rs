//! The rules about what is rolled out (I9): a revision becomes the newest only because a template was asked for
//! that none of them held, or an older one; and controllers change a template only to take a failed rollout back,
//! where that is asked for.

use k8s_openapi::api::apps::v1::ControllerRevision;
use stead_store::simulated::Committed;
use tokio::time::Instant;

use super::facts::{RevisionFact, SetFact};
use super::sets::take;
use super::{CONTROLLERS, Name, Observer, State, WINDOW};

impl Observer {
    pub(super) fn revision(&self, state: &mut State, change: &Committed, name: Name, revision: &ControllerRevision) {
        let fact = RevisionFact::of(revision);
        let owner = fact.owner.clone();
        if change.event.deleted {
            state.revisions.remove(&name);
            state.removed.insert(name, Instant::now());
        } else {
            if &*change.writer == CONTROLLERS {
                self.check_number(state, &name, &fact);
            }
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

    /// A revision is made or given a number.
    fn check_number(&self, state: &State, name: &Name, fact: &RevisionFact) {
        let Some((set, _)) = state.sets.iter().find(|(_, set)| set.uid == fact.owner) else { return };
        let before = state.revisions.get(name);
        if before.is_some_and(|before| before.number == fact.number) {
            return;
        }
        let mut others = state.revisions.iter().filter(|(other, of)| *other != name && of.owner == fact.owner);
        if let Some((twin, _)) = others.find(|(_, of)| before.is_none() && of.is_like(fact)) {
            let text =
                format!("{} was made though {} is the same template: nobody asked for an update", name.1, twin.1);
            self.story.violated("I9", text);
        }
        let floor = state.sights.floor(CONTROLLERS, set);
        let recent = state.pictures.of(set).filter(|picture| picture.lasts_beyond(floor.sets));
        let mut asked = recent.filter_map(|picture| picture.set.as_ref()).filter(|set| set.uid == fact.owner);
        if !asked.any(|set| fact.holds(&set.template)) {
            self.story.violated("I9", format!("{} became the newest revision, and nobody asked for it", name.1));
        }
    }

    /// A set is written by controllers.
    pub(super) fn check_template(&self, state: &State, name: &Name, set: &SetFact) {
        let before = state.sets.get(name).filter(|before| before.uid == set.uid && before.template != set.template);
        let Some(before) = before else { return };
        let former = called(state, &name.0, before.current.as_deref());
        let is_back = former.is_some_and(|former| former.holds(&set.template));
        if !(before.rolls_back && is_back) {
            self.story.violated("I9", format!("the template of {} was changed, and nobody asked for it", name.1));
        }
    }
}

/// The revision of that name, whosever it is.
pub(super) fn called<'a>(state: &'a State, namespace: &str, name: Option<&str>) -> Option<&'a RevisionFact> {
    state.revisions.get(&(namespace.to_owned(), name?.to_owned()))
}

pub(super) fn newest_revision(state: &State, uid: &str) -> Option<String> {
    let own = state.revisions.iter().filter(|(_, revision)| revision.owner == uid);
    own.max_by_key(|(_, revision)| revision.number).map(|((_, name), _)| name.clone())
}

/// Whether a revision is one that somebody else's set of that name has left.
pub(super) fn is_left(state: &State, set: &SetFact, revision: &str) -> bool {
    let left = || state.revisions.iter().any(|(own, of)| own.1 == revision && of.owner != set.uid);
    let gone = || state.removed.iter().any(|(own, at)| own.1 == revision && at.elapsed() <= WINDOW);
    left() || gone()
}

/// What may count as the current revision: what the status says, or the update revision where there is no such
/// revision.
pub(super) fn current_revisions<'a>(state: &'a State, set: &'a SetFact) -> impl Iterator<Item = &'a str> {
    let current = set.current.as_deref();
    let update = set.update.as_deref().filter(|_| own(state, set, current).is_none());
    current.into_iter().chain(update)
}

/// Whether a revision was made after the current one, as far as anybody can tell.
pub(super) fn is_newer(state: &State, set: &SetFact, revision: Option<&str>) -> bool {
    let (Some(this), Some(current)) = (own(state, set, revision), own(state, set, set.current.as_deref())) else {
        return true;
    };
    revision == set.update.as_deref() || this.number > current.number || this.made > current.made
}

/// The revision of that name, if it is the set's.
fn own<'a>(state: &'a State, set: &SetFact, name: Option<&str>) -> Option<&'a RevisionFact> {
    let found = state.revisions.iter().find(|(own, of)| Some(&*own.1) == name && of.owner == set.uid);
    found.map(|(_, of)| of)
}
