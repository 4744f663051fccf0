//! Showing a part of a volume: a directory or file below it, for a mount with a `subPath` (contract
//! `pods.md` 5.12). What is in the volume belongs to the pod's processes, which may change it at any
//! moment, so every step starts from something held open, no link leads out of the volume, and the
//! container gets a mount of what was found instead of its path.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::VolumeMount;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{VolumeError, io as failed};

/// Where in a pod's directory the parts are mounted.
pub(super) const DIR: &str = "volume-subpaths";

/// The path on the node that the `index`-th mount of a container shows: the volume itself, or a mount in
/// the pod's directory of what is at `sub_path` in it. Directories that are missing are made. Blocking.
pub fn show(
    volume: &Path,
    pod_dir: &Path,
    container: &str,
    index: usize,
    mount: &VolumeMount,
    sub_path: &str,
) -> Result<PathBuf, VolumeError> {
    if sub_path.is_empty() {
        return Ok(volume.to_owned());
    }
    let what = format!("for volumeMount {:?} of container {container:?}", mount.name);
    let found = open(volume, sub_path).map_err(failed(format!("failed to create subPath directory {what}")))?;
    let place = pod_dir.join(DIR).join(&mount.name).join(container).join(index.to_string());
    bind(&found, &place).map_err(failed(format!("failed to prepare subPath {what}")))?;
    Ok(place)
}

/// Opens what is at `sub_path`, making directories that are missing as the volume's root is.
fn open(volume: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(volume, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mode = Mode::from_raw_mode(std::fs::metadata(volume)?.permissions().mode() & 0o7777);
    let look = |path: &Path| {
        rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
    };
    let (mut at, mut found) = (PathBuf::new(), root.try_clone()?);
    for component in Path::new(sub_path).components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        };
        at.push(name);
        found = match look(&at) {
            Err(rustix::io::Errno::NOENT) => {
                make(&found, name, mode)?;
                look(&at)?
            }
            other => other?,
        };
    }
    Ok(found)
}

/// Makes a directory, its mode untouched by the process's own mask. One that is there by now is fine.
fn make(parent: &OwnedFd, name: &std::ffi::OsStr, mode: Mode) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, mode) {
        Err(rustix::io::Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::fchmod(rustix::fs::openat(parent, name, flags, Mode::empty())?, mode)?)
}

/// Mounts what is open on `place`, instead of what an earlier start mounted there.
fn bind(found: &OwnedFd, place: &Path) -> io::Result<()> {
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    if place.symlink_metadata().is_ok() {
        stead_disk::mounts::unmount(place)?;
        if place.is_dir() { std::fs::remove_dir(place)? } else { std::fs::remove_file(place)? }
    }
    if std::fs::metadata(&source)?.is_dir() {
        std::fs::create_dir_all(place)?;
    } else {
        std::fs::create_dir_all(place.parent().unwrap_or(place))?;
        std::fs::File::create(place)?;
    }
    Ok(rustix::mount::mount_bind_recursive(source, place)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_missing_is_made_and_no_link_leads_out_of_the_volume() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let volume = dir.path().join("volume");
        std::fs::create_dir(&volume).expect("made");
        std::fs::write(dir.path().join("secret"), "s").expect("written");
        symlink("..", volume.join("up")).expect("linked");
        symlink("/etc", volume.join("etc")).expect("linked");
        symlink("..data/file", volume.join("file")).expect("linked");
        std::fs::create_dir(volume.join("..data")).expect("made");
        std::fs::write(volume.join("..data/file"), "f").expect("written");
        let read = |found: OwnedFd| std::fs::read_to_string(format!("/proc/self/fd/{}", found.as_raw_fd()));

        open(&volume, "a/./b").expect("made on the way");
        assert!(volume.join("a/b").is_dir());
        assert_eq!(read(open(&volume, "file").expect("a link within")).expect("a file"), "f");
        for refused in ["up/secret", "etc/passwd", "../secret", "/etc"] {
            assert!(open(&volume, refused).is_err(), "{refused}");
        }
        assert!(!dir.path().join("made").exists() && open(&volume, "up/made").is_err());
    }
}
