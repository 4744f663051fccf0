//! The worlds that are explored: many small ones, each with its own set, its own alphabet of
//! disturbances, and just enough lag and crashes, rather than one product of everything.

use super::objects::{Kind, Spec, Strategy, Wishes};
use super::users::Disturbance;

mod asked;

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

use Disturbance::{
    DeleteClaim, DeletePod, DeleteSet, DeleteSetForeground, DeleteSetOrphan, Disown, DisownRevision, Fail, ForceDelete,
    Label, LoseNode, MakeSet, MinReady, Partition, Retention, Scale, Seize, Squat, StartAt, Succeed, Template, Touch,
    Unavailable, Unlabel, Unname, Unready,
};

/// All scenarios, for sets of `replicas` replicas.
pub(crate) fn all(replicas: u8) -> Vec<Scenario> {
    let mut all = Vec::new();
    for parallel in [false, true] {
        let spec = spec(replicas, parallel);
        all.extend(lives(spec, parallel));
        all.extend(updates(spec, parallel));
        all.extend(preparations(spec, parallel));
        all.extend(mixtures(spec, parallel));
        all.extend(volumes(spec, parallel));
        all.extend(owners(spec, parallel));
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

/// Starting, scaling, losing replicas.
fn lives(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let (n, top) = (spec.replicas, spec.replicas - 1);
    let slow = Spec { min_ready: true, ..spec };
    let block = Spec { strategy: Strategy::Block { partition: 0, unavailable_max: None }, ..spec };
    vec![
        Scenario {
            settled: false,
            lagging: VOLUMES,
            ..base(
                named(parallel, "start-ordered", "start-parallel"),
                spec,
                1,
                vec![Unready(0), Fail(0), DeletePod(0), ForceDelete(0), Touch(0), DeleteClaim(0), Scale(1)],
            )
        },
        Scenario {
            settled: false,
            slow: true,
            ..base(
                named(parallel, "min-ready-ordered", "min-ready-parallel"),
                slow,
                2,
                vec![MinReady(false), MinReady(true), Unready(0), Template(1), Scale(1)],
            )
        },
        Scenario {
            lagging: EDITS,
            ..base(
                named(parallel, "scale-ordered", "scale-parallel"),
                spec,
                3,
                [each(n, Scale), vec![Scale(n), Unready(top), Unready(0), Fail(top)]].concat(),
            )
        },
        base(
            named(parallel, "scale-update-ordered", "scale-update-parallel"),
            spec,
            2,
            vec![Scale(top), Template(1), Unready(0)],
        ),
        base(
            named(parallel, "shift-ordered", "shift-parallel"),
            block,
            3,
            vec![StartAt(1), StartAt(0), Scale(1), Template(1), Partition(1)],
        ),
        base(
            named(parallel, "ended-ordered", "ended-parallel"),
            spec,
            2,
            [each(n, Fail), vec![Succeed(0), DeletePod(top), ForceDelete(0), Unready(top), Touch(0)]].concat(),
        ),
        Scenario {
            crashes: 0,
            ..base(
                named(parallel, "lost-node-ordered", "lost-node-parallel"),
                spec,
                2,
                vec![LoseNode(top), LoseNode(0), ForceDelete(top), Template(1), Scale(top)],
            )
        },
    ]
}

/// Rolling out revisions.
fn updates(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let (n, top) = (spec.replicas, spec.replicas - 1);
    let block = |partition| Strategy::Block { partition, unavailable_max: None };
    let budget = |max| Strategy::Block { partition: 0, unavailable_max: Some(max) };
    vec![
        base(
            named(parallel, "update-ordered", "update-parallel"),
            spec,
            3,
            vec![Template(0), Template(1), Template(2), Unready(0), Unready(top), DeletePod(0), Fail(top)],
        ),
        Scenario {
            lagging: EDITS,
            broken: Some(1),
            ..base(
                named(parallel, "broken-ordered", "broken-parallel"),
                spec,
                3,
                vec![Template(0), Template(1), Template(2), DeletePod(0), Unready(0)],
            )
        },
        Scenario {
            probed: false,
            slow: true,
            ..base(
                named(parallel, "unprobed-ordered", "unprobed-parallel"),
                spec,
                2,
                vec![Template(0), Template(1), Unready(top), MinReady(true)],
            )
        },
        Scenario {
            lagging: EDITS,
            ..base(
                named(parallel, "partition-ordered", "partition-parallel"),
                Spec { strategy: block(top), ..spec },
                3,
                [each(n, Partition), vec![Partition(n), Template(0), Template(1), DeletePod(0), DeletePod(top)]]
                    .concat(),
            )
        },
        base(
            named(parallel, "hold-ordered", "hold-parallel"),
            Spec { strategy: block(0), wishes: Wishes { hold_on_raise: true, ..spec.wishes }, ..spec },
            2,
            vec![Partition(n), Partition(top), Template(1), Template(2), DeletePod(top)],
        ),
        Scenario {
            broken: Some(2),
            ..base(
                named(parallel, "budget-ordered", "budget-parallel"),
                Spec { strategy: budget(2), ..spec },
                3,
                vec![Template(0), Template(1), Template(2), Unready(0), Unready(top), Unavailable(1), Partition(1)],
            )
        },
        base(
            named(parallel, "on-delete-ordered", "on-delete-parallel"),
            Spec { strategy: Strategy::OnDelete, ..spec },
            3,
            [each(n, DeletePod), vec![Template(0), Template(1), Unready(0)]].concat(),
        ),
        Scenario {
            lagging: BOOKS,
            ..base(
                named(parallel, "history-ordered", "history-parallel"),
                Spec { replicas: 1, history_limit: 0, ..spec },
                4,
                vec![Template(0), Template(1), Template(2), DisownRevision(0), DeletePod(0)],
            )
        },
    ]
}

/// Updates where nodes make ready first.
fn preparations(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let top = spec.replicas - 1;
    let budget = Spec { strategy: Strategy::Block { partition: 0, unavailable_max: Some(2) }, ..spec };
    let ready_first =
        |name, spec, disturbances, alphabet| Scenario { prepares: true, ..base(name, spec, disturbances, alphabet) };
    vec![
        ready_first(
            named(parallel, "prepare-ordered", "prepare-parallel"),
            spec,
            3,
            vec![Template(0), Template(1), Template(2), Unready(top), Unready(0), Touch(top)],
        ),
        ready_first(
            named(parallel, "prepare-budget-ordered", "prepare-budget-parallel"),
            budget,
            2,
            vec![Template(0), Template(1), Partition(1), Scale(top), Unready(0)],
        ),
    ]
}

/// What the lesson does, and several things at once.
fn mixtures(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let (n, top) = (spec.replicas, spec.replicas - 1);
    vec![
        Scenario {
            broken: Some(1),
            crashes: 0,
            ..base(named(parallel, "repair-ordered", "repair-parallel"), spec, 2, vec![Template(0), Template(1)])
        },
        Scenario {
            broken: Some(1),
            ..base(
                named(parallel, "lesson-ordered", "lesson-parallel"),
                Spec { strategy: Strategy::Block { partition: top, unavailable_max: None }, ..spec },
                4,
                vec![Template(0), Template(1), Template(2), Partition(0), Partition(n)],
            )
        },
        Scenario {
            slow: true,
            ..base(
                named(parallel, "mixture-ordered", "mixture-parallel"),
                Spec {
                    strategy: Strategy::Block { partition: 0, unavailable_max: Some(2) },
                    min_ready: true,
                    scaled_delete: true,
                    ..spec
                },
                2,
                vec![
                    Template(1),
                    Scale(top),
                    Scale(n),
                    Partition(1),
                    Unready(0),
                    Fail(top),
                    DeleteClaim(0),
                    DeletePod(0),
                ],
            )
        },
    ]
}

/// Claims and their retention.
fn volumes(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let top = spec.replicas - 1;
    let scaled = Spec { scaled_delete: true, ..spec };
    let both = Spec { deleted_delete: true, ..scaled };
    vec![
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "claims-ordered", "claims-parallel"),
                spec,
                2,
                vec![DeleteClaim(top), DeletePod(top), ForceDelete(top), Scale(top), Fail(top), LoseNode(top)],
            )
        },
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "retention-ordered", "retention-parallel"),
                scaled,
                2,
                vec![Scale(top), Scale(spec.replicas), DeleteClaim(top), DeletePod(top), Retention(false, false)],
            )
        },
        Scenario {
            crashes: 0,
            ..base(
                named(parallel, "policies-ordered", "policies-parallel"),
                both,
                3,
                vec![
                    Retention(false, false),
                    Retention(true, false),
                    Retention(false, true),
                    Retention(true, true),
                    Seize(top),
                    Scale(top),
                    Scale(spec.replicas),
                ],
            )
        },
    ]
}

/// Adoption, release, and sets that go and come.
fn owners(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let (n, top) = (spec.replicas, spec.replicas - 1);
    let both = Spec { replicas: n.min(2), scaled_delete: true, deleted_delete: true, ..spec };
    vec![
        Scenario {
            lagging: BOOKS,
            ..base(
                named(parallel, "adopt-ordered", "adopt-parallel"),
                Spec { replicas: n.min(2), ..spec },
                2,
                vec![
                    Disown(0),
                    Unlabel(0),
                    Label(0),
                    Unname(0),
                    DisownRevision(0),
                    DeletePod(0),
                    Template(1),
                    Scale(1),
                ],
            )
        },
        base(
            named(parallel, "squat-ordered", "squat-parallel"),
            spec,
            3,
            vec![Squat(top), Squat(0), DeletePod(top), ForceDelete(top), ForceDelete(0), Scale(top)],
        ),
        Scenario {
            crashes: 0,
            ..base(
                named(parallel, "set-goes-ordered", "set-goes-parallel"),
                both,
                2,
                vec![DeleteSet, DeleteSetForeground, DeleteSetOrphan, MakeSet],
            )
        },
        Scenario {
            crashes: 0,
            lagging: EDITS,
            ..base(
                named(parallel, "set-returns-ordered", "set-returns-parallel"),
                Spec { replicas: n.min(2), ..spec },
                2,
                vec![DeleteSet, DeleteSetOrphan, MakeSet, Scale(1)],
            )
        },
    ]
}
