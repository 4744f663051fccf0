//! A pod's claims: which volume of the node each is, and the notes in the pod's directory by which they
//! are given back when claim and volume may be gone from the API.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, Volume};

use super::once::Once;
use super::{VolumeError, VolumeSources, group, io, lock};

/// Where in a pod's directory it is noted which claims it may hold: links to their volumes.
const NOTES: &str = "claims";

/// A volume of the node that a claim is bound to.
#[derive(Debug, PartialEq, Eq)]
struct Bound {
    path: PathBuf,
    /// Directories of the node that an administrator shows as a volume keep their group (contract `pods.md` 5.10).
    keeps_group: bool,
}

/// Takes the claim's volume for the pod; where it is on the node. A volume that other pods use, or that
/// this one may only read, keeps the group it has.
pub(super) fn set_up(
    pod: &Pod,
    pod_dir: &Path,
    volume: &Volume,
    claim: &PersistentVolumeClaimVolumeSource,
    sources: &impl VolumeSources,
) -> Result<PathBuf, VolumeError> {
    let bound = find(&claim.claim_name, sources)?;
    if !bound.path.is_dir() {
        return Err(VolumeError::Claim(format!("path {} does not exist", bound.path.display())));
    }
    let held = take(pod, &pod_dir.join(NOTES), &volume.name, &bound.path)?;
    if held == lock::Held::Alone && !bound.keeps_group && claim.read_only != Some(true) {
        Once::of(pod_dir, &volume.name).run(|| group::apply(pod, &bound.path))?;
    }
    Ok(bound.path)
}

/// Takes the volume, noting first that the pod may have it.
fn take(pod: &Pod, notes: &Path, name: &str, volume: &Path) -> Result<lock::Held, VolumeError> {
    std::fs::create_dir_all(notes).map_err(io(format!("create {}", notes.display())))?;
    let note = notes.join(name);
    match std::os::unix::fs::symlink(volume, &note) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io(format!("create {}", note.display()))(error));
        }
        Ok(()) | Err(_) => {}
    }
    Ok(lock::acquire(volume, pod)?)
}

/// Gives back every claim that the pod with this UID may have.
pub(super) fn give_back(uid: &str, pod_dir: &Path) -> Result<(), VolumeError> {
    let dir = pod_dir.join(NOTES);
    let failed = || io(format!("read {}", dir.display()));
    let notes = match std::fs::read_dir(&dir) {
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

fn find(name: &str, sources: &impl VolumeSources) -> Result<Bound, VolumeError> {
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
    let local = spec.and_then(|spec| spec.local.as_ref()).map(|local| (&local.path, false));
    let host = spec.and_then(|spec| spec.host_path.as_ref()).map(|host| (&host.path, true));
    let (path, keeps_group) = local.or(host).ok_or(VolumeError::Unsupported)?;
    Ok(Bound { path: path.into(), keeps_group })
}
