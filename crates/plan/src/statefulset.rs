//! StatefulSets: every replica keeps its stead. One pure function decides everything about a set
//! (contract `statefulset.md`, sections D to P); the controller, `explain`, the tests and the model
//! checker all ask the same one.
//!
//! Where the contract is silent or calls Kubernetes' behaviour a fault, each module says at its top
//! what is done instead.

mod actions;
mod adopt;
mod claims;
pub mod events;
pub mod lint;
pub mod ordinals;
pub mod render;
mod replicas;
pub mod revisions;
mod scale;
mod status;
mod update;
pub mod views;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};

pub use actions::{Action, ClaimKeeper, Plan, Removal, Rule, Wait};
pub use views::{Observed, View};

use actions::Draft;
use adopt::Claimed;
use revisions::Resolved;

/// `apiVersion` of a StatefulSet.
pub const API_VERSION: &str = "apps/v1";
/// `kind` of a StatefulSet.
pub const KIND: &str = "StatefulSet";
/// Label of a pod with the name of its revision ([`revisions::RevisionName::label`]).
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// Label of a pod with its own name.
pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Label of a pod with its ordinal.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// Annotation of a set: `hold` leaves updated pods alone when the partition is raised above them.
pub const PARTITION_RAISE: &str = "stead.dev/partition-raise";

/// What to do about `set` now, given what is observed around it in one snapshot. Total and
/// deterministic; empty when there is nothing to do.
pub fn plan(set: &StatefulSet, observed: &Observed<'_>, now: Timestamp) -> Plan {
    let mut plan = decide(&View::new(set, observed), now);
    plan.status_changed = status::carry_over(set, &mut plan.status);
    plan
}

/// As [`plan`], over the few facts that matter. The status holds only what is counted, and counts as
/// changed.
pub fn decide(view: &View, now: Timestamp) -> Plan {
    let mut draft = Draft::default();
    let resolved = revisions::resolve(view, &mut draft);
    let claimed = adopt::claim(view, &mut draft);
    let stage = Stage { view, resolved, claimed, now };
    if !view.set.deleting {
        // Adoption changes the pods that everything else would be decided on: first things first.
        if !draft.adopts_pods() {
            stage.arrange(&mut draft);
        }
        revisions::truncate(view, &stage.resolved, &mut draft);
    }
    let status: StatefulSetStatus = status::count(&stage, &draft);
    if let Some(at) = status::next_change(&stage) {
        draft.wake(at);
    }
    draft.finish(status, true)
}

/// What the stages of a plan look at.
struct Stage<'a> {
    view: &'a View,
    resolved: Resolved,
    claimed: Claimed<'a>,
    now: Timestamp,
}

impl Stage<'_> {
    /// Replicas first, then scaling down, then updates (G4, K6, L1); what is broken for good comes
    /// before everything.
    fn arrange(&self, draft: &mut Draft) {
        update::heal(self, draft);
        if replicas::fill(self, draft) && scale::shrink(self, draft) {
            update::roll(self, draft);
        }
    }
}
