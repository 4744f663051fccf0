//! Worlds of replicas that start, end and are scaled.

use super::super::objects::{Spec, Strategy};
use super::Disturbance::{
    DeleteClaim, DeletePod, Fail, ForceDelete, LoseNode, MinReady, Partition, Scale, StartAt, Succeed, Template, Touch,
    Unready,
};
use super::{EDITS, Scenario, VOLUMES, base, each, named};

/// All of them, for sets like `spec`.
pub(super) fn all(spec: Spec, parallel: bool) -> Vec<Scenario> {
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
