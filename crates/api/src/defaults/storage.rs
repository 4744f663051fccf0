//! Defaults of persistent volumes, claims and storage classes (contract 8).

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{fill, quantities, volumes};

/// A PersistentVolume.
pub fn persistent_volume(volume: &mut PersistentVolume) {
    let spec = volume.spec.get_or_insert_default();
    fill(&mut spec.persistent_volume_reclaim_policy, "Retain");
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    quantities::resources(&mut spec.capacity);
    spec.host_path.iter_mut().for_each(volumes::host_path);
    spec.azure_disk.iter_mut().for_each(volumes::azure_disk);
    if let Some(source) = &mut spec.iscsi {
        fill(&mut source.iscsi_interface, "default");
    }
    if let Some(source) = &mut spec.rbd {
        fill(&mut source.pool, "rbd");
        fill(&mut source.user, "admin");
        fill(&mut source.keyring, "/etc/ceph/keyring");
    }
    if let Some(source) = &mut spec.scale_io {
        fill(&mut source.storage_mode, "ThinProvisioned");
        fill(&mut source.fs_type, "xfs");
    }
    fill(&mut volume.status.get_or_insert_default().phase, "Pending");
}

/// A PersistentVolumeClaim, alone or as a template of a StatefulSet.
pub fn persistent_volume_claim(claim: &mut PersistentVolumeClaim) {
    claim_spec(claim.spec.get_or_insert_default());
    let status = claim.status.get_or_insert_default();
    fill(&mut status.phase, "Pending");
    quantities::resources(&mut status.capacity);
    quantities::resources(&mut status.allocated_resources);
}

/// The spec of a claim, also inside an ephemeral volume.
pub(super) fn claim_spec(spec: &mut PersistentVolumeClaimSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    spec.resources.get_or_insert_default();
    quantities::volume_requirements(&mut spec.resources);
    mirror_data_source(spec);
}

/// Keeps the old and the new way of naming a data source in step. A reference into another
/// namespace is a feature that is off, so it is dropped, as is a source of a kind that means nothing.
fn mirror_data_source(spec: &mut PersistentVolumeClaimSpec) {
    if spec.data_source_ref.as_ref().is_some_and(|source| source.namespace.as_deref().is_some_and(|ns| !ns.is_empty()))
    {
        spec.data_source_ref = None;
    }
    if spec.data_source_ref.is_none() && spec.data_source.as_ref().is_some_and(|source| !is_volume_source(source)) {
        spec.data_source = None;
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(old), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: old.api_group.clone(),
                kind: old.kind.clone(),
                name: old.name.clone(),
                namespace: None,
            });
        }
        (None, Some(new)) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: new.api_group.clone(),
                kind: new.kind.clone(),
                name: new.name.clone(),
            });
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}

fn is_volume_source(source: &TypedLocalObjectReference) -> bool {
    matches!(
        (source.api_group.as_deref().unwrap_or_default(), source.kind.as_str()),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// A StorageClass.
pub fn storage_class(class: &mut StorageClass) {
    class.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
    class.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
}
