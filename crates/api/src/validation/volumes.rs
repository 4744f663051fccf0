//! The volumes of a pod (contract 4.4, Volumes). Projections are in `projections`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{HostPathVolumeSource, ISCSIVolumeSource, NFSVolumeSource, Volume};

use super::path::Path;
use super::pod_spec::{PodContext, optional_choice};
use super::{claims, mounts, names, projections};
use crate::amount::Amount;
use crate::errors::{FieldError, FieldErrors};

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const DRIVER_MAX: usize = 63;

/// Checks the volumes and gives back the sound ones by name, for the mounts to refer to.
pub(super) fn volumes<'a>(
    errors: &mut FieldErrors,
    path: &Path,
    context: &PodContext<'a>,
) -> BTreeMap<&'a str, &'a Volume> {
    let mut sound = BTreeMap::new();
    for (index, volume) in context.spec.volumes.iter().flatten().enumerate() {
        let at = path.index(index);
        let mut own = FieldErrors::default();
        source(&mut own, &at, volume, context);
        match volume.name.as_str() {
            "" => own.push(FieldError::required(at.child("name"), "")),
            name if sound.contains_key(name) => own.push(FieldError::duplicate(at.child("name"), name)),
            name => names::check(&mut own, &at.child("name"), name, names::label),
        }
        if own.is_empty() {
            sound.insert(volume.name.as_str(), volume);
        }
        errors.extend(own);
    }
    generated_claims(errors, path, context);
    sound
}

/// The names of all sources as the wire has them, with whether each is set, in the order they are
/// looked at.
fn sources(volume: &Volume) -> [(&'static str, bool); 30] {
    [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephFS", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwarAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("projected", volume.projected.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ]
}

fn source(errors: &mut FieldErrors, path: &Path, volume: &Volume, context: &PodContext<'_>) {
    let set: Vec<&str> = sources(volume).into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    match set.as_slice() {
        [] => errors.push(FieldError::required(path, "must specify a volume type")),
        [_] => {}
        [_, others @ ..] => {
            for other in others {
                let path = path.child(other);
                errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
            }
            return;
        }
    }
    local_sources(errors, path, volume);
    remote_sources(errors, path, volume);
    projections::sources(errors, path, volume, context);
    if let Some(image) = &volume.image
        && !context.is_template()
        && image.reference.as_deref().unwrap_or_default().is_empty()
    {
        errors.push(FieldError::required(path.child("image").child("reference"), ""));
    }
    if let Some(ephemeral) = &volume.ephemeral {
        claims::ephemeral(errors, &path.child("ephemeral"), volume, ephemeral, context);
    }
}

fn local_sources(errors: &mut FieldErrors, path: &Path, volume: &Volume) {
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_ref())
        && Amount::parse(&limit.0).is_none_or(|limit| limit < Amount::ZERO)
    {
        let path = path.child("emptyDir").child("sizeLimit");
        errors.push(FieldError::forbidden(path, "SizeLimit field must be a valid resource quantity"));
    }
    if let Some(source) = &volume.host_path {
        host_path(errors, &path.child("hostPath"), source);
    }
    if let Some(source) = &volume.git_repo
        && source.repository.is_empty()
    {
        errors.push(FieldError::required(path.child("gitRepo").child("repository"), ""));
    }
}

fn remote_sources(errors: &mut FieldErrors, path: &Path, volume: &Volume) {
    if let Some(source) = &volume.persistent_volume_claim
        && source.claim_name.is_empty()
    {
        errors.push(FieldError::required(path.child("persistentVolumeClaim").child("claimName"), ""));
    }
    if let Some(source) = &volume.nfs {
        nfs(errors, &path.child("nfs"), source);
    }
    if let Some(source) = &volume.iscsi {
        iscsi(errors, &path.child("iscsi"), source);
    }
    if let Some(source) = &volume.csi {
        let path = path.child("csi");
        csi_driver(errors, &path.child("driver"), &source.driver);
        if let Some(reference) = &source.node_publish_secret_ref
            && reference.name.is_empty()
        {
            errors.push(FieldError::required(path.child("nodePublishSecretRef").child("name"), ""));
        }
    }
    if let Some(source) = &volume.rbd {
        let path = path.child("rbd");
        require(errors, &path.child("monitors"), source.monitors.is_empty());
        require(errors, &path.child("image"), source.image.is_empty());
    }
    if let Some(source) = &volume.cephfs {
        require(errors, &path.child("cephfs").child("monitors"), source.monitors.is_empty());
    }
    if let Some(source) = &volume.azure_disk {
        let path = path.child("azureDisk");
        require(errors, &path.child("diskName"), source.disk_name.is_empty());
        require(errors, &path.child("diskURI"), source.disk_uri.is_empty());
    }
}

/// A field that must not be empty.
pub(super) fn require(errors: &mut FieldErrors, path: &Path, missing: bool) {
    if missing {
        errors.push(FieldError::required(path, ""));
    }
}

/// A directory or file of the node.
pub(super) fn host_path(errors: &mut FieldErrors, path: &Path, source: &HostPathVolumeSource) {
    if source.path.is_empty() {
        errors.push(FieldError::required(path.child("path"), ""));
        return;
    }
    mounts::no_backsteps(errors, &path.child("path"), &source.path);
    optional_choice(errors, &path.child("type"), source.type_.as_deref(), HOST_PATH_TYPES);
}

/// An exported directory.
pub(super) fn nfs(errors: &mut FieldErrors, path: &Path, source: &NFSVolumeSource) {
    require(errors, &path.child("server"), source.server.is_empty());
    require(errors, &path.child("path"), source.path.is_empty());
    if !source.path.is_empty() && !source.path.starts_with('/') {
        errors.push(FieldError::invalid(path.child("path"), &source.path, "must be an absolute path"));
    }
}

fn iscsi(errors: &mut FieldErrors, path: &Path, source: &ISCSIVolumeSource) {
    require(errors, &path.child("targetPortal"), source.target_portal.is_empty());
    if source.iqn.is_empty() {
        errors.push(FieldError::required(path.child("iqn"), ""));
    } else if !["iqn", "eui", "naa"].iter().any(|prefix| source.iqn.starts_with(prefix)) {
        let detail = "must be valid format starting with iqn, eui, or naa";
        errors.push(FieldError::invalid(path.child("iqn"), &source.iqn, detail));
    }
    if !(0..=255).contains(&source.lun) {
        let detail = "must be between 0 and 255, inclusive";
        errors.push(FieldError::invalid(path.child("lun"), source.lun, detail));
    }
}

/// The name of a CSI driver.
pub(super) fn csi_driver(errors: &mut FieldErrors, path: &Path, driver: &str) {
    if driver.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if driver.len() > DRIVER_MAX {
        errors.push(FieldError::too_long(path, DRIVER_MAX));
    }
    for message in names::subdomain(&driver.to_lowercase()) {
        errors.push(FieldError::invalid(path, driver, message));
    }
}

/// A claim made for an ephemeral volume of this pod may not be used under another volume too.
fn generated_claims(errors: &mut FieldErrors, path: &Path, context: &PodContext<'_>) {
    let Some(pod) = context.pod_name.filter(|name| !name.is_empty()) else { return };
    let volumes = context.spec.volumes.as_deref().unwrap_or_default();
    let generated: Vec<String> = volumes
        .iter()
        .filter(|volume| volume.ephemeral.is_some())
        .map(|volume| format!("{pod}-{}", volume.name))
        .collect();
    for (index, volume) in volumes.iter().enumerate() {
        let Some(source) = &volume.persistent_volume_claim else { continue };
        if generated.contains(&source.claim_name) {
            let path = path.index(index).child("persistentVolumeClaim").child("claimName");
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(path, &source.claim_name, detail));
        }
    }
}
