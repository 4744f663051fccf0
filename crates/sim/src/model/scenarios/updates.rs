//! Worlds in which revisions are rolled out.

use super::super::objects::{Spec, Strategy, Wishes};
use super::Disturbance::{
    DeleteClaim, DeletePod, DisownRevision, Fail, MinReady, Partition, Scale, Template, Touch, Unavailable, Unready,
};
use super::{BOOKS, EDITS, Scenario, base, each, named};

/// All of them, for sets like `spec`.
pub(super) fn all(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let mut all = rollouts(spec, parallel);
    all.extend(preparations(spec, parallel));
    all.extend(mixtures(spec, parallel));
    all
}

/// Rolling out revisions.
fn rollouts(spec: Spec, parallel: bool) -> Vec<Scenario> {
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
        Scenario {
            lagging: 0,
            crashes: 0,
            ..base(
                named(parallel, "undo-ordered", "undo-parallel"),
                Spec { replicas: n.min(2), strategy: block(1), ..spec },
                3,
                vec![Template(0), Template(1), Partition(2)],
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
