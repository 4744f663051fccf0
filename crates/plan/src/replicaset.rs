//! ReplicaSets: as many interchangeable pods as wanted (contract `controllers.md` 0 and 1G). One pure
//! function decides which pods to adopt, release, make and delete, and what the status says.

mod ranking;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::ids::{Target, Uid};
use crate::{labels, pods};

pub use status::{Failure, finish};

/// `apiVersion` of a ReplicaSet.
pub const API_VERSION: &str = "apps/v1";
/// `kind` of a ReplicaSet.
pub const KIND: &str = "ReplicaSet";

/// Most pods made or deleted by one plan (contract 0.5).
pub const BURST_MAX: usize = 500;

/// What is observed of the namespace of a set, from one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Pods.
    pub pods: &'a [Arc<Pod>],
    /// ReplicaSets, for those with the same owner.
    pub sets: &'a [Arc<ReplicaSet>],
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the set anew and stop unless it is the same one and not being deleted.
    ConfirmSet,
    /// Take an ownerless pod.
    AdoptPod(Target),
    /// Let go of a pod that no longer matches.
    ReleasePod(Target),
    /// Make one pod from the template.
    CreatePod,
    /// Ask a pod to end.
    DeletePod(Target),
}

/// What to do about a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Actions in order; those of one batch do not depend on each other.
    pub batches: Vec<Vec<Action>>,
    /// The counts the set should show; see [`finish`] for the rest of its status.
    pub status: ReplicaSetStatus,
    /// When to plan again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// All actions in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.batches.iter().flatten()
    }
}

/// What to do about `set` now. Total and deterministic; without actions when there is nothing to do.
pub fn plan(set: &ReplicaSet, observed: &Observed<'_>, now: Timestamp) -> Plan {
    let (mine, bookkeeping) = claim(set, observed.pods);
    let active: Vec<&Pod> = mine.iter().copied().filter(|pod| pods::is_active(pod)).collect();
    let adopts = bookkeeping.iter().any(|action| matches!(action, Action::AdoptPod(_)));
    // Adoption changes the pods that a deletion would be decided on: first things first.
    let settled = !adopts && set.metadata.deletion_timestamp.is_none();
    let changes = if settled { changes(set, &active, observed, now) } else { Vec::new() };
    let confirm = if adopts { vec![Action::ConfirmSet] } else { Vec::new() };
    let mut batches = vec![confirm, bookkeeping, changes];
    batches.retain(|batch| !batch.is_empty());
    Plan { batches, status: status::count(set, &mine, &active, now), wake_at: status::next_change(set, &active, now) }
}

/// The pod to make: the API gives it its name (contract 0.3).
pub fn pod(set: &ReplicaSet) -> Pod {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let template = template_of(set).cloned().unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: set.metadata.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The reference to the set that its pods carry.
pub fn reference(set: &ReplicaSet) -> OwnerReference {
    pods::controller_reference(API_VERSION, KIND, &set.metadata)
}

/// The wanted number of pods.
pub fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn template_of(set: &ReplicaSet) -> Option<&PodTemplateSpec> {
    set.spec.as_ref()?.template.as_ref()
}

fn uid_of(meta: &ObjectMeta) -> Uid {
    Uid(meta.uid.clone().unwrap_or_default())
}

/// The set's pods after adoption and release (contract 0.2).
fn claim<'a>(set: &ReplicaSet, observed: &'a [Arc<Pod>]) -> (Vec<&'a Pod>, Vec<Action>) {
    let deleting = set.metadata.deletion_timestamp.is_some();
    let uid = uid_of(&set.metadata);
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    let (mut mine, mut actions) = (Vec::new(), Vec::new());
    for pod in observed.iter().map(Arc::as_ref) {
        let selected = selector.is_some_and(|selector| labels::matches(selector, pod.metadata.labels.as_ref()));
        let target = || Target::of(&pod.metadata);
        match pods::controller_of(&pod.metadata) {
            Some(owner) if owner.uid != uid.0 => {}
            Some(_) if selected || deleting => mine.push(pod),
            Some(_) => actions.push(Action::ReleasePod(target())),
            None if selected && !deleting && pods::is_active(pod) => {
                mine.push(pod);
                actions.push(Action::AdoptPod(target()));
            }
            None => {}
        }
    }
    (mine, actions)
}

/// The pods to make or to delete.
fn changes(set: &ReplicaSet, active: &[&Pod], observed: &Observed<'_>, now: Timestamp) -> Vec<Action> {
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
    if active.len() <= wanted {
        return vec![Action::CreatePod; (wanted - active.len()).min(BURST_MAX)];
    }
    let surplus = (active.len() - wanted).min(BURST_MAX);
    let victims = ranking::victims(set, active, observed, surplus, now);
    victims.into_iter().map(|pod| Action::DeletePod(Target::of(&pod.metadata))).collect()
}
