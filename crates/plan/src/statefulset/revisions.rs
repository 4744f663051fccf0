//! The revisions of a set: which one its template is, which one it comes from, and which are no
//! longer needed (contract section H).
//!
//! One difference from Kubernetes: labels carry a bounded form of long revision names (S6).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::Value;

use super::actions::{Action, Draft};
use super::adopt::is_adoptable;
use super::pause;
use super::views::{Owner, PodView, View};
use crate::ids::{Target, Uid};
use crate::{labels, pods, revisions};

/// Longest part of a set's name in the name of a revision (H3).
const SET_NAME_MAX: usize = 223;
/// Longest label value.
const LABEL_MAX: usize = 63;
/// Names tried when hashes collide, before giving up on finding a free one.
const COLLISIONS_MAX: i32 = 1000;

/// The name of a ControllerRevision.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionName(pub String);

/// How pods name their revision in the label `controller-revision-hash`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionLabel(pub String);

impl fmt::Display for RevisionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RevisionName {
    /// The label value of pods of this revision: the name, or where that is too long for a label,
    /// as much of its front as fits before the hash at its end.
    pub fn label(&self) -> RevisionLabel {
        if self.0.len() <= LABEL_MAX {
            return RevisionLabel(self.0.clone());
        }
        let (front, hash) = self.0.rsplit_once('-').unwrap_or((&self.0, ""));
        let front: String = front.chars().take(LABEL_MAX.saturating_sub(hash.len() + 1)).collect();
        RevisionLabel(format!("{front}-{hash}"))
    }
}

/// How a stored revision compares with the set's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Likeness {
    /// The same data.
    Equal,
    /// Other data with the same meaning.
    Alike,
    /// Another template.
    Different,
}

/// A stored revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevisionView {
    /// Which revision, exactly.
    pub target: Target,
    /// Whether it has no owner yet.
    pub orphan: bool,
    /// Its number.
    pub number: i64,
    /// When it was first written down. Its number rises when the set comes back to it; this stays.
    pub made: Option<Timestamp>,
    /// How it compares with the set's template.
    pub likeness: Likeness,
}

impl RevisionView {
    /// Its name.
    pub fn name(&self) -> RevisionName {
        RevisionName(self.target.name.clone())
    }
}

/// The set's template as the revision it would be written down as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemplateView {
    /// The first free name, after collisions.
    pub name: RevisionName,
    /// The hash it was first given; it stays in the label (H7).
    pub hash: String,
    /// Collisions so far, `status.collisionCount`.
    pub collisions: i32,
    /// Whether an object with this name and these data exists, though it is not the set's to list.
    pub exists: bool,
}

/// The revisions a plan works towards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) current: RevisionName,
    pub(super) update: RevisionName,
    pub(super) collisions: i32,
    current_label: RevisionLabel,
    update_label: RevisionLabel,
    /// Labels of revisions made after the current one (with the update revision among them).
    newer: BTreeSet<RevisionLabel>,
}

impl Resolved {
    pub(super) fn is_current(&self, pod: &PodView) -> bool {
        pod.revision.as_ref() == Some(&self.current_label)
    }

    pub(super) fn is_update(&self, pod: &PodView) -> bool {
        pod.revision.as_ref() == Some(&self.update_label)
    }

    /// Whether the pod is of a revision made after the current one.
    pub(super) fn is_newer_than_current(&self, pod: &PodView) -> bool {
        pod.revision.as_ref().is_some_and(|label| self.newer.contains(label))
    }
}

/// Finds the current and the update revision, and what has to be written for them (H5–H8).
pub(super) fn resolve(view: &View, draft: &mut Draft) -> Resolved {
    for orphan in view.revisions.iter().filter(|revision| revision.orphan && !view.set.deleting) {
        draft.bookkeeping.push(Action::AdoptRevision(orphan.target.clone()));
    }
    let highest = view.revisions.iter().rfind(|revision| revision.number < i64::MAX);
    let next = highest.map_or(1, |revision| revision.number.saturating_add(1));
    let equal = view.revisions.iter().rfind(|revision| revision.likeness == Likeness::Equal);
    let alike = highest.filter(|revision| revision.likeness == Likeness::Alike);
    let update = match (equal, alike) {
        (Some(equal), _) if Some(equal) == highest => equal.name(),
        (Some(older), _) => {
            // One that is adopted first changes by that.
            if !view.set.deleting && !older.orphan {
                draft.bookkeeping.push(Action::RenumberRevision { target: older.target.clone(), number: next });
            }
            older.name()
        }
        (None, Some(alike)) => alike.name(),
        (None, None) => {
            if !view.set.deleting && !view.template.exists {
                draft.bookkeeping.push(Action::CreateRevision {
                    name: view.template.name.clone(),
                    hash: view.template.hash.clone(),
                    number: next,
                });
            }
            view.template.name.clone()
        }
    };
    let stored = view.set.current_revision.as_ref();
    let current = view.revisions.iter().find(|revision| Some(&revision.name()) == stored).map(RevisionView::name);
    let current = current.unwrap_or_else(|| update.clone());
    let newer = newer_than(view, &current, &update);
    let (current_label, update_label) = (current.label(), update.label());
    Resolved { current, update, collisions: view.template.collisions, current_label, update_label, newer }
}

/// The revisions made after the current one; the update revision, where it is another one, is the newest. A set
/// that has come back to its current revision has given that the highest number: what it tried in between is still
/// the newer.
fn newer_than(view: &View, current: &RevisionName, update: &RevisionName) -> BTreeSet<RevisionLabel> {
    let Some(of_current) = view.revisions.iter().find(|revision| revision.name() == *current) else {
        return BTreeSet::new();
    };
    let rolls = current != update;
    let newer =
        |revision: &&RevisionView| revision.made > of_current.made || (rolls && revision.number > of_current.number);
    let stored = view.revisions.iter().filter(newer).map(|revision| revision.name().label());
    stored.chain(rolls.then(|| update.label())).collect()
}

/// Drops what is neither live nor within the history limit (H9). Pods that are still to be adopted count: their
/// adoption may fail, and they stay what they are made from.
pub(super) fn truncate(view: &View, resolved: &Resolved, draft: &mut Draft) {
    let Ok(limit) = usize::try_from(view.set.history_limit) else { return };
    let ours = view.pods.iter().filter(|pod| pod.owner == Owner::This || is_adoptable(view, pod));
    let used: BTreeSet<&RevisionLabel> = ours.filter_map(|pod| pod.revision.as_ref()).collect();
    let idle = view.revisions.iter().filter(|revision| {
        let name = revision.name();
        let live = name == resolved.current || name == resolved.update || pause::is_kept(view, &name);
        !revision.orphan && !live && !used.contains(&name.label())
    });
    let idle: Vec<_> = idle.collect();
    let excess = idle.len().saturating_sub(limit);
    draft.history.extend(idle[..excess].iter().map(|revision| Action::DeleteRevision(revision.target.clone())));
}

/// The revisions that are the set's or could become it, oldest first (H4).
pub(super) fn views(set: &StatefulSet, data: &Value, observed: &[Arc<ControllerRevision>]) -> Vec<RevisionView> {
    let mut listed: Vec<&ControllerRevision> =
        observed.iter().map(Arc::as_ref).filter(|revision| is_candidate(set, revision)).collect();
    let created = |revision: &ControllerRevision| revision.metadata.creation_timestamp.as_ref().map(|time| time.0);
    listed.sort_by(|a, b| (a.revision, created(a), &a.metadata.name).cmp(&(b.revision, created(b), &b.metadata.name)));
    // After the largest number comes none: a revision that somebody gave it is never the newest one.
    let last = listed.iter().rposition(|revision| revision.revision < i64::MAX);
    let view = |(index, revision): (usize, &ControllerRevision)| RevisionView {
        target: Target::of(&revision.metadata),
        orphan: pods::controller_of(&revision.metadata).is_none(),
        number: revision.revision,
        made: created(revision),
        likeness: if has_data(revision, data) {
            Likeness::Equal
        } else if Some(index) == last && means_the_template_of(revision, set) {
            Likeness::Alike
        } else {
            Likeness::Different
        },
    };
    listed.into_iter().enumerate().map(view).collect()
}

/// The set's template as the revision it would be written down as (H3, H7).
pub(super) fn template_view(set: &StatefulSet, data: &Value, observed: &[Arc<ControllerRevision>]) -> TemplateView {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let stored = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = hash_of(data, stored);
    let mut collisions = stored;
    let mut candidate = revision_name(name, &hash);
    loop {
        let namesake = observed.iter().find(|revision| revision.metadata.name.as_deref() == Some(&candidate.0));
        let exists = namesake.is_some_and(|revision| has_data(revision, data));
        let taken = namesake.is_some() && !exists;
        if !taken || collisions - stored >= COLLISIONS_MAX {
            return TemplateView { name: candidate, hash, collisions, exists };
        }
        collisions = collisions.saturating_add(1);
        candidate = revision_name(name, &hash_of(data, collisions));
    }
}

/// The data of a revision of the set's template (H1): a patch that replaces the template.
pub fn data_of(set: &StatefulSet) -> Value {
    let empty = PodTemplateSpec::default();
    let template = set.spec.as_ref().map_or(&empty, |spec| &spec.template);
    let mut template = revisions::canonical(template);
    if let Value::Object(fields) = &mut template {
        fields.insert("$patch".to_owned(), Value::from("replace"));
    }
    let mut data = serde_json::json!({"spec": {"template": template}});
    data.sort_all_objects();
    data
}

/// The template a revision holds; none when its data are not a template.
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let RawExtension(data) = revision.data.as_ref()?;
    serde_json::from_value(data.get("spec")?.get("template")?.clone()).ok()
}

fn is_candidate(set: &StatefulSet, revision: &ControllerRevision) -> bool {
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    let selected = selector.is_some_and(|selector| labels::matches(selector, revision.metadata.labels.as_ref()));
    let uid = Uid(set.metadata.uid.clone().unwrap_or_default());
    let claimable = pods::controller_of(&revision.metadata).is_none_or(|owner| owner.uid == uid.0);
    selected && claimable && revision.metadata.deletion_timestamp.is_none()
}

fn has_data(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|RawExtension(stored)| stored == data)
}

/// Whether the stored template, with today's defaults, is the set's (H6 c).
fn means_the_template_of(revision: &ControllerRevision, set: &StatefulSet) -> bool {
    let (Some(mut stored), Some(spec)) = (template_of(revision), set.spec.as_ref()) else { return false };
    stead_api::defaults::pod_template_spec(&mut stored);
    revisions::alike(&stored, &spec.template)
}

fn hash_of(data: &Value, collisions: i32) -> String {
    let bytes = data.to_string().into_bytes();
    revisions::safe_decimal(revisions::fnv1(bytes.into_iter().chain(collisions.to_string().into_bytes())))
}

fn revision_name(set: &str, hash: &str) -> RevisionName {
    let front: String = set.chars().take(SET_NAME_MAX).collect();
    RevisionName(format!("{front}-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s06_long_names_keep_their_hash_in_a_label_that_fits() {
        let short = RevisionName("web-5d4f8c7b9".to_owned());
        assert_eq!(short.label().0, short.0);
        let long = RevisionName(format!("{}-5d4f8c7b9", "w".repeat(60)));
        assert_eq!(long.label().0, format!("{}-5d4f8c7b9", "w".repeat(53)));
        assert_eq!(long.label().0.len(), LABEL_MAX);
    }
}
