//! StatefulSets: every replica keeps its stead. One pure function decides everything about a set
//! (contract `statefulset.md`, sections D to P); the controller, `explain`, the tests and the model
//! checker all ask the same one.
//!
//! Where the contract is silent or calls Kubernetes' behaviour a fault, each module says at its top
//! what is done instead.

mod actions;
mod adopt;
mod claim_list;
mod claim_views;
mod claims;
pub mod conditions;
pub mod events;
pub mod explain;
mod growth;
pub mod lint;
mod memory;
pub mod news;
pub mod ordinals;
mod pause;
mod preparing;
mod progress;
mod reach;
pub mod render;
mod replicas;
mod reset;
pub mod revisions;
mod scale;
mod status;
mod undone;
mod update;
pub mod views;
pub mod wishes;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};

pub use actions::{Action, ClaimKeeper, Plan, Removal, Rule, Wait};
pub use memory::Memory;
pub use preparing::{Preparation, Terms, prepares};
pub use undone::Undone;
pub use views::{Observed, View};

use actions::Draft;
use adopt::Claimed;
use progress::Progress;
use revisions::Resolved;
use update::Doubt;
use views::Management;

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

/// What to do about `set` now, given what is observed around it in one snapshot. Total and
/// deterministic; empty when there is nothing to do.
pub fn plan(set: &StatefulSet, observed: &Observed<'_>, now: Timestamp) -> Plan {
    plan_remembering(set, observed, now, &mut Memory::default())
}

/// The same plan, made with less work where `memory` was given to the last one for this set.
pub fn plan_remembering(set: &StatefulSet, observed: &Observed<'_>, now: Timestamp, memory: &mut Memory) -> Plan {
    let mut plan = decide(&View::remembering(set, observed, memory), now);
    plan.status.conditions = set.status.as_ref().and_then(|status| status.conditions.clone());
    let news = conditions::merge(&mut plan.status, &plan.conditions, now);
    plan.notes.extend(news);
    plan.found.conditions.clone_from(&plan.status.conditions);
    // Counts that hold only once pods have been taken in or let go may never have been true together, if
    // others change meanwhile. The next plan counts, and there is one as soon as that is done.
    plan.status_changed = !plan.regroups() && status::is_news(set, &plan.status);
    plan
}

/// The status to write once `plan` was carried out but for what is `undone`; none when it is not worth a
/// write. What would have been done then cannot be counted on: the pods as they were found can. No status
/// is known while it is not known which pods and revisions are the set's (G4).
pub fn status_after<'a>(set: &StatefulSet, plan: &'a Plan, undone: &Undone) -> Option<&'a StatefulSetStatus> {
    if undone.is_nothing() {
        return plan.status_changed.then_some(&plan.status);
    }
    (!undone.leaves_doubt() && status::is_news(set, &plan.found)).then_some(&plan.found)
}

/// Whether the next look at `set` can be put off for a little: there was nothing to do but to count, and no
/// replica waits for another.
pub fn may_rest(set: &StatefulSet, plan: &Plan) -> bool {
    plan.actions().next().is_none() && views::management(set) == Management::Parallel
}

/// As [`plan`], over the few facts that matter. The status holds only what is counted, and counts as
/// changed; the conditions stand beside it.
pub fn decide(view: &View, now: Timestamp) -> Plan {
    let mut draft = Draft::default();
    let resolved = revisions::resolve(view, &mut draft);
    let claimed = adopt::claim(view, &mut draft);
    let proven = update::is_proven(&claimed, &resolved, now);
    let doubt = update::doubt(&claimed, &resolved);
    let mut stage = Stage { view, resolved, claimed, now, proven, doubt, resetting: None };
    stage.resetting = reset::turn(&stage);
    let progress = progress::assess(&stage);
    if !view.set.deleting {
        // Adoption changes the pods that everything else would be decided on: first things first.
        if !draft.adopts_pods() {
            stage.arrange(&progress, &mut draft);
        }
        revisions::truncate(view, &stage.resolved, &mut draft);
    }
    let status: StatefulSetStatus = status::count(&stage, &draft);
    if let Some(at) = status::next_change(&stage) {
        draft.wake(at);
    }
    let conditions = if view.set.deleting { Vec::new() } else { conditions::all(&stage, &progress, &mut draft) };
    let found = if draft.deletes_pods() { status::count(&stage, &Draft::default()) } else { status.clone() };
    Plan { found, ..draft.finish(status, conditions) }
}

/// What the stages of a plan look at.
struct Stage<'a> {
    view: &'a View,
    resolved: Resolved,
    claimed: Claimed<'a>,
    now: Timestamp,
    /// Whether a replica has shown that the update revision runs at all.
    proven: bool,
    /// How far an update in doubt has come.
    doubt: Doubt,
    /// The replica whose reset goes on now.
    resetting: Option<reset::Turn>,
}

impl Stage<'_> {
    /// Replicas first, then scaling down, then updates (G4, K6, L1); what is broken for good, and what
    /// somebody asked to be made anew, comes before everything. Claims grow whatever else waits: a full
    /// volume may be what it waits for.
    fn arrange(&self, progress: &Progress, draft: &mut Draft) {
        pause::remember(self, draft);
        progress::remember(self, progress, draft);
        update::heal(self, draft);
        reset::advance(self, draft);
        if update::clear(self, draft) && replicas::fill(self, draft) && scale::shrink(self, draft) {
            update::roll(self, draft);
        }
        preparing::withdraw(self, draft);
        progress::roll_back(self, progress, draft);
        growth::grow(self, draft);
    }
}
