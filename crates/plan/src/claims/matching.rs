//! Which volume suits a claim, and which class is the default one (contract 6.2, 6.10).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use stead_api::amount::Amount;

use super::{class_of_claim, class_of_volume, names_claim, volume_phase};
use crate::labels;
use crate::scheduler::node_selector;

const DEFAULT_CLASS_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// For whom a match is sought.
#[derive(Clone, Copy)]
pub enum Seeker<'a> {
    /// The binder. `only_named`: the claim waits for its consumer, so only a volume that names it counts.
    Binder {
        /// Whether volumes that do not name the claim are out of the question.
        only_named: bool,
    },
    /// The scheduler, for a pod on this node.
    Scheduler(&'a Node),
}

/// The volume to bind the claim to: the one that names it, or else the one with the fewest unneeded
/// access modes and then the smallest.
pub fn best_match<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    seeker: Seeker<'_>,
) -> Option<&'a Arc<PersistentVolume>> {
    let reachable = |volume: &PersistentVolume| match seeker {
        Seeker::Binder { .. } => true,
        Seeker::Scheduler(node) => node_selector::volume_reaches(volume, node),
    };
    let large_enough = volumes.iter().filter(|volume| {
        let free = volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none());
        (free || names_claim(volume, claim))
            && capacity(volume) >= request(claim)
            && mode_of_volume(volume) == mode_of_claim(claim)
            && volume.metadata.deletion_timestamp.is_none()
    });
    let (named, others): (Vec<_>, Vec<_>) = large_enough.partition(|volume| names_claim(volume, claim));
    if let Some(volume) = named.first() {
        return reachable(volume).then_some(*volume);
    }
    if matches!(seeker, Seeker::Binder { only_named: true }) {
        return None;
    }
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let suitable = others.into_iter().filter(|volume| {
        volume_phase(volume) == "Available"
            && selector.is_none_or(|selector| labels::matches(selector, volume.metadata.labels.as_ref()))
            && class_of_volume(volume) == class_of_claim(claim)
            && attributes_class(claim) == volume_attributes_class(volume)
            && offers_modes(volume, claim)
            && reachable(volume)
    });
    suitable.min_by_key(|volume| (access_modes(volume).len(), capacity(volume), volume.metadata.name.clone()))
}

/// Why a volume the claim asks for by name cannot serve it (contract 6.4).
pub fn mismatch(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<&'static str> {
    if capacity(volume) < request(claim) {
        Some("requested PV is too small")
    } else if class_of_volume(volume) != class_of_claim(claim) {
        Some("storageClassName does not match")
    } else if attributes_class(claim) != volume_attributes_class(volume) {
        Some("volumeAttributesClassName does not match")
    } else if mode_of_volume(volume) != mode_of_claim(claim) {
        Some("incompatible volumeMode")
    } else if !offers_modes(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// The default class: the newest of those so marked, ties by name (contract 6.10).
pub fn default_class(classes: &[Arc<StorageClass>]) -> Option<&Arc<StorageClass>> {
    let marked = classes.iter().filter(|class| {
        let annotations = class.metadata.annotations.as_ref();
        let is_true = |key: &&str| annotations.and_then(|a| a.get(*key)).is_some_and(|value| value == "true");
        DEFAULT_CLASS_ANNOTATIONS.iter().any(is_true)
    });
    let created = |class: &StorageClass| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
    marked.max_by(|a, b| created(a).cmp(&created(b)).then_with(|| b.metadata.name.cmp(&a.metadata.name)))
}

fn capacity(volume: &PersistentVolume) -> Amount {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    capacity.map(Amount::of).unwrap_or_default()
}

fn request(claim: &PersistentVolumeClaim) -> Amount {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map(Amount::of).unwrap_or_default()
}

fn access_modes(volume: &PersistentVolume) -> &[String] {
    volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default()
}

fn offers_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().all(|mode| access_modes(volume).contains(mode))
}

fn mode_of_volume(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem")
}

fn mode_of_claim(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem")
}

fn attributes_class(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()).unwrap_or_default()
}

fn volume_attributes_class(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()).unwrap_or_default()
}
