//! The image store of one data directory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Collected, Credential, Image, ImageConfig, ImageName, ImportError, Progress, PullError, RegistryConfig, StoreError};

/// Images below one directory. Cheap to clone. Several processes may have the same directory open:
/// what one adds, the others see at once.
#[derive(Clone)]
pub struct ImageStore {
    _inner: Arc<()>,
}

impl ImageStore {
    /// Opens the store at `dir`, making it if it is not there, and clears what a crash left behind.
    ///
    /// # Errors
    /// The directory cannot be made or read, or was written by a later version.
    pub fn open(dir: &Path, config: RegistryConfig) -> Result<Self, StoreError> {
        let _ = (dir, config);
        unimplemented!()
    }

    /// The image of this name, if it is wholly present. Reads one small file.
    pub fn get(&self, image: &str) -> Option<Arc<Image>> {
        let _ = image;
        unimplemented!()
    }

    /// Fetches an image from its registry (or a mirror), verifies and unpacks it, and names it. Asks the
    /// registry even when the image is present; present layers are not fetched again. Callers that
    /// ask for the same image with the same credentials at the same time share one pull.
    ///
    /// `credentials` are tried first, then those of the registry configuration, then none.
    /// `progress` is called often and must be quick.
    ///
    /// # Errors
    /// See [`PullError`]; nothing half-done is left visible.
    pub async fn pull(&self, image: &str, credentials: &[Credential], progress: impl Fn(Progress) + Send + Sync) -> Result<Arc<Image>, PullError> {
        let _ = (image, credentials, &progress);
        unimplemented!()
    }

    /// Takes the images of a docker-save tar or an OCI archive, either possibly in gzip, and gives
    /// their names. Blocks; works with or without a running server on the same directory.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import(&self, archive: &Path) -> Result<Vec<ImageName>, ImportError> {
        let _ = archive;
        unimplemented!()
    }

    /// Makes (or replaces) an image of one static program: one layer holding the program as `/bin/<its
    /// file name>`, an empty `/tmp`, and an `/etc` with root and nobody. Blocks.
    ///
    /// # Errors
    /// The program cannot be read or the store not written.
    pub fn install_builtin(&self, image: &str, binary: &Path, config: ImageConfig) -> Result<Arc<Image>, StoreError> {
        let _ = (image, binary, config);
        unimplemented!()
    }

    /// All images, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<Arc<Image>>, StoreError> {
        unimplemented!()
    }

    /// Takes a name away; its layers go with the next [`collect`](Self::collect). False: there was none.
    ///
    /// # Errors
    /// The name does not parse or the file cannot be removed.
    pub fn remove(&self, image: &str) -> Result<bool, StoreError> {
        let _ = image;
        unimplemented!()
    }

    /// Removes layers that no name and none of `in_use` (layer directories of containers that
    /// exist, [`Image::layers`]) refers to. Waits for pulls and imports under way, in any process. Blocks.
    ///
    /// # Errors
    /// The store cannot be read or a layer not removed.
    pub fn collect(&self, in_use: &HashSet<PathBuf>) -> Result<Collected, StoreError> {
        let _ = in_use;
        unimplemented!()
    }
}

/// Whether a directory of a layer hides what lower layers have under the same path.
pub(crate) fn is_opaque(dir: &Path) -> bool {
    let mut value = [0_u8; 1];
    matches!(rustix::fs::lgetxattr(dir, "trusted.overlay.opaque", &mut value), Ok(1)) && value == *b"y"
}
