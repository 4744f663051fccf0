//! What is done to a pod's volume once: an agent that comes back must not do it again, beneath processes
//! that have made of the volume what they need by then.

use std::path::{Path, PathBuf};

use super::{VolumeError, io};

/// Where in a pod's directory it is noted: a file by each volume's name.
pub(super) const DIR: &str = "volumes-prepared";

/// Whether the preparation of one volume has been carried to its end.
pub(super) struct Once {
    note: PathBuf,
}

impl Once {
    /// That of a pod's volume.
    pub(super) fn of(pod_dir: &Path, volume: &str) -> Self {
        Self { note: pod_dir.join(DIR).join(volume) }
    }

    /// Has it done again: the volume is not the one that was prepared.
    pub(super) fn forget(&self) -> Result<(), VolumeError> {
        stead_disk::remove_tree(&self.note).map_err(io(format!("remove {}", self.note.display())))
    }

    /// Prepares the volume unless it has been done. What fails or is cut short is begun anew the next time.
    pub(super) fn run(&self, prepare: impl FnOnce() -> Result<(), VolumeError>) -> Result<(), VolumeError> {
        if self.note.exists() {
            return Ok(());
        }
        prepare()?;
        let failed = || io(format!("create {}", self.note.display()));
        if let Some(dir) = self.note.parent() {
            std::fs::create_dir_all(dir).map_err(failed())?;
        }
        std::fs::write(&self.note, []).map_err(failed())
    }
}
