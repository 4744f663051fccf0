//! The recent states of each set and its pods. A picture is taken at every change.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::facts::{PodFact, SetFact};
use super::{Name, WINDOW};

/// A set and its pods at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) at: Instant,
    /// Until when it was like that; not known while it is.
    pub(super) until: Option<Instant>,
    /// None when there was no such set.
    pub(super) set: Option<SetFact>,
    /// Pods by ordinal that some set of that name owns.
    pub(super) pods: BTreeMap<i64, PodFact>,
    /// UIDs of the pods whose deletion a controller asked for at this moment.
    pub(super) doomed: Option<String>,
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
            before.until = Some(picture.at);
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
}
