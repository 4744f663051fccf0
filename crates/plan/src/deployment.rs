//! Deployments: one ReplicaSet per template, replicas moved from the old ones to the new one (contract
//! `controllers.md` 1A–1F). One pure function decides one step; every step leads to the next through
//! the watch.

mod conditions;
mod proportions;
mod rolling;
mod sets;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::ids::Target;
use crate::shares::Share;
use crate::{labels, pods};

pub use conditions::creation_failed;

/// `apiVersion` of a Deployment.
pub const API_VERSION: &str = "apps/v1";
/// `kind` of a Deployment.
pub const KIND: &str = "Deployment";
/// Label that tells the ReplicaSets of a Deployment and their pods apart.
pub const HASH_LABEL: &str = "pod-template-hash";
/// Annotation of a Deployment and of its sets: the number of the template.
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// What is observed of the namespace of a Deployment, from one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// ReplicaSets.
    pub sets: &'a [Arc<ReplicaSet>],
    /// Pods, for strategy Recreate.
    pub pods: &'a [Arc<Pod>],
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read the Deployment anew and stop unless it is the same one and not being deleted.
    ConfirmDeployment,
    /// Take an ownerless set.
    AdoptSet(Target),
    /// Let go of a set that no longer matches.
    ReleaseSet(Target),
    /// Make a set.
    CreateSet(Box<ReplicaSet>),
    /// Write a set over the state it was decided on.
    UpdateSet {
        /// The set as it should be.
        set: Box<ReplicaSet>,
        /// Its size before, when that changes.
        from: Option<i32>,
    },
    /// Delete a set that is history.
    DeleteSet(Target),
}

/// An event about the Deployment, ready to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// Whether something is wrong.
    pub warning: bool,
    /// The reason, in one word.
    pub reason: &'static str,
    /// The text.
    pub message: String,
}

/// What to do about a Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Actions in order; those of one batch do not depend on each other.
    pub batches: Vec<Vec<Action>>,
    /// The status it should show.
    pub status: DeploymentStatus,
    /// The revision it should be annotated with, written together with the status (1.7).
    pub revision: Option<String>,
    /// Whether status or revision are worth a write.
    pub status_changed: bool,
    /// When to plan again even if nothing changes.
    pub wake_at: Option<Timestamp>,
    /// What people should be told, beside the outcome of the actions.
    pub notes: Vec<Note>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && !self.status_changed
    }

    /// All actions in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.batches.iter().flatten()
    }
}

/// What to do about `deployment` now. Total and deterministic; empty when there is nothing to do.
pub fn plan(deployment: &Deployment, observed: &Observed<'_>, now: Timestamp) -> Plan {
    let want = Want::of(deployment);
    if labels::is_empty(&want.spec.selector) {
        let message = "This deployment is selecting all pods. A non-empty selector is required.".to_owned();
        let notes = vec![Note { warning: true, reason: "SelectingAll", message }];
        return Plan { status: deployment.status.clone().unwrap_or_default(), notes, ..Plan::default() };
    }
    let mut step = Step::new(want, now);
    let mut family = sets::claim(&step.want, observed, &mut step.bookkeeping);
    if step.want.deleting {
        return step.finish(&family, false);
    }
    step.note_pausing();
    if step.want.paused || sets::is_scaling(&step.want, &family) {
        sets::number(&mut step, &mut family, observed, false);
        proportions::scale(&mut step, &mut family);
        if step.want.paused {
            sets::clean_up(&mut step, &family);
        }
        return step.finish(&family, false);
    }
    let done = match step.want.strategy {
        Strategy::Recreate => rolling::recreate(&mut step, &mut family, observed),
        Strategy::RollingUpdate => rolling::roll(&mut step, &mut family, observed),
    };
    if done {
        sets::clean_up(&mut step, &family);
    }
    step.finish(&family, true)
}

/// The reference to the Deployment that its sets carry.
pub fn reference(deployment: &Deployment) -> OwnerReference {
    pods::controller_reference(API_VERSION, KIND, &deployment.metadata)
}

/// The event that tells of `action` having succeeded (1.26).
pub fn succeeded(action: &Action) -> Option<Note> {
    let (set, from) = match action {
        Action::CreateSet(set) => (set, 0),
        Action::UpdateSet { set, from: Some(from) } => (set, *from),
        Action::UpdateSet { from: None, .. }
        | Action::ConfirmDeployment
        | Action::AdoptSet(_)
        | Action::ReleaseSet(_)
        | Action::DeleteSet(_) => return None,
    };
    let to = sets::size(set);
    let direction = match from.cmp(&to) {
        std::cmp::Ordering::Less => "up",
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => "down",
    };
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    Some(Note { warning: false, reason: "ScalingReplicaSet", message })
}

/// `spec.strategy.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    Recreate,
    RollingUpdate,
}

/// The Deployment, read once.
struct Want<'a> {
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    name: &'a str,
    deleting: bool,
    paused: bool,
    replicas: i32,
    strategy: Strategy,
    /// Pods allowed beyond `replicas`.
    surge: i32,
    /// Pods of `replicas` that may be unavailable.
    unavailable: i32,
    /// Seconds without progress before the rollout is called stuck; none is never.
    deadline_s: Option<i32>,
}

/// A deadline of this many seconds is none.
const NO_DEADLINE_S: i32 = i32::MAX;

static NO_SPEC: std::sync::LazyLock<DeploymentSpec> = std::sync::LazyLock::new(DeploymentSpec::default);

impl<'a> Want<'a> {
    fn of(deployment: &'a Deployment) -> Self {
        let spec = deployment.spec.as_ref().unwrap_or(&NO_SPEC);
        let recreate = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
        let strategy = if recreate { Strategy::Recreate } else { Strategy::RollingUpdate };
        let replicas = spec.replicas.unwrap_or(1);
        let (surge, unavailable) = match strategy {
            Strategy::Recreate => (0, 0),
            Strategy::RollingUpdate => budget(spec, replicas),
        };
        Self {
            deployment,
            spec,
            name: deployment.metadata.name.as_deref().unwrap_or_default(),
            deleting: deployment.metadata.deletion_timestamp.is_some(),
            paused: spec.paused.unwrap_or(false),
            replicas,
            strategy,
            surge,
            unavailable,
            deadline_s: spec.progress_deadline_seconds.filter(|seconds| *seconds != NO_DEADLINE_S),
        }
    }

    fn stored(&self) -> DeploymentStatus {
        self.deployment.status.clone().unwrap_or_default()
    }
}

/// Surge and unavailability in pods (1.12).
fn budget(spec: &DeploymentSpec, replicas: i32) -> (i32, i32) {
    let block = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let share = |value: Option<&_>| value.map_or(Share::Percent(25), Share::of);
    let surge = share(block.and_then(|block| block.max_surge.as_ref())).rounded_up(replicas);
    let unavailable = share(block.and_then(|block| block.max_unavailable.as_ref())).rounded_down(replicas);
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, unavailable.min(replicas))
}

/// One step of a Deployment in the making.
struct Step<'a> {
    want: Want<'a>,
    /// Adoption and release.
    bookkeeping: Vec<Action>,
    /// New and changed sets.
    writes: Vec<Action>,
    /// Sets to drop.
    history: Vec<Action>,
    /// The conditions as they will be.
    conditions: conditions::Conditions,
    /// Collisions of names so far.
    collisions: Option<i32>,
    revision: Option<String>,
}

impl<'a> Step<'a> {
    fn new(want: Want<'a>, now: Timestamp) -> Self {
        let stored = want.stored();
        Self {
            bookkeeping: Vec::new(),
            writes: Vec::new(),
            history: Vec::new(),
            conditions: conditions::Conditions::new(stored.conditions.unwrap_or_default(), now),
            collisions: stored.collision_count,
            revision: None,
            want,
        }
    }

    /// Notes in the conditions that the rollout was paused or goes on (1.23).
    fn note_pausing(&mut self) {
        if self.want.deadline_s.is_some() {
            self.conditions.note_pausing(self.want.paused);
        }
    }

    fn finish(mut self, family: &sets::Family, rollout: bool) -> Plan {
        let mut status = status::count(&self.want, family);
        status.collision_count = self.collisions;
        let wake_at = if rollout { self.judge_progress(&status, family) } else { None };
        let available = status.available_replicas.unwrap_or(0) >= self.want.replicas - self.want.unavailable;
        self.conditions.note_availability(available);
        self.conditions.note_failure(family.failure());
        status.conditions = self.conditions.into_wire();
        let stored_revision = self.want.deployment.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
        let revision = self.revision.filter(|revision| Some(revision) != stored_revision);
        let status_changed = revision.is_some() || status::differs(&self.want, &status);
        let adopts = self.bookkeeping.iter().any(|action| matches!(action, Action::AdoptSet(_)));
        let confirm = if adopts { vec![Action::ConfirmDeployment] } else { Vec::new() };
        let mut batches = vec![confirm, self.bookkeeping, self.writes, self.history];
        batches.retain(|batch| !batch.is_empty());
        Plan { batches, status, revision, status_changed, wake_at, notes: Vec::new() }
    }

    /// Whether the rollout is complete, moving or stuck (1.23, 1.24); gives when to look again.
    fn judge_progress(&mut self, status: &DeploymentStatus, family: &sets::Family) -> Option<Timestamp> {
        let Some(deadline_s) = self.want.deadline_s else {
            self.conditions.forget_progress();
            return None;
        };
        let subject = family.new.as_ref().map_or_else(
            || format!("Deployment \"{}\"", self.want.name),
            |set| format!("ReplicaSet \"{}\"", set.metadata.name.as_deref().unwrap_or_default()),
        );
        let stored = self.want.stored();
        if status.replicas == status.updated_replicas && self.conditions.is_complete() {
            return None;
        }
        if status::is_complete(&self.want, status) {
            self.conditions.complete(&subject);
        } else if status::has_progressed(&stored, status) {
            self.conditions.progress(&subject);
        } else {
            return self.conditions.check_deadline(&subject, deadline_s);
        }
        self.conditions.next_deadline(deadline_s)
    }
}
