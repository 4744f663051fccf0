//! Binding and reclaiming from the volume's side (contract 6.7, 6.8, 6.18).

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

use super::binding::with_phase;
use super::{
    BOUND_BY_CONTROLLER_ANNOTATION, HOSTNAME_LABEL, LOCAL_PROVISIONER, Next, PROVISIONED_BY_ANNOTATION,
    PROVISIONER_FINALIZER, Step, VOLUME_PROTECTION_FINALIZER, claims_of, has_annotation, has_finalizer, volume_name,
    volume_phase,
};
use crate::nodes::SIMULATED_LABEL;

/// What a live read said about the claim a volume's claimRef names.
#[derive(Clone, Copy, Debug)]
pub enum ClaimFact<'a> {
    /// There is such a claim; it may have another UID.
    Exists(&'a PersistentVolumeClaim),
    /// There is none.
    Absent,
}

/// The next write that brings the volume nearer to what it should be.
pub fn next_for_volume(volume: &PersistentVolume, claim: ClaimFact<'_>, now: jiff::Timestamp) -> Next {
    if let Some(volume) = with_finalizer_of_policy(volume) {
        return Next::step(Step::Volume(Box::new(volume)));
    }
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let Some(uid) = reference.and_then(|reference| reference.uid.as_ref()).filter(|uid| !uid.is_empty()) else {
        return if is_deleted_before_use(volume) { Next::step(Step::Reclaim) } else { phase(volume, "Available", now) };
    };
    let claim = match claim {
        ClaimFact::Exists(claim) if claim.metadata.uid.as_ref() == Some(uid) => claim,
        ClaimFact::Exists(_) | ClaimFact::Absent => return released(volume, now),
    };
    match volume_name(claim) {
        // The claim's side of the binding is still to be written.
        None => Next::NOTHING,
        Some(name) if Some(name) == volume.metadata.name.as_deref() => phase(volume, "Bound", now),
        Some(_) => let_go(volume, now),
    }
}

/// Whether the directory of a released volume may be removed: its claim is gone for good, and no pod
/// that could have been using it still exists.
///
/// Protection has normally seen to that; this also holds when somebody tore the finalizer off. A pod on
/// a node that names the claim was using this directory unless a claim of the same name, made before the
/// pod, has taken its place. `pods` are those of the claim's namespace and `namesake` is the claim of the
/// same name, both read live.
pub fn may_remove_directory<'a>(
    volume: &PersistentVolume,
    namesake: Option<&PersistentVolumeClaim>,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let Some(uid) = reference.uid.as_ref().filter(|uid| !uid.is_empty()) else { return false };
    if namesake.is_some_and(|claim| claim.metadata.uid.as_ref() == Some(uid)) {
        return false;
    }
    let name = reference.name.as_deref().unwrap_or_default();
    let replaced_at = namesake.and_then(|claim| claim.metadata.creation_timestamp.as_ref());
    !pods.into_iter().any(|pod| {
        let on_node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some_and(|node| !node.is_empty());
        let newer = match (replaced_at, &pod.metadata.creation_timestamp) {
            (Some(claim), Some(pod)) => pod.0 >= claim.0,
            (None, _) | (_, None) => false,
        };
        on_node && !newer && claims_of(pod).iter().any(|claim| claim == name)
    })
}

/// Where a local volume of ours keeps its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDirectory {
    /// The node's host name.
    pub host: String,
    /// The UID of the claim it was made for, which names the directory.
    pub claim_uid: String,
    /// The claim's namespace.
    pub namespace: String,
}

/// The directory of a volume, if it is one that [`super::provision`] made for the claim it names. On a
/// simulated node there is none.
pub fn local_directory(volume: &PersistentVolume) -> Option<LocalDirectory> {
    let spec = volume.spec.as_ref().filter(|spec| spec.local.is_some())?;
    let reference = spec.claim_ref.as_ref()?;
    let claim_uid = reference.uid.clone().filter(|uid| !uid.is_empty())?;
    let made_for_it = volume.metadata.name.as_deref() == Some(&super::provision::volume_name_of(&claim_uid));
    let term = spec.node_affinity.as_ref()?.required.as_ref()?.node_selector_terms.first()?;
    let requirement = term.match_expressions.as_ref()?.iter().find(|requirement| requirement.key == HOSTNAME_LABEL)?;
    let host = requirement.values.as_ref()?.first()?.clone();
    let namespace = reference.namespace.clone().unwrap_or_default();
    let simulated = has_annotation(&volume.metadata, SIMULATED_LABEL);
    (is_ours(volume) && made_for_it && !simulated).then_some(LocalDirectory { host, claim_uid, namespace })
}

/// The volume without the finalizers that waited for its storage to go.
pub fn without_storage(volume: &PersistentVolume) -> PersistentVolume {
    let mut volume = volume.clone();
    if let Some(finalizers) = &mut volume.metadata.finalizers {
        finalizers.retain(|held| held != PROVISIONER_FINALIZER && held != VOLUME_PROTECTION_FINALIZER);
    }
    volume
}

fn released(volume: &PersistentVolume, now: jiff::Timestamp) -> Next {
    match volume_phase(volume) {
        "Released" | "Failed" => {}
        _ => return phase(volume, "Released", now),
    }
    if is_to_be_deleted(volume) && is_ours(volume) { Next::step(Step::Reclaim) } else { Next::NOTHING }
}

/// The volume's claim went to another volume (contract 6.8).
fn let_go(volume: &PersistentVolume, now: jiff::Timestamp) -> Next {
    if has_annotation(&volume.metadata, PROVISIONED_BY_ANNOTATION) && is_to_be_deleted(volume) {
        return released(volume, now);
    }
    let mut volume = volume.clone();
    let spec = volume.spec.get_or_insert_default();
    if has_annotation(&volume.metadata, BOUND_BY_CONTROLLER_ANNOTATION) {
        spec.claim_ref = None;
        volume.metadata.annotations.get_or_insert_default().remove(BOUND_BY_CONTROLLER_ANNOTATION);
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
        reference.resource_version = None;
    }
    Next::step(Step::Volume(Box::new(volume)))
}

/// The provisioner's finalizer follows the policy: a volume to be retained must be free to go when its
/// object is deleted, one to be deleted must not go before its directory.
fn with_finalizer_of_policy(volume: &PersistentVolume) -> Option<PersistentVolume> {
    let held = has_finalizer(&volume.metadata, PROVISIONER_FINALIZER);
    let wanted = is_ours(volume) && is_to_be_deleted(volume);
    let deleting = volume.metadata.deletion_timestamp.is_some();
    if held == wanted || !is_ours(volume) || (wanted && deleting) {
        return None;
    }
    let mut volume = volume.clone();
    let finalizers = volume.metadata.finalizers.get_or_insert_default();
    if wanted {
        finalizers.push(PROVISIONER_FINALIZER.to_owned());
    } else {
        finalizers.retain(|finalizer| finalizer != PROVISIONER_FINALIZER);
    }
    Some(volume)
}

fn is_to_be_deleted(volume: &PersistentVolume) -> bool {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy == Some("Delete")
}

/// Someone deleted a volume of ours that names no claim: only its finalizer holds it.
fn is_deleted_before_use(volume: &PersistentVolume) -> bool {
    volume.metadata.deletion_timestamp.is_some()
        && is_ours(volume)
        && has_finalizer(&volume.metadata, PROVISIONER_FINALIZER)
}

fn is_ours(volume: &PersistentVolume) -> bool {
    let by = volume.metadata.annotations.as_ref().and_then(|annotations| annotations.get(PROVISIONED_BY_ANNOTATION));
    by.is_some_and(|by| by == LOCAL_PROVISIONER)
}

fn phase(volume: &PersistentVolume, phase: &str, now: jiff::Timestamp) -> Next {
    if volume_phase(volume) == phase {
        return Next::NOTHING;
    }
    Next::step(Step::VolumeStatus(Box::new(with_phase(volume, phase, now))))
}
