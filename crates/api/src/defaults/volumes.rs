//! Defaults of a pod's volumes (contract 4.1).

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, ISCSIVolumeSource,
    ProjectedVolumeSource, RBDVolumeSource, ScaleIOVolumeSource, Volume,
};

use super::{containers, fill, quantities, storage};

/// Permission bits of files the agent writes, 0644.
const FILE_MODE: i32 = 420;
/// Life of a projected service account token.
const TOKEN_LIFE_S: i64 = 3600;

/// One volume of a pod. A volume without a source becomes an empty directory.
pub(super) fn volume(volume: &mut Volume) {
    if *volume == (Volume { name: volume.name.clone(), ..Volume::default() }) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.empty_dir {
        quantities::canonical(&mut source.size_limit);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        source.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(source) = &mut volume.image {
        fill(&mut source.pull_policy, containers::pull_policy(source.reference.as_deref().unwrap_or_default()));
    }
    if let Some(template) = volume.ephemeral.as_mut().and_then(|source| source.volume_claim_template.as_mut()) {
        storage::claim_spec(&mut template.spec);
    }
    volume.projected.iter_mut().for_each(projected);
    volume.host_path.iter_mut().for_each(host_path);
    volume.iscsi.iter_mut().for_each(iscsi);
    volume.rbd.iter_mut().for_each(rbd);
    volume.azure_disk.iter_mut().for_each(azure_disk);
    volume.scale_io.iter_mut().for_each(scale_io);
}

/// A host path always shows its type, if only as an empty text.
pub(super) fn host_path(source: &mut HostPathVolumeSource) {
    source.type_.get_or_insert_default();
}

/// The disk of a cloud, shared by volumes of pods and persistent volumes.
pub(super) fn azure_disk(source: &mut AzureDiskVolumeSource) {
    source.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
    source.fs_type.get_or_insert_with(|| "ext4".to_owned());
    source.read_only.get_or_insert(false);
    source.kind.get_or_insert_with(|| "Shared".to_owned());
}

fn projected(source: &mut ProjectedVolumeSource) {
    source.default_mode.get_or_insert(FILE_MODE);
    for projection in source.sources.iter_mut().flatten() {
        if let Some(token) = &mut projection.service_account_token {
            token.expiration_seconds.get_or_insert(TOKEN_LIFE_S);
        }
        if let Some(downward) = &mut projection.downward_api {
            downward.items.iter_mut().flatten().for_each(downward_file);
        }
    }
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    file.field_ref.iter_mut().for_each(containers::field_ref);
    file.resource_field_ref.iter_mut().for_each(containers::resource_field_ref);
}

fn iscsi(source: &mut ISCSIVolumeSource) {
    fill(&mut source.iscsi_interface, "default");
}

fn rbd(source: &mut RBDVolumeSource) {
    fill(&mut source.pool, "rbd");
    fill(&mut source.user, "admin");
    fill(&mut source.keyring, "/etc/ceph/keyring");
}

fn scale_io(source: &mut ScaleIOVolumeSource) {
    fill(&mut source.storage_mode, "ThinProvisioned");
    fill(&mut source.fs_type, "xfs");
}
