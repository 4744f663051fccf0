//! Giving back the disk that images no longer need: layers that neither a name nor a container uses. When
//! a pod has gone some may be free; a name may be taken away at any time by `stead image rm`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stead_image::{Collected, StoreError};
use stead_net::Network;
use stead_runtime::{Runtime, RuntimeError};

use crate::agent::Inner;

/// How often is looked without being told to (contract `pods.md` 6.23).
const EVERY: Duration = Duration::from_secs(300);

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot tell which layers are in use: {0}")]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Join(#[from] tokio::task::JoinError),
}

/// Collects until shutdown.
pub(crate) async fn keep_collected<R: Runtime, N: Network>(inner: Arc<Inner<R, N>>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = inner.pod_finished.notified() => {}
            _ = ticks.tick() => {}
        }
        collect(&inner).await;
    }
}

async fn collect<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>) {
    match try_collect(inner).await {
        Ok(collected) if collected.layers.is_empty() => {}
        Ok(collected) => tracing::info!(
            layers = collected.layers.len(),
            bytes = collected.bytes,
            "gave back what images no longer need"
        ),
        Err(error) => tracing::warn!(%error, "cannot give back what images no longer need"),
    }
}

async fn try_collect<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>) -> Result<Collected, CollectError> {
    let images = Arc::clone(&inner.images);
    let collection = tokio::task::spawn_blocking(move || images.collection()).await??;
    // Only now does no container start: what is listed is all there is.
    let inventory = inner.runtime.list().await?;
    let in_use: HashSet<PathBuf> =
        inventory.containers.into_iter().flat_map(|container| container.spec.rootfs.layers).collect();
    Ok(tokio::task::spawn_blocking(move || collection.collect(&in_use)).await??)
}
