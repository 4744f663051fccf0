//! The volumes of one pod on this node: set up before its containers start, taken away when it is
//! gone. Data of claims is never touched here; it belongs to the claim, not to the pod.

mod atomic;
mod content;
mod group;
mod lock;
mod sub_path;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use rustix::mount::{MountFlags, UnmountFlags};
use stead_api::amount::Amount;

use crate::env::{PodFacts, Sources};

pub use content::ContentError;
pub use lock::LockError;
pub use sub_path::show;

/// Where in a pod's directory it is noted which claims it may hold: links to their volumes.
const CLAIMS: &str = "claims";

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

/// Where each of the pod's volumes is on the node.
pub type Paths = BTreeMap<String, PathBuf>;

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
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

/// Brings the volumes whose content comes from the API up to date; the others are left alone. Blocking.
pub fn refresh(
    pod: &Pod,
    pod_dir: &Path,
    facts: &PodFacts,
    sources: &impl VolumeSources,
) -> Result<(), (String, VolumeError)> {
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let own = volume.host_path.is_some() || volume.persistent_volume_claim.is_some() || volume.empty_dir.is_some();
        if !own {
            one(pod, pod_dir, volume, facts, sources).map_err(|error| (volume.name.clone(), error))?;
        }
    }
    Ok(())
}

/// Takes away what [`set_up`] made for the pod with this UID; claims keep their data and lose their lock.
/// Needs nothing but what is on disk: claim and volume may be gone from the API by then. Blocking.
pub fn tear_down(uid: &str, pod_dir: &Path) -> Result<(), VolumeError> {
    for mount in mounts_below(pod_dir).map_err(io("read mounts"))? {
        rustix::mount::unmount(&mount, UnmountFlags::DETACH).map_err(|error| VolumeError::Io {
            action: format!("unmount {}", mount.display()),
            source: error.into(),
        })?;
    }
    remove(&pod_dir.join(sub_path::DIR))?;
    remove(&pod_dir.join("volumes"))?;
    give_back(uid, &pod_dir.join(CLAIMS))
}

fn remove(dir: &Path) -> Result<(), VolumeError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(format!("remove {}", dir.display()))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Takes a claim's volume for the pod, noting first, as a link in the pod's directory, that it may have it.
fn take(pod: &Pod, claims: &Path, name: &str, volume: &Path) -> Result<(), VolumeError> {
    std::fs::create_dir_all(claims).map_err(io(format!("create {}", claims.display())))?;
    let note = claims.join(name);
    match std::os::unix::fs::symlink(volume, &note) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io(format!("create {}", note.display()))(error));
        }
        Ok(()) | Err(_) => {}
    }
    Ok(lock::acquire(volume, pod)?)
}

/// Gives back every claim that was noted.
fn give_back(uid: &str, claims: &Path) -> Result<(), VolumeError> {
    let failed = || io(format!("read {}", claims.display()));
    let notes = match std::fs::read_dir(claims) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        notes => notes.map_err(failed())?,
    };
    for note in notes {
        let note = note.map_err(failed())?.path();
        lock::release(&std::fs::read_link(&note).map_err(failed())?, uid)?;
        std::fs::remove_file(&note).map_err(failed())?;
    }
    Ok(())
}

/// Mounts at or below a directory, innermost first.
fn mounts_below(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points =
        table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(point.replace("\\040", " ")));
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(below)
}

fn one(
    pod: &Pod,
    pod_dir: &Path,
    volume: &Volume,
    facts: &PodFacts,
    sources: &impl VolumeSources,
) -> Result<PathBuf, VolumeError> {
    if let Some(host) = &volume.host_path {
        check_host_path(&host.path, host.type_.as_deref().unwrap_or_default())?;
        return Ok(PathBuf::from(&host.path));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let path = claim_path(&claim.claim_name, sources)?;
        if !path.is_dir() {
            return Err(VolumeError::Claim(format!("path {} does not exist", path.display())));
        }
        take(pod, &pod_dir.join(CLAIMS), &volume.name, &path)?;
        group::apply(pod, &path)?;
        return Ok(path);
    }
    let dir = pod_dir.join("volumes").join(kind_of(volume)?).join(&volume.name);
    std::fs::create_dir_all(&dir).map_err(io(format!("create {}", dir.display())))?;
    if let Some(empty) = &volume.empty_dir {
        if empty.medium.as_deref() == Some("Memory") {
            mount_tmpfs(&dir, empty.size_limit.as_ref().map(Amount::of).map(Amount::units))?;
        }
        set_mode(&dir, 0o777)?;
    } else {
        if volume.config_map.is_none() {
            mount_tmpfs(&dir, None)?;
        }
        let files = content::render(pod, volume, facts, sources)?;
        atomic::write(&dir, &files).map_err(io(format!("write {}", dir.display())))?;
    }
    group::apply(pod, &dir)?;
    Ok(dir)
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

fn claim_path(name: &str, sources: &impl VolumeSources) -> Result<PathBuf, VolumeError> {
    let claim =
        sources.claim(name).ok_or_else(|| VolumeError::Claim(format!("persistentvolumeclaim {name:?} not found")))?;
    let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
    let bound = bound.ok_or_else(|| VolumeError::Claim(format!("persistentvolumeclaim {name:?} is not bound")))?;
    let volume =
        sources.volume(&bound).ok_or_else(|| VolumeError::Claim(format!("persistentvolume {bound:?} not found")))?;
    let owner = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).and_then(|claim| claim.uid.as_ref());
    if owner != claim.metadata.uid.as_ref() {
        return Err(VolumeError::Claim(format!("persistentvolume {bound:?} is bound to another claim")));
    }
    let spec = volume.spec.as_ref();
    let local = spec.and_then(|spec| spec.local.as_ref()).map(|local| &local.path);
    let path = local.or_else(|| spec.and_then(|spec| spec.host_path.as_ref()).map(|host| &host.path));
    path.map(PathBuf::from).ok_or(VolumeError::Unsupported)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(io(format!("chmod {}", path.display())))
}

fn mount_tmpfs(dir: &Path, size_bytes: Option<i64>) -> Result<(), VolumeError> {
    let mounted = mounts_below(dir).map_err(io("read mounts"))?.iter().any(|mount| mount == dir);
    if mounted {
        return Ok(());
    }
    let options = size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}")).unwrap_or_default();
    let options = std::ffi::CString::new(options).map_err(|error| io("mount tmpfs")(error.into()))?;
    rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .map_err(|error| io(format!("mount tmpfs on {}", dir.display()))(error.into()))
}

fn check_host_path(path: &str, wanted: &str) -> Result<(), VolumeError> {
    use std::os::unix::fs::FileTypeExt;
    let refused = || VolumeError::HostPath { path: path.to_owned(), wanted: wanted.to_owned() };
    let found = std::fs::metadata(path).ok().map(|meta| meta.file_type());
    let holds = match wanted {
        "" => true,
        "DirectoryOrCreate" if found.is_none() => {
            std::fs::create_dir_all(path).map_err(io(format!("create {path}")))?;
            set_mode(Path::new(path), 0o755)?;
            true
        }
        "FileOrCreate" if found.is_none() => {
            std::fs::write(path, []).map_err(io(format!("create {path}")))?;
            set_mode(Path::new(path), 0o644)?;
            true
        }
        "Directory" | "DirectoryOrCreate" => found.is_some_and(|kind| kind.is_dir()),
        "File" | "FileOrCreate" => found.is_some_and(|kind| kind.is_file()),
        "Socket" => found.is_some_and(|kind| kind.is_socket()),
        "CharDevice" => found.is_some_and(|kind| kind.is_char_device()),
        "BlockDevice" => found.is_some_and(|kind| kind.is_block_device()),
        _ => false,
    };
    if holds { Ok(()) } else { Err(refused()) }
}
