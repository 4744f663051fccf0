//! What the laws ask about a view: which pod holds an ordinal, what is available, which revisions the
//! set stands between. Worked out from the view alone.

use jiff::Timestamp;

use crate::ids::Target;
use crate::statefulset::actions::{Action, Plan, Removal};
use crate::statefulset::ordinals::Ordinal;
use crate::statefulset::revisions::{Likeness, RevisionLabel, RevisionName, RevisionView};
use crate::statefulset::views::{Management, Owner, PodView, Strategy, View};

/// Seconds that a replica of a new revision that nothing probes has to be up for.
const PROVING_S: i32 = 2;

pub(super) struct Facts<'a> {
    pub(super) view: &'a View,
    pub(super) plan: &'a Plan,
    pub(super) now: Timestamp,
    /// The revision of the set's template.
    pub(super) update: RevisionName,
    /// The revision the set comes from.
    pub(super) current: RevisionName,
}

impl<'a> Facts<'a> {
    pub(super) fn new(view: &'a View, plan: &'a Plan, now: Timestamp) -> Self {
        let equal = view.revisions.iter().rfind(|revision| revision.likeness == Likeness::Equal);
        let alike = view.revisions.iter().find(|revision| revision.likeness == Likeness::Alike);
        let update = equal.or(alike).map_or_else(|| view.template.name.clone(), |revision| revision.name());
        let stored = view.set.current_revision.clone();
        let current = stored.filter(|name| view.revisions.iter().any(|revision| revision.name() == *name));
        let current = current.unwrap_or_else(|| update.clone());
        Self { view, plan, now, update, current }
    }

    pub(super) fn ordered(&self) -> bool {
        self.view.set.management == Management::OrderedReady
    }

    /// Whether the pod is one of the set's replicas: its own, and as it should be found.
    pub(super) fn is_mine(&self, pod: &PodView) -> bool {
        pod.owner == Owner::This && pod.ordinal.is_some() && (pod.selected || self.view.set.deleting)
    }

    /// Whether the pod may become the set's.
    pub(super) fn is_adoptable(&self, pod: &PodView) -> bool {
        let matches = pod.owner == Owner::Nobody && pod.selected && pod.ordinal.is_some();
        matches && !pod.terminating && !self.view.set.deleting
    }

    pub(super) fn mine(&self) -> impl Iterator<Item = (Ordinal, &'a PodView)> {
        let mine = self.view.pods.iter().filter(|pod| self.is_mine(pod));
        mine.filter_map(|pod| pod.ordinal.map(|ordinal| (ordinal, pod.as_ref())))
    }

    /// The set's own pod at `ordinal`.
    pub(super) fn replica(&self, ordinal: Ordinal) -> Option<&'a PodView> {
        self.mine().find(|(place, _)| *place == ordinal).map(|(_, pod)| pod)
    }

    pub(super) fn condemned(&self) -> impl Iterator<Item = (Ordinal, &'a PodView)> {
        self.mine().filter(|(ordinal, _)| !self.view.set.range.contains(*ordinal))
    }

    pub(super) fn is_available(&self, pod: &PodView) -> bool {
        !pod.terminating && pod.available(self.view.set.min_ready_s, self.now)
    }

    /// Whether the pod is up for good, as far as can be told, where all replicas are at one revision: not just after
    /// a short run, and where nothing probes it only once one of them has been up for a moment.
    pub(super) fn is_trusted(&self, pod: &PodView) -> bool {
        let steady = pod.steady_at.is_none_or(|at| at <= self.now);
        let proven = || self.mine().any(|(_, pod)| pod.available(PROVING_S, self.now));
        self.is_available(pod) && steady && (pod.probed || proven())
    }

    /// The reason for which the plan deletes the pod, if it does.
    pub(super) fn removal(&self, pod: &PodView) -> Option<Removal> {
        self.deletions().find(|(target, ..)| **target == pod.target).map(|(.., why)| why)
    }

    /// Whether the replica is there, available, and stays so under this plan.
    pub(super) fn stands(&self, ordinal: Ordinal) -> bool {
        self.replica(ordinal).is_some_and(|pod| self.is_available(pod) && self.removal(pod).is_none())
    }

    pub(super) fn deletions(&self) -> impl Iterator<Item = (&'a Target, Ordinal, Removal)> {
        self.plan.actions().filter_map(|action| match action {
            Action::DeletePod { target, ordinal, why } => Some((target, *ordinal, *why)),
            _ => None,
        })
    }

    pub(super) fn creations(&self) -> impl Iterator<Item = (Ordinal, &'a RevisionName)> {
        self.plan.actions().filter_map(|action| match action {
            Action::CreatePod { ordinal, revision } => Some((*ordinal, revision)),
            _ => None,
        })
    }

    /// Whether the plan makes a pod for `ordinal`.
    pub(super) fn creates(&self, ordinal: Ordinal) -> bool {
        self.creations().any(|(place, _)| place == ordinal)
    }

    /// Whether the partition keeps `ordinal` out of the rollout.
    pub(super) fn is_held(&self, ordinal: Ordinal) -> bool {
        match self.view.set.strategy {
            Strategy::OnDelete | Strategy::Recreate => false,
            Strategy::RollingUpdate { partition, .. } => {
                ordinal < self.view.set.range.partition_end(partition.unwrap_or(0))
            }
        }
    }

    /// Whether a rollout would replace the replica for its revision.
    pub(super) fn is_outdated(&self, ordinal: Ordinal, pod: &PodView) -> bool {
        if self.view.set.strategy == Strategy::OnDelete {
            return false;
        }
        let is = |name: &RevisionName| pod.revision == Some(name.label());
        if self.is_held(ordinal) {
            !self.view.set.wishes.hold_on_raise && !is(&self.current) && self.is_newer(pod.revision.as_ref())
        } else {
            !is(&self.update)
        }
    }

    /// Whether the replica is left to a rollout, which replaces it now or later.
    pub(super) fn is_late(&self, ordinal: Ordinal, pod: &PodView) -> bool {
        let goes_otherwise = self.removal(pod).is_some_and(|why| why != Removal::Outdated);
        !pod.terminating && !goes_otherwise && self.is_outdated(ordinal, pod)
    }

    /// Whether `label` is of a revision made after the current one, whatever has become of its number since.
    fn is_newer(&self, label: Option<&RevisionLabel>) -> bool {
        let rolls = self.current != self.update;
        let stored =
            |label: &RevisionLabel| self.view.revisions.iter().find(|revision| revision.name().label() == *label);
        let (Some(label), Some(current)) = (label, stored(&self.current.label())) else { return false };
        let since = |this: &RevisionView| this.made > current.made || (rolls && this.number > current.number);
        (rolls && *label == self.update.label()) || stored(label).is_some_and(since)
    }
}
