//! One pull: where to ask, with which credentials, which layers are missing; and getting them, several at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt};

use crate::config::Endpoint;
use crate::digest::Digest;
use crate::layers::{self, AddError, Locks};
use crate::layout::{Guard, Layout, Record};
use crate::manifest::{ConfigFile, Descriptor, Document, Manifest, Platform};
use crate::registry::{Refusal, Repository, digest_error};
use crate::{Credential, ImageId, ImageName, LayerError, Progress, PullError, RegistryConfig, Secret, StoreError};

/// Layers of one image that are fetched and unpacked at the same time.
const LAYERS_AT_ONCE: usize = 4;

/// Progress is reported whenever so many more bytes have come.
const PROGRESS_STEP_BYTES: u64 = 1 << 20;

/// A pull under way.
pub(crate) struct Pull<'a, P> {
    /// Nothing that is found present may be collected until the name is written, nor a draft be cleared away while
    /// a thread unpacks into it, which may outlive the pull.
    pub(crate) adding: Arc<Guard>,
    pub(crate) layout: &'a Arc<Layout>,
    pub(crate) layer_locks: &'a Locks<Digest, ()>,
    pub(crate) name: &'a ImageName,
    pub(crate) progress: &'a P,
}

/// Keeps collections out while an image is pulled; waits for one under way.
pub(crate) async fn adding(layout: &Arc<Layout>) -> Result<Arc<Guard>, StoreError> {
    let layout = Arc::clone(layout);
    blocking(move || layout.adding().map(Arc::new)).await
}

/// The documents of an image, and where they came from.
struct Resolved {
    repository: Repository,
    digest: Digest,
    manifest: Manifest,
    config: ConfigFile,
}

/// Bytes and layers so far.
struct Tally {
    bytes: AtomicU64,
    bytes_total: u64,
    layers_ready: AtomicUsize,
    layers: usize,
}

impl<P: Fn(Progress) + Send + Sync> Pull<'_, P> {
    /// Fetches everything that is missing and names the image.
    pub(crate) async fn run(
        &self,
        registries: &RegistryConfig,
        credentials: &[Credential],
    ) -> Result<Record, PullError> {
        let resolved = self.resolve(registries, credentials).await?;
        self.fetch_layers(&resolved).await?;
        let manifest = &resolved.manifest;
        let record = Record {
            name: self.name.clone(),
            id: ImageId(manifest.config.digest.to_string()),
            digest: Some(self.name.pinned(&resolved.digest.to_string())),
            size_bytes: manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
            layers: resolved.config.diff_ids().to_vec(),
            config: resolved.config.into_config(),
        };
        let (layout, written) = (Arc::clone(self.layout), record.clone());
        blocking(move || layout.write_record(&written)).await?;
        Ok(record)
    }

    /// Asks mirrors and registry in order, each with the credentials that fit and then with none, until one answers.
    async fn resolve(&self, registries: &RegistryConfig, credentials: &[Credential]) -> Result<Resolved, PullError> {
        let endpoints = registries.endpoints(self.name.registry()).map_err(|reason| self.registry_error(reason))?;
        let mut worst: Option<(Endpoint, Refusal)> = None;
        for endpoint in endpoints {
            let secrets = Credential::matching_at(credentials, &endpoint.host, self.name.repository())
                .into_iter()
                .map(|credential| Some(&credential.secret));
            for secret in secrets.chain([None]) {
                match self.ask(&endpoint, secret).await {
                    Ok(resolved) => return Ok(resolved),
                    Err(Failed::Final(error)) => return Err(error),
                    Err(Failed::TryNext(refusal)) => {
                        tracing::debug!(image = %self.name, host = %endpoint.host, ?refusal, "not from here");
                        let next_secret = matches!(refusal, Refusal::Unauthorized);
                        if worst.as_ref().is_none_or(|(_, known)| weight(&refusal) >= weight(known)) {
                            worst = Some((endpoint.clone(), refusal));
                        }
                        if !next_secret {
                            break;
                        }
                    }
                }
            }
        }
        Err(match worst {
            Some((endpoint, refusal)) => self.pull_error(&endpoint.host, refusal),
            None => self.registry_error("no registry to ask".to_owned()),
        })
    }

    async fn ask(&self, endpoint: &Endpoint, secret: Option<&Secret>) -> Result<Resolved, Failed> {
        let repository = Repository::new(self.name, endpoint, secret)?;
        let (document, digest) = repository.document().await?;
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let no_platform =
                    || PullError::Platform { name: self.name.clone(), platform: Platform::here().to_string() };
                let entry = index.for_here().ok_or_else(|| Failed::Final(no_platform()))?;
                match repository.entry(&entry.digest).await? {
                    Document::Manifest(manifest) => manifest,
                    Document::Index(_) => {
                        return Err(Failed::TryNext(Refusal::Other("an index inside an index".to_owned())));
                    }
                }
            }
        };
        let config = repository.blob(&manifest.config).await?;
        let config: ConfigFile = serde_json::from_slice(&config)
            .map_err(|error| Refusal::Other(format!("not an image configuration: {error}")))?;
        if config.diff_ids().len() != manifest.layers.len() {
            return Err(Failed::TryNext(Refusal::Other(format!(
                "configuration has {} layers, manifest {}",
                config.diff_ids().len(),
                manifest.layers.len()
            ))));
        }
        Ok(Resolved { repository, digest, manifest, config })
    }

    async fn fetch_layers(&self, resolved: &Resolved) -> Result<(), PullError> {
        let all = || resolved.manifest.layers.iter().zip(resolved.config.diff_ids());
        let mut missing = Vec::new();
        for (descriptor, diff_id) in all() {
            descriptor.check_is_layer().map_err(|source| self.layer_error(descriptor, source))?;
            if self.layout.layer(diff_id)?.is_none() && !missing.iter().any(|(_, known)| *known == diff_id) {
                missing.push((descriptor, diff_id));
            }
        }
        let layers = resolved.manifest.layers.len();
        let layers_present = layers - missing.len();
        let bytes_total = missing.iter().map(|(descriptor, _)| descriptor.size).sum();
        (self.progress)(Progress::Resolved { layers, layers_present, bytes_total });
        let tally =
            Tally { bytes: AtomicU64::new(0), bytes_total, layers_ready: AtomicUsize::new(layers_present), layers };
        // Made before the stream, so that the future of a pull holds no closure over borrowed pairs and is Send.
        let fetches: Vec<_> = missing
            .into_iter()
            .map(|(descriptor, diff_id)| self.fetch_layer(&resolved.repository, descriptor, diff_id, &tally))
            .collect();
        futures::stream::iter(fetches).buffer_unordered(LAYERS_AT_ONCE).try_collect::<()>().await
    }

    async fn fetch_layer(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        diff_id: &Digest,
        tally: &Tally,
    ) -> Result<(), PullError> {
        let lock = self.layer_locks.of(diff_id.clone());
        let _only_one = lock.lock().await;
        // Another image may have brought it meanwhile.
        if self.layout.layer(diff_id)?.is_none() {
            self.transfer(repository, descriptor, diff_id, tally).await?;
        }
        let layers_ready = tally.layers_ready.fetch_add(1, Ordering::Relaxed) + 1;
        (self.progress)(Progress::LayerReady { layers_ready, layers: tally.layers });
        Ok(())
    }

    /// Network and unpacking side by side, a bounded pipe between them.
    async fn transfer(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        diff_id: &Digest,
        tally: &Tally,
    ) -> Result<(), PullError> {
        let mut stream = std::pin::pin!(
            repository.stream(descriptor).await.map_err(|refusal| self.pull_error(self.name.registry(), refusal))?
        );
        let (writer, reader) = layers::pipe();
        let (layout, diff_id, adding) = (Arc::clone(self.layout), diff_id.clone(), Arc::clone(&self.adding));
        let unpacking = tokio::task::spawn_blocking(move || {
            let added = layers::add(&layout, &diff_id, reader);
            drop(adding);
            added
        });
        let outcome = loop {
            match stream.try_next().await {
                Ok(Some(bytes)) => {
                    self.count(tally, bytes.len() as u64);
                    if !writer.write(bytes).await {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        writer.finish(outcome).await;
        let added = unpacking.await.map_err(|error| StoreError::Client(error.to_string()))?;
        added.map_err(|error| match error {
            AddError::Store(error) => PullError::Store(error),
            AddError::Layer(LayerError::Io { action, source }) => match digest_error(&source) {
                Some((expected, actual)) => self.layer_error(descriptor, LayerError::Digest { expected, actual }),
                None => self.layer_error(descriptor, LayerError::Io { action, source }),
            },
            AddError::Layer(error) => self.layer_error(descriptor, error),
        })
    }

    fn count(&self, tally: &Tally, bytes: u64) {
        let before = tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = before + bytes;
        if before / PROGRESS_STEP_BYTES != now / PROGRESS_STEP_BYTES || now == tally.bytes_total {
            (self.progress)(Progress::Fetched { bytes: now, bytes_total: tally.bytes_total });
        }
    }

    fn layer_error(&self, descriptor: &Descriptor, source: LayerError) -> PullError {
        PullError::Layer { name: self.name.clone(), digest: descriptor.digest.to_string(), source }
    }

    fn registry_error(&self, reason: String) -> PullError {
        PullError::Registry { name: self.name.clone(), reason }
    }

    fn pull_error(&self, host: &str, refusal: Refusal) -> PullError {
        let name = self.name.clone();
        match refusal {
            Refusal::NotFound => PullError::NotFound { name },
            Refusal::Unauthorized => PullError::Unauthorized { name },
            Refusal::Unreachable(reason) => PullError::Unreachable { name, host: host.to_owned(), reason },
            Refusal::Digest { expected, actual } => {
                PullError::Layer { name, digest: expected.clone(), source: LayerError::Digest { expected, actual } }
            }
            Refusal::Other(reason) => PullError::Registry { name, reason: format!("{host}: {reason}") },
        }
    }
}

enum Failed {
    /// Another place or credential may do better.
    TryNext(Refusal),
    Final(PullError),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::TryNext(refusal)
    }
}

/// Which of several refusals tells people most: an answer more than no answer, content that is wrong most of all.
fn weight(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Unreachable(_) => 0,
        Refusal::Other(_) => 1,
        Refusal::NotFound => 2,
        Refusal::Unauthorized => 3,
        Refusal::Digest { .. } => 4,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Client(error.to_string()))?
}
