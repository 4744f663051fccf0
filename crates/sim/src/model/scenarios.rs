//! The worlds that are explored: many small ones, each with its own set, its own alphabet of
//! disturbances, and just enough lag and crashes, rather than one product of everything.

mod asked;
mod lives;
mod owners;
mod updates;

use super::objects::{Kind, Spec, Strategy, Wishes};
use super::users::Disturbance;

/// One world to explore.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) spec: Spec,
    /// Whether all replicas are up at the start; otherwise the set has only just been made.
    pub(crate) settled: bool,
    /// Whether a probe says when pods are Ready.
    pub(crate) probed: bool,
    /// Whether nodes can be asked to make ready for a replacement, and the set has a hook.
    pub(crate) prepares: bool,
    /// Whether it matters that a pod is Ready only just now.
    pub(crate) slow: bool,
    /// Kinds, by bit, whose caches lag.
    pub(crate) lagging: u8,
    pub(crate) crashes: u8,
    pub(crate) disturbances: u8,
    /// The template whose pods never become Ready, or only for a moment.
    pub(crate) broken: Option<u8>,
    pub(crate) flickers: bool,
    pub(crate) alphabet: Vec<Disturbance>,
}

// Which caches lag: that of pods alone, or those of pods and claims, the set, or revisions.
const PODS: u8 = 1 << Kind::Pods as u8;
const VOLUMES: u8 = PODS | 1 << Kind::Claims as u8;
const EDITS: u8 = PODS | 1 << Kind::Sets as u8;
const BOOKS: u8 = PODS | 1 << Kind::Revisions as u8;

/// All scenarios, for sets of `replicas` replicas.
pub(crate) fn all(replicas: u8) -> Vec<Scenario> {
    let mut all = Vec::new();
    for parallel in [false, true] {
        let spec = spec(replicas, parallel);
        all.extend(lives::all(spec, parallel));
        all.extend(updates::all(spec, parallel));
        all.extend(owners::all(spec, parallel));
        all.extend(asked::all(spec, parallel));
    }
    all
}

fn spec(replicas: u8, parallel: bool) -> Spec {
    Spec {
        replicas,
        start: 0,
        parallel,
        strategy: Strategy::Plain,
        scaled_delete: false,
        deleted_delete: false,
        min_ready: false,
        template: 0,
        history_limit: 10,
        storage: 1,
        wishes: Wishes::default(),
    }
}

fn base(name: &'static str, spec: Spec, disturbances: u8, alphabet: Vec<Disturbance>) -> Scenario {
    Scenario {
        name,
        spec,
        settled: true,
        probed: true,
        prepares: false,
        slow: false,
        lagging: PODS,
        crashes: 1,
        disturbances,
        broken: None,
        flickers: false,
        alphabet,
    }
}

const fn named(parallel: bool, ordered: &'static str, other: &'static str) -> &'static str {
    if parallel { other } else { ordered }
}

/// `disturb` for each of the first `count` ordinals.
fn each(count: u8, disturb: impl Fn(u8) -> Disturbance) -> Vec<Disturbance> {
    (0..count).map(disturb).collect()
}
