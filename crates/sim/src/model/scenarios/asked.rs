//! Worlds of sets that are asked for more than Kubernetes knows: pauses, reserved ordinals, resets, growing
//! claims, leaders, deadlines; and of `Recreate` and a budget of two.

use super::super::objects::{Kind, SLOTS, Slots, Spec, Strategy, Wishes};
use super::Disturbance::{
    DeleteClaim, DeletePod, Fail, ForceDelete, Forgive, Lead, LoseNode, Partition, Pause, Recreate, Refuse, Reserve,
    Reset, Retention, RollsBack, Scale, Storage, Template, Unready,
};
use super::{EDITS, Scenario, VOLUMES, base, named};

/// All of them, for sets like `spec`.
pub(super) fn all(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let mut all = pauses(spec, parallel);
    all.extend(places(spec, parallel));
    all.extend(claims(spec, parallel));
    all.extend(rollouts(spec, parallel));
    all.extend(deadlines(spec, parallel));
    all.extend(refusals(spec, parallel));
    all
}

fn wishing(spec: Spec, wishes: Wishes) -> Spec {
    Spec { wishes, ..spec }
}

/// Paused and resumed while replicas are lost and templates change.
fn pauses(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let top = spec.replicas - 1;
    let two = Spec { replicas: spec.replicas.min(2), history_limit: 0, ..spec };
    vec![
        base(
            named(parallel, "pause-ordered", "pause-parallel"),
            spec,
            3,
            vec![Pause(true), Pause(false), Template(1), DeletePod(top), Fail(0)],
        ),
        Scenario {
            broken: Some(1),
            lagging: EDITS,
            ..base(
                named(parallel, "pause-broken-ordered", "pause-broken-parallel"),
                two,
                4,
                vec![Pause(true), Pause(false), Template(0), Template(1), Template(2), DeletePod(0)],
            )
        },
        base(
            named(parallel, "pause-recreate-ordered", "pause-recreate-parallel"),
            Spec { strategy: Strategy::Recreate, ..two },
            4,
            vec![Pause(true), Pause(false), Template(1), ForceDelete(0), DeletePod(1)],
        ),
        Scenario {
            crashes: 0,
            ..base(
                named(parallel, "pause-scale-ordered", "pause-scale-parallel"),
                Spec { strategy: Strategy::Block { partition: 1, unavailable_max: None }, ..two },
                4,
                vec![Pause(true), Pause(false), Template(1), Scale(0), Scale(1), Scale(2), DeletePod(1), Partition(0)],
            )
        },
    ]
}

/// Ordinals that no replica may hold.
fn places(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let n = spec.replicas;
    let two = Spec { replicas: n.min(2), ..spec };
    let middle = if n > 1 { 0b10 } else { 0b1 };
    vec![
        Scenario {
            lagging: EDITS,
            ..base(
                named(parallel, "reserve-ordered", "reserve-parallel"),
                two,
                3,
                vec![Reserve(middle), Reserve(0b1), Reserve(0), Scale(1), Scale(2), Template(1), Unready(0)],
            )
        },
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "reserve-claims-ordered", "reserve-claims-parallel"),
                Spec { scaled_delete: true, ..spec },
                2,
                vec![Reserve(middle), Reserve(0), Scale(n - 1), Retention(false, false), LoseNode(1), ForceDelete(1)],
            )
        },
        base(
            named(parallel, "reserve-partition-ordered", "reserve-partition-parallel"),
            Spec {
                strategy: Strategy::Block { partition: 1, unavailable_max: None },
                ..wishing(two, Wishes { reserved: Slots(0b1), ..Wishes::default() })
            },
            3,
            vec![Template(1), Partition(0), Partition(2), Reserve(0b101), Reserve(0), DeletePod(2)],
        ),
    ]
}

/// Claims that are made anew, and claims that grow.
fn claims(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let (n, top) = (spec.replicas, spec.replicas - 1);
    let two = Spec { replicas: n.min(2), ..spec };
    vec![
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "reset-ordered", "reset-parallel"),
                two,
                3,
                vec![Reset(0, 1), Reset(1, 1), Reset(1, 2), Reset(0, 0), DeletePod(1), Fail(1)],
            )
        },
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "reset-lost-ordered", "reset-lost-parallel"),
                wishing(two, Wishes { resets: first([1, 1]), ..Wishes::default() }),
                3,
                vec![Reset(1, 2), DeleteClaim(1), ForceDelete(1), LoseNode(0), Scale(1), Scale(2)],
            )
        },
        Scenario {
            lagging: EDITS,
            ..base(
                named(parallel, "reset-update-ordered", "reset-update-parallel"),
                spec,
                2,
                vec![Reset(top, 1), Reset(0, 1), Template(1), Pause(true), Unready(0), Scale(top)],
            )
        },
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "growth-ordered", "growth-parallel"),
                spec,
                3,
                vec![Storage(2), Storage(3), Storage(1), Scale(top), DeleteClaim(top), DeletePod(0)],
            )
        },
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "growth-pause-ordered", "growth-pause-parallel"),
                Spec { deleted_delete: true, ..two },
                3,
                vec![Storage(2), Storage(3), Pause(true), Pause(false), Reset(1, 1), Retention(false, false)],
            )
        },
    ]
}

fn first<const N: usize>(generations: [u8; N]) -> [u8; SLOTS] {
    std::array::from_fn(|slot| generations.get(slot).copied().unwrap_or(0))
}

/// All at once, two at once, and the leader last.
fn rollouts(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let top = spec.replicas - 1;
    let led = wishing(spec, Wishes { leader_last: true, ..Wishes::default() });
    vec![
        Scenario {
            broken: Some(2),
            ..base(
                named(parallel, "recreate-ordered", "recreate-parallel"),
                Spec { strategy: Strategy::Recreate, ..spec },
                2,
                vec![Template(0), Template(1), Template(2), Scale(top), DeletePod(0), Unready(top), LoseNode(top)],
            )
        },
        base(
            named(parallel, "to-recreate-ordered", "to-recreate-parallel"),
            Spec { scaled_delete: true, ..spec },
            3,
            vec![Template(1), Template(2), Recreate, Scale(top), Fail(0)],
        ),
        Scenario {
            broken: Some(2),
            ..base(
                named(parallel, "two-at-once-ordered", "two-at-once-parallel"),
                Spec { strategy: Strategy::Block { partition: 0, unavailable_max: Some(2) }, ..led },
                3,
                vec![Template(1), Template(2), Unready(0), Fail(top), Lead(top), LoseNode(1)],
            )
        },
        base(
            named(parallel, "leader-ordered", "leader-parallel"),
            led,
            4,
            vec![Template(1), Lead(0), Lead(top), Unready(0), Unready(top)],
        ),
        base(
            named(parallel, "leader-partition-ordered", "leader-partition-parallel"),
            Spec { strategy: Strategy::Block { partition: 1, unavailable_max: None }, ..led },
            3,
            vec![Template(1), Lead(0), Lead(top), Partition(0), Partition(2), DeletePod(top)],
        ),
    ]
}

/// Rollouts that fail in time and are taken back.
fn deadlines(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let two = Spec { replicas: spec.replicas.min(2), ..spec };
    let deadline =
        |spec: Spec, rolls_back: bool| wishing(spec, Wishes { deadline: true, rolls_back, ..Wishes::default() });
    vec![
        Scenario {
            lagging: 0,
            crashes: 0,
            broken: Some(1),
            slow: true,
            ..base(
                named(parallel, "again-ordered", "again-parallel"),
                Spec { replicas: 1, ..deadline(spec, true) },
                3,
                vec![Template(1), Forgive],
            )
        },
        Scenario {
            lagging: EDITS,
            broken: Some(1),
            slow: true,
            ..base(
                named(parallel, "rollback-ordered", "rollback-parallel"),
                deadline(two, true),
                3,
                vec![Template(0), Template(1), Template(2), Forgive, RollsBack(false)],
            )
        },
        Scenario {
            broken: Some(1),
            slow: true,
            crashes: 0,
            ..base(
                named(parallel, "deadline-ordered", "deadline-parallel"),
                deadline(two, false),
                3,
                vec![Template(0), Template(1), Template(2), RollsBack(true), Pause(true), Pause(false), Unready(0)],
            )
        },
        Scenario {
            broken: Some(1),
            slow: true,
            crashes: 0,
            ..base(
                named(parallel, "rollback-recreate-ordered", "rollback-recreate-parallel"),
                Spec { strategy: Strategy::Recreate, min_ready: true, ..deadline(two, true) },
                3,
                vec![Template(0), Template(1), Template(2), Scale(1), DeletePod(0)],
            )
        },
    ]
}

/// New objects that the API refuses, and a template whose pods stand for a moment only.
fn refusals(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let top = spec.replicas - 1;
    let back = Wishes { deadline: true, rolls_back: true, ..Wishes::default() };
    let two = wishing(Spec { replicas: spec.replicas.min(2), history_limit: 0, ..spec }, back);
    vec![
        Scenario {
            slow: true,
            crashes: 0,
            ..base(
                named(parallel, "refused-pods-ordered", "refused-pods-parallel"),
                two,
                3,
                vec![Refuse(Kind::Pods), Template(1), Template(2), DeletePod(0), Scale(1)],
            )
        },
        Scenario {
            lagging: VOLUMES,
            ..base(
                named(parallel, "refused-claims-ordered", "refused-claims-parallel"),
                Spec { replicas: top, scaled_delete: true, ..spec },
                3,
                vec![Refuse(Kind::Claims), Scale(spec.replicas), DeletePod(0), Fail(0), Template(1), Scale(top)],
            )
        },
        Scenario {
            slow: true,
            crashes: 0,
            ..base(
                named(parallel, "canary-ordered", "canary-parallel"),
                Spec { strategy: Strategy::Block { partition: 1, unavailable_max: None }, history_limit: 10, ..two },
                3,
                vec![Template(1), Scale(3), Partition(0), Pause(true), Pause(false), Unready(1)],
            )
        },
        Scenario {
            broken: Some(1),
            flickers: true,
            lagging: 0,
            probed: false,
            slow: true,
            crashes: 0,
            ..base(
                named(parallel, "flicker-ordered", "flicker-parallel"),
                Spec { history_limit: 10, ..two },
                2,
                vec![Template(1), Template(2), Scale(1), DeletePod(0)],
            )
        },
    ]
}
