//! The volumes of one pod on this node: set up before its containers start, taken away when it is
//! gone. Data of claims is never touched here; it belongs to the claim, not to the pod.

mod atomic;
mod claims;
mod content;
mod group;
mod host_path;
mod lock;
mod once;
mod sub_path;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use rustix::mount::MountFlags;
use stead_api::amount::Amount;
use stead_disk::mounts;

use crate::env::{PodFacts, Sources};
use once::Once;

pub use content::ContentError;
pub use lock::LockError;
pub use sub_path::show;

/// Lookups that volumes need beyond those of the environment.
pub trait VolumeSources: Sources {
    /// A claim of the pod's namespace.
    fn claim(&self, name: &str) -> Option<std::sync::Arc<PersistentVolumeClaim>>;
    /// A volume by name.
    fn volume(&self, name: &str) -> Option<std::sync::Arc<PersistentVolume>>;
}

/// Why a volume could not be set up; the text follows `MountVolume.SetUp failed for volume "v" : `.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A ConfigMap, Secret or field is missing.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The claim is not there or not bound to a volume of this node.
    #[error("{0}")]
    Claim(String),
    /// Another incarnation of the pod still holds the claim.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The path on the node is not of the declared type.
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    HostPath {
        /// Path on the node.
        path: String,
        /// Declared type.
        wanted: String,
    },
    /// A kind of volume this agent does not have.
    #[error("volume type is not supported by this node")]
    Unsupported,
    /// The operating system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> VolumeError {
    let action = action.into();
    move |source| VolumeError::Io { action, source }
}

/// Where a volume is on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its directory, or the file that a path of the node names.
    pub path: PathBuf,
    /// No container may write to it, whatever its mount says.
    pub read_only: bool,
}

/// The pod's volumes by name.
pub type Paths = BTreeMap<String, Place>;

/// Sets every volume up, or brings what is set up already up to date. Blocking.
pub fn set_up(
    pod: &Pod,
    pod_dir: &Path,
    facts: &PodFacts,
    sources: &impl VolumeSources,
) -> Result<Paths, (String, VolumeError)> {
    let mut paths = Paths::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let path = one(pod, pod_dir, volume, facts, sources).map_err(|error| (volume.name.clone(), error))?;
        paths.insert(volume.name.clone(), Place { path, read_only: is_read_only(volume) });
    }
    Ok(paths)
}

/// Volumes made from the API are the agent's to write; a claim may be asked for to be read only.
fn is_read_only(volume: &Volume) -> bool {
    is_from_api(volume) || volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true))
}

fn is_from_api(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// Brings the volumes whose content comes from the API up to date; the others are left alone. Blocking.
pub fn refresh(
    pod: &Pod,
    pod_dir: &Path,
    facts: &PodFacts,
    sources: &impl VolumeSources,
) -> Result<(), (String, VolumeError)> {
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        if is_from_api(volume) {
            one(pod, pod_dir, volume, facts, sources).map_err(|error| (volume.name.clone(), error))?;
        }
    }
    Ok(())
}

/// Takes away what [`set_up`] made for the pod with this UID; claims keep their data and lose their lock.
/// Needs nothing but what is on disk: claim and volume may be gone from the API by then. Blocking.
pub fn tear_down(uid: &str, pod_dir: &Path) -> Result<(), VolumeError> {
    mounts::unmount_below(pod_dir, |_| false).map_err(io(format!("unmount what is in {}", pod_dir.display())))?;
    for part in [sub_path::DIR, once::DIR, "volumes"] {
        let dir = pod_dir.join(part);
        // Never into what is still mounted: it may be a claim's data.
        stead_disk::remove_tree(&dir).map_err(io(format!("remove {}", dir.display())))?;
    }
    claims::give_back(uid, pod_dir)
}

fn one(
    pod: &Pod,
    pod_dir: &Path,
    volume: &Volume,
    facts: &PodFacts,
    sources: &impl VolumeSources,
) -> Result<PathBuf, VolumeError> {
    if let Some(host) = &volume.host_path {
        host_path::check(&host.path, host.type_.as_deref().unwrap_or_default())?;
        return Ok(PathBuf::from(&host.path));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return claims::set_up(pod, pod_dir, volume, claim, sources);
    }
    let dir = pod_dir.join("volumes").join(kind_of(volume)?).join(&volume.name);
    std::fs::create_dir_all(&dir).map_err(io(format!("create {}", dir.display())))?;
    if let Some(empty) = &volume.empty_dir {
        set_up_empty(pod, pod_dir, &volume.name, empty, &dir)?;
        return Ok(dir);
    }
    if volume.config_map.is_none() {
        mount_tmpfs(&dir, None)?;
    }
    let files = content::render(pod, volume, facts, sources)?;
    atomic::write(&dir, &files, group::of(pod)).map_err(io(format!("write {}", dir.display())))?;
    Ok(dir)
}

fn set_up_empty(
    pod: &Pod,
    pod_dir: &Path,
    name: &str,
    empty: &EmptyDirVolumeSource,
    dir: &Path,
) -> Result<(), VolumeError> {
    let once = Once::of(pod_dir, name);
    if empty.medium.as_deref() == Some("Memory")
        && mount_tmpfs(dir, empty.size_limit.as_ref().map(Amount::of).map(Amount::units))?
    {
        once.forget()?;
    }
    once.run(|| {
        set_mode(dir, 0o777)?;
        group::apply(pod, dir)
    })
}

fn kind_of(volume: &Volume) -> Result<&'static str, VolumeError> {
    let kinds = [
        (volume.empty_dir.is_some(), "kubernetes.io~empty-dir"),
        (volume.config_map.is_some(), "kubernetes.io~configmap"),
        (volume.secret.is_some(), "kubernetes.io~secret"),
        (volume.downward_api.is_some(), "kubernetes.io~downward-api"),
        (volume.projected.is_some(), "kubernetes.io~projected"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, name)| name).ok_or(VolumeError::Unsupported)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(io(format!("chmod {}", path.display())))
}

/// Mounts memory at a directory; whether there was none before.
fn mount_tmpfs(dir: &Path, size_bytes: Option<i64>) -> Result<bool, VolumeError> {
    if mounts::is_mounted(dir).map_err(io("read mounts"))? {
        return Ok(false);
    }
    let options = size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}")).unwrap_or_default();
    let options = std::ffi::CString::new(options).map_err(|error| io("mount tmpfs")(error.into()))?;
    rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .map_err(|error| io(format!("mount tmpfs on {}", dir.display()))(error.into()))?;
    Ok(true)
}

#[cfg(test)]
mod tests;
