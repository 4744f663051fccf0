//! Binding from the claim's side (contract 6.1-6.6, 6.11, 6.13-6.15).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use stead_api::amount::Amount;

use super::matching::{self, Seeker};
use super::{
    BIND_COMPLETED_ANNOTATION, BOUND_BY_CONTROLLER_ANNOTATION, LOCAL_PROVISIONER, NO_PROVISIONER, Next,
    PROVISIONED_BY_ANNOTATION, PROVISIONER_ANNOTATIONS, Step, YES, annotate, claim_phase, class_of_claim,
    has_annotation, names_claim, node_for_immediate, reserved_for, selected_node, volume_name, volume_phase,
    waits_for_consumer, was_bound,
};

/// Everything the next step for one claim depends on.
pub struct ClaimView<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// The volumes that name the claim or no claim at all; every one where [`weighs_nodes`] says so.
    pub volumes: &'a [Arc<PersistentVolume>],
    /// The volume the claim names, read live when the cache lacked it; none when it does not exist.
    pub named: Option<&'a PersistentVolume>,
    /// Every class.
    pub classes: &'a [Arc<StorageClass>],
    /// Every node, for classes that bind at once.
    pub nodes: &'a [Arc<Node>],
    /// Names of pods that use the claim and have no node yet, sorted.
    pub unscheduled_pods: &'a [String],
    /// The time, for phases.
    pub now: jiff::Timestamp,
}

/// Whether a node may have to be chosen for the claim by how many volumes it holds.
pub fn weighs_nodes(claim: &PersistentVolumeClaim, classes: &[Arc<StorageClass>]) -> bool {
    let class = classes.iter().find(|class| class.metadata.name.as_deref() == Some(class_of_claim(claim)));
    class.is_some_and(|class| class.provisioner == LOCAL_PROVISIONER && !waits_for_consumer(class))
}

/// The next write that brings the claim nearer to what it should be.
pub fn next_for_claim(view: &ClaimView<'_>) -> Next {
    if was_bound(view.claim) {
        return next_for_bound(view);
    }
    if view.claim.metadata.deletion_timestamp.is_some() {
        return Next::NOTHING;
    }
    match volume_name(view.claim) {
        None => next_for_unbound(view),
        Some(name) => next_for_named(view, name),
    }
}

fn next_for_bound(view: &ClaimView<'_>) -> Next {
    let Some(name) = volume_name(view.claim) else {
        let text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost(view.claim, "ClaimLost", text);
    };
    let Some(volume) = view.named.filter(|volume| volume.metadata.name.as_deref() == Some(name)) else {
        let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lost(view.claim, "ClaimLost", text);
    };
    let unclaimed = volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none());
    if unclaimed || names_claim(volume, view.claim) {
        return bind(view, volume);
    }
    lost(view.claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
}

fn next_for_named(view: &ClaimView<'_>, name: &str) -> Next {
    let Some(volume) = view.named.filter(|volume| volume.metadata.name.as_deref() == Some(name)) else {
        return pending(view.claim);
    };
    if names_claim(volume, view.claim) {
        return bind(view, volume);
    }
    if volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some()) {
        let text = format!("volume {name:?} already bound to a different claim.");
        return pending(view.claim).says(true, "FailedBinding", text);
    }
    match matching::mismatch(view.claim, volume) {
        Some(why) => {
            let text = format!("Cannot bind to requested volume {name:?}: {why}");
            pending(view.claim).says(true, "VolumeMismatch", text)
        }
        None => bind(view, volume),
    }
}

fn next_for_unbound(view: &ClaimView<'_>) -> Next {
    let class_name = class_of_claim(view.claim);
    let class = view.classes.iter().find(|class| class.metadata.name.as_deref() == Some(class_name));
    let waits = class.is_some_and(|class| waits_for_consumer(class)) && selected_node(view.claim).is_none();
    let seeker = Seeker::Binder { only_named: waits };
    if let Some(volume) = matching::best_match(view.claim, view.volumes, seeker) {
        return bind(view, volume);
    }
    if let Some(claim) = with_default_class(view) {
        return Next::step(Step::Claim(Box::new(claim)));
    }
    match class {
        None if class_name.is_empty() => {
            let text = "no persistent volumes available for this claim and no storage class is set";
            pending(view.claim).says(false, "FailedBinding", text)
        }
        None => {
            let text = format!("storageclass.storage.k8s.io {class_name:?} not found");
            pending(view.claim).says(true, "ProvisioningFailed", text)
        }
        Some(_) if waits => wait_for_consumer(view),
        Some(class) => next_for_provisioning(view, class),
    }
}

/// A pending claim that asked for no class gets the default one later (contract 6.11).
fn with_default_class(view: &ClaimView<'_>) -> Option<PersistentVolumeClaim> {
    let asked = view.claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some());
    if asked || !class_of_claim(view.claim).is_empty() {
        return None;
    }
    let default = matching::default_class(view.classes)?;
    let mut claim = view.claim.clone();
    claim.spec.get_or_insert_default().storage_class_name = default.metadata.name.clone();
    Some(claim)
}

fn wait_for_consumer(view: &ClaimView<'_>) -> Next {
    match view.unscheduled_pods {
        [] => {
            let text = "waiting for first consumer to be created before binding";
            pending(view.claim).says(false, "WaitForFirstConsumer", text)
        }
        [pod] => {
            pending(view.claim).says(false, "WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled"))
        }
        pods => {
            let text = format!("waiting for pods {} to be scheduled", pods.join(","));
            pending(view.claim).says(false, "WaitForPodScheduled", text)
        }
    }
}

fn next_for_provisioning(view: &ClaimView<'_>, class: &StorageClass) -> Next {
    match class.provisioner.as_str() {
        NO_PROVISIONER => pending(view.claim),
        LOCAL_PROVISIONER => {
            let chosen = selected_node(view.claim).map(str::to_owned);
            match chosen.or_else(|| node_for_immediate(view.nodes, view.volumes)) {
                Some(node) => Next::step(Step::Provision { node }),
                None => pending(view.claim).says(true, "ProvisioningFailed", "no node is ready to hold the volume"),
            }
        }
        external => {
            let mut claim = view.claim.clone();
            for key in PROVISIONER_ANNOTATIONS {
                annotate(&mut claim.metadata, key, external);
            }
            let text = format!(
                "Waiting for a volume to be created either by the external provisioner '{external}' or manually by \
                 the system administrator. If volume creation is delayed, please verify that the provisioner is \
                 running and correctly registered."
            );
            let next =
                if claim == *view.claim { pending(view.claim) } else { Next::step(Step::Claim(Box::new(claim))) };
            next.says(false, "ExternalProvisioning", text)
        }
    }
}

/// The next of the four writes that bind the two (contract 6.3). The claim names its volume before the volume
/// says that it is bound, because a pod waits for the first and nobody for the second; the claim says so last.
fn bind(view: &ClaimView<'_>, volume: &PersistentVolume) -> Next {
    let held = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if held.and_then(|reference| reference.uid.as_ref()) != view.claim.metadata.uid.as_ref() {
        return Next::step(Step::Volume(Box::new(reserved_for(volume, view.claim))));
    }
    let claim = bound_to(view.claim, volume);
    if claim != *view.claim {
        return Next::step(Step::Claim(Box::new(claim)));
    }
    if volume_phase(volume) != "Bound" {
        return Next::step(Step::VolumeStatus(Box::new(with_phase(volume, "Bound", view.now))));
    }
    if let Some(volume) = grown(view, volume) {
        return Next::step(Step::Volume(Box::new(volume)));
    }
    let spec = volume.spec.clone().unwrap_or_default();
    let mut status = view.claim.status.clone().unwrap_or_default();
    if is_local(volume) && status.capacity.is_some() && capacity(volume) > status.capacity.as_ref().map(storage) {
        status.capacity.clone_from(&spec.capacity);
        let claim = PersistentVolumeClaim { status: Some(status), ..view.claim.clone() };
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let text = format!("volume {name} has grown to what the claim asks for");
        return Next::step(Step::ClaimStatus(Box::new(claim))).says(false, "VolumeResizeSuccessful", text);
    }
    if claim_phase(view.claim) != "Bound" || status.capacity.is_none() {
        status = PersistentVolumeClaimStatus {
            phase: Some("Bound".to_owned()),
            access_modes: spec.access_modes,
            capacity: spec.capacity,
            ..status
        };
    }
    if Some(&status) == view.claim.status.as_ref() {
        return Next::NOTHING;
    }
    let claim = PersistentVolumeClaim { status: Some(status), ..view.claim.clone() };
    Next::step(Step::ClaimStatus(Box::new(claim)))
}

/// The volume as large as its claim asks, when it is smaller and grows by being called so: a directory
/// has all the room of its file system. Admission has seen to it that the class allows growing.
fn grown(view: &ClaimView<'_>, volume: &PersistentVolume) -> Option<PersistentVolume> {
    let asked = view.claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?;
    let allowed = view.classes.iter().any(|class| {
        class.metadata.name.as_deref() == Some(class_of_claim(view.claim)) && class.allow_volume_expansion == Some(true)
    });
    if !allowed || !is_local(volume) || capacity(volume) >= Some(Amount::of(asked)) {
        return None;
    }
    let mut volume = volume.clone();
    let capacity = volume.spec.get_or_insert_default().capacity.get_or_insert_default();
    capacity.insert("storage".to_owned(), asked.clone());
    Some(volume)
}

fn is_local(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    annotations.and_then(|own| own.get(PROVISIONED_BY_ANNOTATION)).is_some_and(|by| by == LOCAL_PROVISIONER)
}

fn capacity(volume: &PersistentVolume) -> Option<Amount> {
    volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()).map(storage)
}

fn storage(amounts: &BTreeMap<String, Quantity>) -> Amount {
    amounts.get("storage").map(Amount::of).unwrap_or_default()
}

fn bound_to(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaim {
    let mut bound = claim.clone();
    if volume_name(claim).is_none() {
        bound.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
        annotate(&mut bound.metadata, BOUND_BY_CONTROLLER_ANNOTATION, YES);
    }
    if !has_annotation(&claim.metadata, BIND_COMPLETED_ANNOTATION) {
        annotate(&mut bound.metadata, BIND_COMPLETED_ANNOTATION, YES);
        let provisioner = volume.metadata.annotations.as_ref().and_then(|a| a.get(PROVISIONED_BY_ANNOTATION));
        for (key, provisioner) in PROVISIONER_ANNOTATIONS.into_iter().zip(provisioner.into_iter().cycle()) {
            annotate(&mut bound.metadata, key, provisioner);
        }
    }
    bound
}

/// The volume in another phase (contract 6.7).
pub(super) fn with_phase(volume: &PersistentVolume, phase: &str, now: jiff::Timestamp) -> PersistentVolume {
    let mut volume = volume.clone();
    let status = volume.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    status.last_phase_transition_time = Some(Time(now));
    volume
}

fn lost(claim: &PersistentVolumeClaim, reason: &'static str, text: &str) -> Next {
    if claim_phase(claim) == "Lost" {
        return Next::NOTHING;
    }
    Next::step(status_step(claim, "Lost")).says(true, reason, text)
}

fn pending(claim: &PersistentVolumeClaim) -> Next {
    let shown = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if shown == Some("Pending") { Next::NOTHING } else { Next::step(status_step(claim, "Pending")) }
}

fn status_step(claim: &PersistentVolumeClaim, phase: &str) -> Step {
    let status = PersistentVolumeClaimStatus {
        phase: Some(phase.to_owned()),
        access_modes: None,
        capacity: None,
        ..claim.status.clone().unwrap_or_default()
    };
    Step::ClaimStatus(Box::new(PersistentVolumeClaim { status: Some(status), ..claim.clone() }))
}
