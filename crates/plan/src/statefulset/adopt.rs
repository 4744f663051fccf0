//! Which pods are the set's: adoption of ownerless ones, release of those that no longer match
//! (contract section M). Identity is the UID of the owner, never its name.

use std::collections::{BTreeMap, BTreeSet};

use super::actions::{Action, Draft};
use super::ordinals::Ordinal;
use super::views::{Owner, PodView, View};

/// The pods of a set, by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Claimed<'a> {
    /// Those that hold a wanted ordinal.
    pub(super) in_range: BTreeMap<Ordinal, &'a PodView>,
    /// Those that hold an ordinal no longer wanted.
    pub(super) condemned: BTreeMap<Ordinal, &'a PodView>,
    /// Ordinals whose pod name is somebody else's.
    pub(super) taken: BTreeSet<Ordinal>,
}

impl<'a> Claimed<'a> {
    /// All pods of the set, lowest ordinal first within each place.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a PodView> {
        self.in_range.values().chain(self.condemned.values()).copied()
    }
}

/// Sorts the observed pods, adopting and releasing on the way.
pub(super) fn claim<'a>(view: &'a View, draft: &mut Draft) -> Claimed<'a> {
    let (mut in_range, mut condemned, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for pod in &view.pods {
        let belongs = match pod.owner {
            Owner::This => keep(view, pod, draft),
            Owner::Nobody => adopt(view, pod, draft),
            Owner::Other => false,
        };
        let Some(ordinal) = pod.ordinal else { continue };
        if !belongs {
            taken.insert(ordinal);
        } else if view.set.range.contains(ordinal) {
            in_range.push((ordinal, pod.as_ref()));
        } else {
            condemned.push((ordinal, pod.as_ref()));
        }
    }
    // Made whole at once: quicker than one by one, in whatever order they come.
    Claimed { in_range: in_range.into_iter().collect(), condemned: condemned.into_iter().collect(), taken }
}

/// Whether the pod is nobody's and may become the set's.
pub(super) fn is_adoptable(view: &View, pod: &PodView) -> bool {
    pod.owner == Owner::Nobody && matches(pod) && !pod.terminating && !view.set.deleting
}

fn matches(pod: &PodView) -> bool {
    pod.selected && pod.ordinal.is_some()
}

fn keep(view: &View, pod: &PodView, draft: &mut Draft) -> bool {
    if matches(pod) || view.set.deleting {
        return true;
    }
    draft.bookkeeping.push(Action::ReleasePod(pod.target.clone()));
    false
}

fn adopt(view: &View, pod: &PodView, draft: &mut Draft) -> bool {
    if !is_adoptable(view, pod) {
        return false;
    }
    draft.bookkeeping.push(Action::AdoptPod(pod.target.clone()));
    true
}
