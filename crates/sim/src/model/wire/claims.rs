//! What claims look like: who holds them, and how large they and their volumes are.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, VolumeResourceRequirements,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_plan::statefulset;
use stead_plan::statefulset::ordinals::pod_name;
use stead_plan::statefulset::render;

use super::super::objects::{Claim, Keeper, Set};
use super::{CLAIM, SET, Wire, annotations, ordinal, reference, stamp, uid_text};

/// The class of every claim.
const CLASS: &str = "standard";

/// A class whose claims can grow.
pub(super) fn class() -> StorageClass {
    let metadata = ObjectMeta { name: Some(CLASS.to_owned()), ..ObjectMeta::default() };
    StorageClass { metadata, allow_volume_expansion: Some(true), ..StorageClass::default() }
}

/// The claim template called `name`.
pub(super) fn template(name: &str, storage: u8) -> PersistentVolumeClaim {
    let spec = PersistentVolumeClaimSpec { resources: Some(asking(storage)), ..PersistentVolumeClaimSpec::default() };
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    PersistentVolumeClaim { metadata, spec: Some(spec), ..PersistentVolumeClaim::default() }
}

fn asking(storage: u8) -> VolumeResourceRequirements {
    VolumeResourceRequirements { requests: Some(amount(storage)), ..VolumeResourceRequirements::default() }
}

fn amount(storage: u8) -> BTreeMap<String, Quantity> {
    BTreeMap::from([("storage".to_owned(), Quantity(format!("{storage}Gi")))])
}

/// The size that `storage` stands for.
pub(super) fn size_of(storage: &str) -> Option<u8> {
    storage.strip_suffix("Gi")?.parse().ok()
}

impl Wire {
    pub(super) fn claim(&self, slot: usize, claim: &Claim) -> PersistentVolumeClaim {
        let mut wire = self.claims[slot].clone();
        stamp(&mut wire.metadata, claim.uid, claim.version, claim.terminating);
        annotations::mark(&mut wire.metadata, claim.reset);
        wire.metadata
            .annotations
            .get_or_insert_default()
            .insert("pv.kubernetes.io/bind-completed".to_owned(), "yes".to_owned());
        let spec = wire.spec.get_or_insert_default();
        spec.storage_class_name = Some(CLASS.to_owned());
        spec.volume_name = Some(format!("volume-{}", claim.uid.0));
        spec.resources = Some(asking(claim.asks));
        wire.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Bound".to_owned()),
            capacity: Some(amount(claim.has)),
            ..PersistentVolumeClaimStatus::default()
        });
        let foreign = claim.foreign.then(|| reference("v1", "ConfigMap", "other", "other".to_owned()));
        let keeper = match claim.keeper {
            Keeper::Nobody => None,
            Keeper::Set(uid) => Some(reference(statefulset::API_VERSION, statefulset::KIND, SET, uid_text(uid))),
            Keeper::Pod(uid) => Some(reference("v1", "Pod", &pod_name(SET, ordinal(slot)), uid_text(uid))),
        };
        let owners: Vec<_> = foreign.into_iter().chain(keeper).collect();
        wire.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
        wire
    }

    /// What a fresh claim of `slot` is like, read off the claim the product renders: its owner, the
    /// generation it is made for, and what it asks for.
    pub(crate) fn first_claim(&self, set: &Set, slot: usize) -> (Keeper, u8, u8) {
        let claim = render::claim(&self.set(set, None), CLAIM, ordinal(slot)).unwrap_or_default();
        let owned = claim.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
        let keeper = if owned { Keeper::Set(set.uid) } else { Keeper::Nobody };
        let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        let asks = requests.and_then(|requests| size_of(&requests.get("storage")?.0)).unwrap_or(0);
        (keeper, annotations::generation(&claim.metadata), asks)
    }
}
