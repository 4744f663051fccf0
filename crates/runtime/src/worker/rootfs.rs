//! A container's root file system: image layers under an overlay, refused where it could trick the
//! mounts that follow.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::{env, fs};

use pathrs::Root;
use rustix::mount::MountFlags;

use super::create_error;
use crate::layout::ROOT;
use crate::types::{BindMount, ContainerSpec, RuntimeError};

/// Where a mount must not be led away by a link the image brought.
const NEVER_LINKS: [&str; 3] = ["dev", "proc", "sys"];

/// Mounts the overlay of `spec` in a container's directory. Its root's path.
pub(super) fn mount(dir: &Path, spec: &ContainerSpec) -> Result<PathBuf, RuntimeError> {
    let root = dir.join(ROOT);
    let layers = dir.join("layers");
    for made in [&root, &layers, &dir.join("upper"), &dir.join("work")] {
        fs::create_dir_all(made).map_err(create_error("failed to make a directory for the root"))?;
    }
    // mount(2) takes one page of options, and a deep image has more path than that: short links, and
    // names relative to where this process stands.
    for (index, layer) in spec.rootfs.layers.iter().enumerate() {
        symlink(layer, layers.join(index.to_string())).map_err(create_error("failed to link a layer"))?;
    }
    let lower = (0..spec.rootfs.layers.len()).rev().map(|index| index.to_string()).collect::<Vec<_>>().join(":");
    // What a container writes into its root ends with it, also when the machine crashes, so nothing is
    // gained by the file system's sync that unmounting would otherwise wait for.
    let options = format!("lowerdir={lower},upperdir=../upper,workdir=../work,volatile");
    let back = env::current_dir().map_err(create_error("failed to find the working directory"))?;
    env::set_current_dir(&layers).map_err(create_error("failed to enter the layers' directory"))?;
    let options = std::ffi::CString::new(options).map_err(|e| create_error("overlay options")(e.into()))?;
    let mounted = rustix::mount::mount("overlay", &root, "overlay", MountFlags::empty(), &*options);
    env::set_current_dir(back).map_err(create_error("failed to leave the layers' directory"))?;
    mounted.map_err(|e| create_error("failed to mount the root file system")(e.into()))?;
    Ok(root)
}

/// Refuses an image whose mount points are links: what is mounted there would land elsewhere.
pub(super) fn refuse_links(root: &Path) -> Result<(), RuntimeError> {
    for name in NEVER_LINKS {
        match fs::symlink_metadata(root.join(name)) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(RuntimeError::Create(format!("image refused: /{name} is not a directory")));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(create_error("failed to check the image")(e)),
        }
    }
    Ok(())
}

/// Makes the working directory if it is missing, in the root or in the volume that will cover it.
pub(super) fn make_working_directory(root: &Path, spec: &ContainerSpec) -> Result<(), RuntimeError> {
    let failed = |e: pathrs::error::Error| {
        RuntimeError::Create(format!("failed to make the working directory {}: {e}", spec.cwd.display()))
    };
    let (base, below) = match covering_volume(&spec.mounts, &spec.cwd) {
        Some((volume, _)) if volume.readonly || !volume.source.is_dir() => return Ok(()),
        Some((volume, below)) => (volume.source.as_path(), below),
        None => (root, spec.cwd.as_path()),
    };
    let base = Root::open(base).map_err(failed)?;
    // Existing directories are left as they are, and links resolve inside the root.
    if base.resolve(below).is_err() {
        base.mkdir_all(below, &Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

/// The volume a path of the container lies in, and the path below it.
fn covering_volume<'a>(mounts: &'a [BindMount], path: &'a Path) -> Option<(&'a BindMount, &'a Path)> {
    let covering = mounts.iter().filter_map(|mount| Some((mount, path.strip_prefix(&mount.destination).ok()?)));
    covering.max_by_key(|(mount, _)| mount.destination.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Propagation;

    #[test]
    fn links_at_mount_points_are_refused() {
        for name in NEVER_LINKS {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("etc")).unwrap();
            assert_eq!(refuse_links(root.path()), Ok(()));
            symlink("/etc", root.path().join(name)).unwrap();
            let error = refuse_links(root.path()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("failed to create container: image refused: /{name} is not a directory")
            );
        }
    }

    #[test]
    fn the_innermost_volume_covers_a_path() {
        let volume = |destination: &str| BindMount {
            source: "/v".into(),
            destination: destination.into(),
            readonly: false,
            propagation: Propagation::Private,
        };
        let mounts = [volume("/data"), volume("/data/deep")];
        let (covering, below) = covering_volume(&mounts, Path::new("/data/deep/er")).unwrap();
        assert_eq!((covering.destination.as_path(), below), (Path::new("/data/deep"), Path::new("er")));
        assert!(covering_volume(&mounts, Path::new("/database")).is_none());
    }

    #[test]
    fn a_link_cannot_lead_the_working_directory_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("trap")).unwrap();
        let mut spec = crate::testing::container_spec("c");
        spec.cwd = "/trap/work".into();
        let result = make_working_directory(root.path(), &spec);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{result:?}");
    }
}
