//! Claims and volumes: who is bound to whom, who may go, and what a new local volume looks like
//! (contract 6A-6C, design decision 6).
//!
//! Pure. Each function gives the *next* write; the executor makes it, puts the answer in place of the
//! object and asks again, so that every write is decided on the state the last one left. That a claim or
//! a volume does not exist is never concluded here: it comes in as the result of a live read.

mod binding;
mod matching;
mod protection;
mod provision;
mod reclaim;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

pub use binding::{ClaimView, next_for_claim, weighs_nodes};
pub use matching::{Seeker, best_match, default_class, mismatch};
pub use protection::{claim_protection, claims_of, is_in_use, volume_protection};
pub use provision::{node_for_immediate, provision, simulated_path};
pub use reclaim::{ClaimFact, LocalDirectory, local_directory, may_remove_directory, next_for_volume, without_storage};

/// The provisioner this cluster brings: one directory per claim on the node that uses it.
pub const LOCAL_PROVISIONER: &str = "stead.dev/local";
/// The provisioner of classes that never provision (contract 6.14).
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// On a claim that was bound once (contract 6.1).
pub const BIND_COMPLETED_ANNOTATION: &str = "pv.kubernetes.io/bind-completed";
/// On the side of a binding that was not the user's choice (contract 6.1).
pub const BOUND_BY_CONTROLLER_ANNOTATION: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume that was made for a claim (contract 6.13).
pub const PROVISIONED_BY_ANNOTATION: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim whose first consumer goes to this node (contract 6.15).
pub const SELECTED_NODE_ANNOTATION: &str = "volume.kubernetes.io/selected-node";
/// Keeps a claim while a pod uses it (contract 6.19).
pub const CLAIM_PROTECTION_FINALIZER: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume while it is bound (contract 6.19).
pub const VOLUME_PROTECTION_FINALIZER: &str = "kubernetes.io/pv-protection";
/// Keeps a provisioned volume until its storage is gone (contract 6.18).
pub const PROVISIONER_FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
/// Node label that local volumes are tied to.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const PROVISIONER_ANNOTATIONS: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
const YES: &str = "yes";

/// The next write about a claim or a volume. Objects carry the resourceVersion they were decided on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Step {
    /// Nothing until something changes.
    #[default]
    Nothing,
    /// Replace the volume.
    Volume(Box<PersistentVolume>),
    /// Replace the volume's status.
    VolumeStatus(Box<PersistentVolume>),
    /// Replace the claim.
    Claim(Box<PersistentVolumeClaim>),
    /// Replace the claim's status.
    ClaimStatus(Box<PersistentVolumeClaim>),
    /// Make a directory on this node and the volume for it.
    Provision {
        /// Name of the node.
        node: String,
    },
    /// Remove the volume's storage and then the volume: its claim is gone for good.
    Reclaim,
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether something is wrong.
    pub warning: bool,
    /// CamelCase reason.
    pub reason: &'static str,
    /// The text.
    pub message: String,
}

/// The next write and what to say about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Next {
    /// The write.
    pub step: Step,
    /// The event, about the claim.
    pub notice: Option<Notice>,
}

impl Next {
    const NOTHING: Self = Self { step: Step::Nothing, notice: None };

    fn step(step: Step) -> Self {
        Self { step, notice: None }
    }

    fn says(mut self, warning: bool, reason: &'static str, message: impl Into<String>) -> Self {
        self.notice = Some(Notice { warning, reason, message: message.into() });
        self
    }
}

/// The claim's class, the empty string for none; the old annotation wins (contract 6.2).
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let annotated = claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    let named = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    annotated.or(named).map_or("", String::as_str)
}

/// The volume's class, the empty string for none; the old annotation wins.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let annotated = volume.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    let named = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    annotated.or(named).map_or("", String::as_str)
}

/// Whether claims of the class wait for their first pod (contract 6.12).
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// Whether there is nothing to do for the claim, of this class, until somebody wants to use it.
pub fn awaits_consumer(claim: &PersistentVolumeClaim, class: Option<&StorageClass>) -> bool {
    let is_open = volume_name(claim).is_none() && !was_bound(claim) && selected_node(claim).is_none();
    is_open && claim.metadata.deletion_timestamp.is_none() && class.is_some_and(waits_for_consumer)
}

/// Whether the claim was bound before (contract 6.1).
pub fn was_bound(claim: &PersistentVolumeClaim) -> bool {
    has_annotation(&claim.metadata, BIND_COMPLETED_ANNOTATION)
}

/// Whether the claim and its volume are bound to each other for pods to use.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    was_bound(claim) && volume_name(claim).is_some() && claim_phase(claim) == "Bound"
}

/// The volume the claim names, if any.
pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty())
}

/// The node the claim's first consumer goes to, if it is known.
pub fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .metadata
        .annotations
        .as_ref()?
        .get(SELECTED_NODE_ANNOTATION)
        .map(String::as_str)
        .filter(|node| !node.is_empty())
}

/// Whether the volume's claimRef names this claim; a UID in it must be the claim's (contract 6.2).
pub fn names_claim(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
}

/// The claim with the annotation that says where its first consumer goes.
pub fn with_selected_node(claim: &PersistentVolumeClaim, node: &str) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    annotate(&mut claim.metadata, SELECTED_NODE_ANNOTATION, node);
    claim
}

/// The claim without that annotation: the node is gone, the scheduler is to choose again.
pub fn without_selected_node(claim: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    if let Some(annotations) = &mut claim.metadata.annotations {
        annotations.remove(SELECTED_NODE_ANNOTATION);
    }
    claim
}

/// The volume whose storage could not be removed (contract 6.18).
pub fn failed(volume: &PersistentVolume, message: &str, now: jiff::Timestamp) -> PersistentVolume {
    let mut volume = binding::with_phase(volume, "Failed", now);
    volume.status.get_or_insert_default().message = Some(message.to_owned());
    volume
}

/// The volume reserved for the claim, as the scheduler and the binder write it.
pub fn reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut volume = volume.clone();
    let spec = volume.spec.get_or_insert_default();
    if spec.claim_ref.is_none() {
        annotate(&mut volume.metadata, BOUND_BY_CONTROLLER_ANNOTATION, YES);
    }
    spec.claim_ref = Some(provision::reference_to_claim(claim));
    volume
}

fn claim_phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn volume_phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

type Meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn has_annotation(meta: &Meta, key: &str) -> bool {
    meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key))
}

fn annotate(meta: &mut Meta, key: &str, value: &str) {
    meta.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

fn has_finalizer(meta: &Meta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|held| held == finalizer)
}

#[cfg(test)]
mod tests;
