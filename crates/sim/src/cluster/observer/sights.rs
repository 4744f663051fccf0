//! What the controllers can have been looking at when they decided something: how far their caches had
//! certainly come by then, and which of their own writes they had certainly seen. They need not have seen
//! more, and cannot have seen less.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::Name;

/// Longest way from a plan to the last of its writes. Requests that are not answered end a plan.
pub(super) const PLAN_MAX: Duration = Duration::from_secs(20);

/// Revisions from which on the controllers know of sets and of pods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    pub(super) sets: u64,
    pub(super) pods: u64,
}

/// When a cache had come to which revision, oldest first.
type Taken = VecDeque<(Instant, u64)>;

/// See the module.
#[derive(Default)]
pub(super) struct Sights {
    /// By client and table: when the cache had taken in how much.
    taken: BTreeMap<(Box<str>, &'static str), Taken>,
    /// The newest write to a pod of each set that its controller made.
    wrote: BTreeMap<Name, u64>,
    /// What the next plan for a set is made from at least: a status is the last that a plan writes.
    reported: BTreeMap<Name, Floor>,
}

impl Sights {
    /// A cache has taken in everything up to a revision.
    pub(super) fn taken(&mut self, who: &str, table: &'static str, revision: u64) {
        let seen = self.taken.entry((who.into(), table)).or_default();
        if seen.back().is_none_or(|(_, newest)| *newest < revision) {
            seen.push_back((Instant::now(), revision));
        }
        while seen.get(1).is_some_and(|(at, _)| at.elapsed() > PLAN_MAX) {
            seen.pop_front();
        }
    }

    /// The controller of a set has written one of its pods.
    pub(super) fn wrote_pod(&mut self, set: &Name, revision: u64) {
        self.wrote.insert(set.clone(), revision);
    }

    /// The controller of a set has written its status: the plan is over, and the next one shows all its writes.
    pub(super) fn reported(&mut self, set: &Name, revision: u64) {
        let pods = self.wrote.get(set).copied().unwrap_or(0);
        self.reported.insert(set.clone(), Floor { sets: revision, pods });
    }

    /// Controllers start that know nothing: they are shown no less than anybody was so far, but what is
    /// durable and was shown to nobody they may miss.
    pub(super) fn started(&mut self, shown: u64) {
        for floor in self.reported.values_mut() {
            (floor.sets, floor.pods) = (floor.sets.min(shown), floor.pods.min(shown));
        }
    }

    /// What `who` knew of a set at least when it planned what it writes now.
    pub(super) fn floor(&self, who: &str, set: &Name) -> Floor {
        let reported = self.reported.get(set).copied().unwrap_or_default();
        Floor { sets: self.known(who, SETS).max(reported.sets), pods: self.known(who, PODS).max(reported.pods) }
    }

    fn known(&self, who: &str, table: &'static str) -> u64 {
        let seen = self.taken.get(&(who.into(), table)).into_iter().flatten();
        seen.take_while(|(at, _)| at.elapsed() > PLAN_MAX).last().map_or(0, |(_, revision)| *revision)
    }
}

/// Tables.
pub(super) const SETS: &str = "statefulsets.apps";
pub(super) const PODS: &str = "pods";
