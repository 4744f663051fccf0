//! Undoing what a container or a sandbox left on the node. Every step succeeds when there is nothing
//! left to undo, so a removal that was interrupted is simply done again.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::cgroup::{CgroupError, Cgroups};
use crate::layout::{RECORD, ROOT};
use crate::types::RuntimeError;

/// Unmounts a container's root and deletes its cgroups and directory. Its processes are gone already.
pub(super) fn container(dir: &Path, cgroups: &[PathBuf]) -> Result<(), RuntimeError> {
    unmount(&dir.join(ROOT), UnmountFlags::DETACH)?;
    let failed = |e: CgroupError| RuntimeError::Other(e.to_string());
    let hierarchies = Cgroups::detect().map_err(failed)?;
    cgroups.iter().try_for_each(|cgroup| hierarchies.remove(cgroup)).map_err(failed)?;
    directory(dir)
}

/// Takes every mount off `path`; none there, or no such path, is success.
pub(super) fn unmount(path: &Path, flags: UnmountFlags) -> Result<(), RuntimeError> {
    loop {
        match rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(e) => return Err(RuntimeError::Other(format!("failed to unmount {}: {e}", path.display()))),
        }
    }
}

/// Deletes a directory, its record last: while that is there, a new supervisor knows of the rest.
pub(super) fn directory(dir: &Path) -> Result<(), RuntimeError> {
    let failed = |e: io::Error| RuntimeError::Other(format!("failed to delete {}: {e}", dir.display()));
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name() == RECORD {
            continue;
        }
        // What a container has written may be of any depth.
        stead_disk::remove_tree(&entry.path()).map_err(failed)?;
    }
    stead_disk::remove_tree(dir).map_err(failed)
}
