//! The image store of one data directory: what callers see of images.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::layers::Locks;
use crate::layout::{Guard, Layout, Record};
use crate::pull::{self, Pull};
use crate::{
    Collection, ConfigError, Credential, Image, ImageConfig, ImageName, ImportError, Progress, PullError,
    RegistryConfig, Secret, StoreError, builtin, import,
};

/// Images below one directory. Cheap to clone. Several processes may have the same directory open:
/// what one adds, the others see at once.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Arc<Layout>,
    registries: RegistryConfig,
    own_credentials: Vec<Credential>,
    /// Pulls under way, with what they found for those who wait.
    pulls: Locks<PullKey, Option<Record>>,
    layer_locks: Locks<Digest, ()>,
}

/// As long as it is there no layer is taken away. See [`ImageStore::using`].
pub struct Using {
    guard: Guard,
}

impl From<Using> for OwnedFd {
    /// A descriptor that keeps the layers in the same way, in whatever process it is open.
    fn from(using: Using) -> Self {
        using.guard.into()
    }
}

/// Pulls are shared only between callers who show the same credentials: one must not get what the other was refused.
type PullKey = (ImageName, Vec<(String, Secret)>);

impl ImageStore {
    /// Opens the store at `dir`, making it if it is not there, and clears what a crash left behind.
    ///
    /// # Errors
    /// The directory cannot be made or read, was written by a later version, or the configuration's credentials are malformed.
    pub fn open(dir: &Path, config: RegistryConfig) -> Result<Self, StoreError> {
        let own_credentials =
            config.credentials().map_err(|error: ConfigError| StoreError::Client(error.to_string()))?;
        let layout = Arc::new(Layout::open(dir)?);
        Ok(Self {
            inner: Arc::new(Inner {
                layout,
                registries: config,
                own_credentials,
                pulls: Locks::default(),
                layer_locks: Locks::default(),
            }),
        })
    }

    /// The image of this name, if it is wholly present. Reads one small file; an unreadable one counts as absent
    /// and is logged.
    pub fn get(&self, image: &str) -> Option<Arc<Image>> {
        let name: ImageName = image.parse().ok()?;
        match self.inner.layout.record(&name) {
            Ok(record) => record.map(|record| self.image(image, record)),
            Err(error) => {
                tracing::warn!(%name, %error, "image unreadable, taken as absent");
                None
            }
        }
    }

    /// Fetches an image from its registry (or a mirror), verifies and unpacks it, and names it. Asks the
    /// registry even when the image is present; present layers are not fetched again. Callers that
    /// ask for the same image with the same credentials at the same time share one pull.
    ///
    /// `credentials` are tried first, then those of the registry configuration, then none.
    /// `progress` is called often and must be quick; of callers that share a pull only the first hears it.
    ///
    /// # Errors
    /// See [`PullError`]; nothing half-done is left visible.
    pub async fn pull(
        &self,
        image: &str,
        credentials: &[Credential],
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Arc<Image>, PullError> {
        let name: ImageName = image.parse().map_err(PullError::Name)?;
        let shown =
            credentials.iter().map(|credential| (credential.scope.clone(), credential.secret.clone())).collect();
        let flight = self.inner.pulls.of((name.clone(), shown));
        let mut found = flight.lock().await;
        if let Some(record) = &*found {
            return Ok(self.image(image, record.clone()));
        }
        let credentials: Vec<Credential> = credentials.iter().chain(&self.inner.own_credentials).cloned().collect();
        let layout = &self.inner.layout;
        let pull = Pull {
            adding: pull::adding(layout).await?,
            layout,
            layer_locks: &self.inner.layer_locks,
            name: &name,
            progress: &progress,
        };
        let record = pull.run(&self.inner.registries, &credentials).await?;
        *found = Some(record.clone());
        Ok(self.image(image, record))
    }

    /// Takes the images of a docker-save tar or an OCI archive, either possibly in gzip, and gives
    /// their names. Blocks; works with or without a running server on the same directory.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import(&self, archive: &Path) -> Result<Vec<ImageName>, ImportError> {
        import::import(&self.inner.layout, archive)
    }

    /// Makes (or replaces) an image of one static program: one layer holding the program at the absolute path
    /// that `config.entrypoint` begins with, an empty `/tmp`, and an `/etc` with root and nobody. Blocks.
    ///
    /// # Errors
    /// The name does not parse, the entry point is no absolute path, the program cannot be read or the
    /// store not written.
    pub fn install_builtin(&self, image: &str, binary: &Path, config: ImageConfig) -> Result<Arc<Image>, StoreError> {
        let name: ImageName = image.parse()?;
        let record = builtin::install(&self.inner.layout, &name, binary, config)?;
        Ok(self.image(image, record))
    }

    /// All images, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<Arc<Image>>, StoreError> {
        let records = self.inner.layout.records()?;
        Ok(records.into_iter().map(|record| self.image(&record.name.to_string(), record)).collect())
    }

    /// Takes a name away; its layers go with the next [`collect`](Self::collect). False: there was none.
    ///
    /// # Errors
    /// The name does not parse or the file cannot be removed.
    pub fn remove(&self, image: &str) -> Result<bool, StoreError> {
        self.inner.layout.remove_record(&image.parse()?)
    }

    /// Keeps every layer where it is until the answer is dropped: from before an image is looked up until a
    /// container that uses its layers exists. Waits for a collection under way, in any process. Blocks.
    ///
    /// # Errors
    /// The store cannot be locked.
    pub fn using(&self) -> Result<Using, StoreError> {
        Ok(Using { guard: self.inner.layout.adding()? })
    }

    /// Begins to collect: waits for pulls, imports and whoever is [`using`](Self::using) layers, in any process,
    /// and keeps them out. What is in use is to be found out only now. Blocks.
    ///
    /// # Errors
    /// The store cannot be locked.
    pub fn collection(&self) -> Result<Collection, StoreError> {
        Collection::begin(&self.inner.layout)
    }

    fn image(&self, reference: &str, record: Record) -> Arc<Image> {
        Arc::new(Image {
            reference: reference.to_owned(),
            layers: record.layers.iter().map(|diff_id| self.inner.layout.layer_fs(diff_id)).collect(),
            name: record.name,
            id: record.id,
            digest: record.digest,
            size_bytes: record.size_bytes,
            config: record.config,
        })
    }
}
