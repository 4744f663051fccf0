//! Worlds of claims and their retention, of adoption and release, and of sets that go and come.

use super::super::objects::Spec;
use super::Disturbance::{
    DeleteClaim, DeletePod, DeleteSet, DeleteSetForeground, DeleteSetOrphan, Disown, DisownRevision, Fail, ForceDelete,
    Label, LoseNode, MakeSet, Retention, Scale, Seize, Squat, Template, Unlabel, Unname,
};
use super::{BOOKS, EDITS, Scenario, VOLUMES, base, named};

/// All of them, for sets like `spec`.
pub(super) fn all(spec: Spec, parallel: bool) -> Vec<Scenario> {
    let mut all = volumes(spec, parallel);
    all.extend(ownership(spec, parallel));
    all
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
        // A replica that was to go is wanted again when its claim has already been given to its pod.
        base(
            named(parallel, "scaled-back-ordered", "scaled-back-parallel"),
            Spec { replicas: spec.replicas.min(2), ..scaled },
            3,
            vec![Scale(1), Scale(spec.replicas.min(2)), Fail(1), Template(1)],
        ),
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
fn ownership(spec: Spec, parallel: bool) -> Vec<Scenario> {
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
