//! A paused set: nothing is rolled, and a replica that is lost comes back at the revision it had. A
//! pod that is gone cannot be asked which one that was, so while a set is paused the replicas that are
//! not at the current revision are written down on it ([`PAUSED_REPLICAS`]), before anything else is
//! done.

use std::collections::BTreeMap;

use super::Stage;
use super::actions::{Action, Draft};
use super::ordinals::{Ordinal, OrdinalSet};
use super::revisions::{Resolved, RevisionLabel, RevisionName, RevisionView};
use super::views::{Strategy, View};
use super::wishes::{PAUSED_REPLICAS, write_paused_replicas};

/// The revision written down for `ordinal`, if it still exists.
fn revision_of(view: &View, ordinal: Ordinal) -> Option<RevisionName> {
    let written = view.set.wishes.paused_replicas.iter().find(|(_, ordinals)| ordinals.contains(ordinal));
    let (revision, _) = written?;
    view.revisions.iter().map(RevisionView::name).find(|name| name == revision)
}

/// The revision at which a lost replica of a paused set returns: the one written down, or else the current
/// one. Where old and new replicas must not meet, it is rather the one that others are at.
pub(super) fn revision_for(stage: &Stage<'_>, ordinal: Ordinal) -> RevisionName {
    let others = stage.claimed.all().filter(|_| stage.view.set.strategy == Strategy::Recreate);
    let lived = || others.filter_map(|pod| named(stage, pod.revision.as_ref()?)).next();
    revision_of(stage.view, ordinal).or_else(lived).unwrap_or_else(|| stage.resolved.current.clone())
}

/// The revision that pods name with `label`.
fn named(stage: &Stage<'_>, label: &RevisionLabel) -> Option<RevisionName> {
    let names = stage.view.revisions.iter().map(RevisionView::name);
    names.chain([stage.resolved.update.clone()]).find(|name| name.label() == *label)
}

/// The revisions that lost replicas of a paused set come back at.
pub(super) fn is_kept(view: &View, name: &RevisionName) -> bool {
    view.set.wishes.paused && view.set.wishes.paused_replicas.contains_key(name)
}

/// Keeps what is written down up to date while the set is paused, and takes it away afterwards.
pub(super) fn remember(stage: &Stage<'_>, draft: &mut Draft) {
    let wishes = &stage.view.set.wishes;
    let wanted = if wishes.paused { replicas(stage, &stage.resolved) } else { BTreeMap::new() };
    if wanted != wishes.paused_replicas {
        let value = write_paused_replicas(&wanted);
        draft.bookkeeping.push(Action::Remember { key: PAUSED_REPLICAS, value });
    }
}

/// The replicas that are not at the current revision, by the revision they are at or, where they are
/// lost, were at.
fn replicas(stage: &Stage<'_>, resolved: &Resolved) -> BTreeMap<RevisionName, OrdinalSet> {
    let mut by_revision: BTreeMap<RevisionName, Vec<Ordinal>> = BTreeMap::new();
    for ordinal in stage.view.set.range.ascending() {
        let revision = match stage.claimed.in_range.get(&ordinal) {
            Some(pod) => pod.revision.as_ref().and_then(|label| named(stage, label)),
            None => revision_of(stage.view, ordinal),
        };
        if let Some(revision) = revision.filter(|revision| *revision != resolved.current) {
            by_revision.entry(revision).or_default().push(ordinal);
        }
    }
    by_revision.into_iter().map(|(revision, ordinals)| (revision, ordinals.into_iter().collect())).collect()
}
