//! The recent states of each set and its pods. A picture is taken at every change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use super::facts::{PodFact, SetFact};
use super::sights::Floor;
use super::{Name, WINDOW};

/// A set and its pods at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) at: Instant,
    /// The write that made it so.
    pub(super) revision: u64,
    /// The write until which it was like that; not known while it is.
    pub(super) until: Option<u64>,
    /// None when there was no such set.
    pub(super) set: Option<SetFact>,
    /// Pods by ordinal that some set of that name owns.
    pub(super) pods: BTreeMap<i64, PodFact>,
    /// UID of the pod whose deletion the set's controller asked for with this write.
    pub(super) doomed: Option<String>,
}

impl Picture {
    /// Whether it was still so at `revision` or later.
    pub(super) fn lasts_beyond(&self, revision: u64) -> bool {
        self.until.is_none_or(|until| until > revision)
    }
}

/// By set.
#[derive(Default)]
pub(super) struct Pictures {
    of: BTreeMap<Name, VecDeque<Picture>>,
}

impl Pictures {
    /// Adds one, and forgets those that nobody can still be looking at: all before the last one that was
    /// true when the window began.
    pub(super) fn add(&mut self, set: &Name, picture: Picture) {
        let pictures = self.of.entry(set.clone()).or_default();
        if let Some(before) = pictures.back_mut() {
            before.until = Some(picture.revision);
        }
        pictures.push_back(picture);
        while pictures.get(1).is_some_and(|second| second.at.elapsed() > WINDOW) {
            pictures.pop_front();
        }
    }

    /// Those in the window, oldest first.
    pub(super) fn of(&self, set: &Name) -> impl DoubleEndedIterator<Item = &Picture> + Clone {
        self.of.get(set).into_iter().flatten()
    }

    /// UIDs of the pods that the set's controller has asked to end since `picture`.
    pub(super) fn doomed_since<'a>(&'a self, set: &Name, picture: &Picture) -> BTreeSet<&'a str> {
        let seen = picture.revision;
        let later = self.of(set).filter(|later| later.revision > seen);
        later.filter_map(|later| later.doomed.as_deref()).collect()
    }
}

/// What somebody who knows of everything up to `floor` can take for the present. Set and pods come by two
/// watches: any such set may meet any such pods. The revision of a template is made by whoever plans with it,
/// so a set may meet any revision, too.
pub(super) fn moments<'a>(pictures: &'a Pictures, set: &'a Name, floor: Floor) -> impl Iterator<Item = Picture> + 'a {
    let mut asked: Vec<Option<SetFact>> = Vec::new();
    let recent =
        || pictures.of(set).filter(move |picture| picture.lasts_beyond(floor.sets)).map(|picture| &picture.set);
    let updates: BTreeSet<_> = recent().flatten().map(|set| (&set.uid, &set.update)).collect();
    for fact in recent() {
        let own = updates.iter().filter(|(uid, _)| fact.as_ref().is_some_and(|fact| fact.uid == **uid));
        let variants = own.map(|(_, update)| fact.clone().map(|fact| SetFact { update: (*update).clone(), ..fact }));
        for variant in variants.chain(fact.is_none().then_some(None)) {
            if !asked.contains(&variant) {
                asked.push(variant);
            }
        }
    }
    let all = pictures.of(set).rev().filter(move |picture| picture.lasts_beyond(floor.pods));
    all.flat_map(move |picture| {
        let asked = asked.clone();
        asked.into_iter().rev().map(move |set| Picture { set, ..picture.clone() })
    })
}
