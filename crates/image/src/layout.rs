//! Where things are below the store's directory, and how they get there whole: drafts and renames, one
//! lock between adding and collecting. Knows nothing of registries or archives.
//!
//! ```text
//! format                    the version of this layout
//! lock                      shared: someone adds; exclusive: someone takes away
//! names/<hash>.json         one image name each: what it stands for
//! layers/<diff id>/fs       one unpacked layer each, beside it layer.json
//! draft/                    half-done work, worthless after a crash
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::{ImageConfig, ImageId, ImageName, StoreError};

/// The version of the layout.
const FORMAT: &str = "1";

/// What a name stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) name: ImageName,
    pub(crate) id: ImageId,
    pub(crate) digest: Option<String>,
    pub(crate) size_bytes: u64,
    pub(crate) layers: Vec<Digest>,
    pub(crate) config: ImageConfig,
}

/// What is known of an unpacked layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

/// The files of a store.
pub(crate) struct Layout {
    dir: PathBuf,
}

/// A lock on the store; released when dropped, or when the process dies.
pub(crate) struct Guard {
    file: OwnedFd,
}

impl From<Guard> for OwnedFd {
    fn from(guard: Guard) -> Self {
        guard.file
    }
}

/// A directory for half-done work, gone when dropped.
pub(crate) struct Draft {
    path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // However deep a layer makes it.
        if let Err(error) = stead_disk::remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a draft, left for the next start");
        }
    }
}

impl Draft {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Layout {
    /// Opens or makes the directories, and removes drafts that nobody is working on.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let layout = Self { dir: dir.to_owned() };
        for sub in ["names", "layers", "draft"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).map_err(failed("make directory", &path))?;
        }
        layout.check_format()?;
        if let Some(_guard) = layout.try_exclusive()? {
            layout.clear_drafts()?;
        }
        Ok(layout)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.dir.join("format");
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == FORMAT => Ok(()),
            Ok(found) => {
                Err(StoreError::Format { path: self.dir.clone(), found: found.trim().to_owned(), known: FORMAT })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let _adding = self.adding()?;
                self.write_durably(&path, FORMAT.as_bytes())
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Removes all drafts; only under the exclusive lock.
    pub(crate) fn clear_drafts(&self) -> Result<(), StoreError> {
        for path in self.children("draft")? {
            stead_disk::remove_tree(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn children(&self, sub: &str) -> Result<Vec<PathBuf>, StoreError> {
        let path = self.dir.join(sub);
        let entries = fs::read_dir(&path).map_err(failed("read directory", &path))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed("read directory", &path))).collect()
    }

    /// Keeps collections out while something is being added. Waits for one under way; blocks.
    pub(crate) fn adding(&self) -> Result<Guard, StoreError> {
        self.lock(FlockOperation::LockShared)?
            .map_or_else(|| Err(failed("lock", &self.dir)(ErrorKind::WouldBlock.into())), Ok)
    }

    /// Keeps everyone out. Waits for those who are adding; blocks.
    pub(crate) fn exclusive(&self) -> Result<Guard, StoreError> {
        self.lock(FlockOperation::LockExclusive)?
            .map_or_else(|| Err(failed("lock", &self.dir)(ErrorKind::WouldBlock.into())), Ok)
    }

    fn try_exclusive(&self) -> Result<Option<Guard>, StoreError> {
        self.lock(FlockOperation::NonBlockingLockExclusive)
    }

    fn lock(&self, operation: FlockOperation) -> Result<Option<Guard>, StoreError> {
        let path = self.dir.join("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(Guard { file: file.into() })),
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed("lock", &path)(error.into())),
            }
        }
    }

    /// A new directory to work in.
    pub(crate) fn draft(&self) -> Result<Draft, StoreError> {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let path = self.dir.join("draft").join(format!("{}-{count}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Draft { path }),
                // Left by, or of, another process that sees itself under the same id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("make directory", &path)(error)),
            }
        }
    }

    fn name_path(&self, name: &ImageName) -> PathBuf {
        self.dir.join("names").join(format!("{}.json", Digest::of(name.to_string().as_bytes()).file_name()))
    }

    /// What a name stands for.
    pub(crate) fn record(&self, name: &ImageName) -> Result<Option<Record>, StoreError> {
        let record: Option<Record> = read_json(&self.name_path(name))?;
        Ok(record.filter(|record| record.name == *name))
    }

    /// What every name stands for, by name.
    pub(crate) fn records(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for path in self.children("names")? {
            if path.extension().is_some_and(|extension| extension == "json") {
                // A name that was removed meanwhile is no error.
                records.extend(read_json::<Record>(&path)?);
            }
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// Makes a name stand for something; durable when it returns. To be called while
    /// [`adding`](Self::adding).
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.name_path(&record.name);
        let bytes = serde_json::to_vec_pretty(record).map_err(|error| failed("write", &path)(error.into()))?;
        self.write_durably(&path, &bytes)
    }

    /// Writes a file in a draft of its own, so that it appears whole, however many write it at once.
    fn write_durably(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let draft = self.draft()?;
        let fresh = draft.path().join("file");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            sync_parent(path)
        };
        write().map_err(failed("write", path))
    }

    /// Takes a name away; false where there was none.
    pub(crate) fn remove_record(&self, name: &ImageName) -> Result<bool, StoreError> {
        let path = self.name_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        // Short on purpose: an overlay mount names all its layers within one page.
        self.dir.join("layers").join(diff_id.file_name())
    }

    /// Directory with the files of a layer.
    pub(crate) fn layer_fs(&self, diff_id: &Digest) -> PathBuf {
        self.layer_path(diff_id).join("fs")
    }

    /// What is known of a layer, if it is present.
    pub(crate) fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRecord>, StoreError> {
        let path = self.layer_path(diff_id).join("layer.json");
        match read_json::<LayerRecord>(&path)? {
            Some(record) if record.diff_id != *diff_id => Err(failed("use", &path)(io::Error::new(
                ErrorKind::InvalidData,
                format!("holds layer {}", record.diff_id),
            ))),
            found => Ok(found),
        }
    }

    /// Directories of all layers that are present.
    pub(crate) fn layers(&self) -> Result<Vec<PathBuf>, StoreError> {
        self.children("layers")
    }

    /// Makes a draft, which holds the files under `fs`, a layer. Everything is on disk before it can be seen.
    pub(crate) fn commit_layer(&self, draft: Draft, record: &LayerRecord) -> Result<(), StoreError> {
        let path = draft.path().join("layer.json");
        let bytes = serde_json::to_vec(record).map_err(|error| failed("write", &path)(error.into()))?;
        fs::write(&path, bytes).map_err(failed("write", &path))?;
        let directory = File::open(draft.path()).map_err(failed("open", draft.path()))?;
        rustix::fs::syncfs(&directory).map_err(|error| failed("sync", draft.path())(error.into()))?;
        let place = self.layer_path(&record.diff_id);
        match fs::rename(draft.path(), &place) {
            Ok(()) => sync_parent(&place).map_err(failed("sync", &place)),
            // Another process was quicker with the same content.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => Ok(()),
            Err(error) => Err(failed("rename", &place)(error)),
        }
    }

    /// Removes a layer so that a crash leaves it whole or gone; only under the exclusive lock. Gives its bytes.
    pub(crate) fn remove_layer(&self, path: &Path) -> Result<u64, StoreError> {
        let bytes = read_json::<LayerRecord>(&path.join("layer.json"))?.map_or(0, |record| record.bytes);
        let draft = self.draft()?;
        fs::rename(path, draft.path().join("gone")).map_err(failed("rename", path))?;
        Ok(bytes)
    }
}

/// Turns an I/O error into one that says what was being done to which file.
pub(crate) fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed("read", path)(error.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests;
