//! The data directory around the log: who may use it, and which program can read it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use stead_disk::{Durability, replace};

use crate::OpenError;

/// The layout this program writes, and the newest one it reads.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";

/// A locked data directory. It stays locked while this lives.
pub(crate) struct Directory {
    _lock: File,
    /// Whether the directory says that it holds a complete store.
    pub(crate) marked: bool,
}

impl Directory {
    /// Makes directory `path` if there is none, locks it and checks its format.
    pub(crate) fn claim(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| io_error(path, source))?;
        Ok(Self { _lock: lock(path)?, marked: check_format(path)? })
    }

    /// Says durably that `path` holds a complete store of this format.
    pub(crate) fn mark(&mut self, path: &Path) -> Result<(), OpenError> {
        if !self.marked {
            replace(&path.join(FORMAT_FILE), format!("{FORMAT}\n").as_bytes(), 0o644, Durability::Machine)
                .map_err(|source| io_error(path, source))?;
            self.marked = true;
        }
        Ok(())
    }
}

/// An [`OpenError`] for what the operating system said about `path`.
pub(crate) fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.display().to_string(), source }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK_FILE))
        .map_err(|source| io_error(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(io_error(path, source)),
    }
}

/// Whether there is a format mark; refuses that of a newer program.
fn check_format(path: &Path) -> Result<bool, OpenError> {
    let shown = || path.display().to_string();
    match std::fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(true),
            Ok(found) => Err(OpenError::NewerFormat { path: shown(), found, known: FORMAT }),
            Err(_) => Err(OpenError::Damaged { path: shown(), place: format!("{FORMAT_FILE} is not a number") }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io_error(path, source)),
    }
}
