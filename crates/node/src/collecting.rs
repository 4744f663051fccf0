//! Giving back the disk that images no longer need: layers that neither a name nor a container uses. When
//! a pod has gone some may be free; a name may be taken away at any time by `stead image rm`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stead_net::Network;
use stead_runtime::Runtime;

use crate::agent::Inner;

/// How often is looked without being told to (contract `pods.md` 6.23).
const EVERY: Duration = Duration::from_secs(300);

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
    let inventory = match inner.runtime.list().await {
        Ok(inventory) => inventory,
        Err(error) => return tracing::warn!(%error, "cannot tell which layers are in use"),
    };
    let in_use: HashSet<PathBuf> =
        inventory.containers.into_iter().flat_map(|container| container.spec.rootfs.layers).collect();
    let images = Arc::clone(&inner.images);
    match tokio::task::spawn_blocking(move || images.collect(&in_use)).await {
        Ok(Ok(collected)) if collected.layers.is_empty() => {}
        Ok(Ok(collected)) => tracing::info!(
            layers = collected.layers.len(),
            bytes = collected.bytes,
            "gave back what images no longer need"
        ),
        Ok(Err(error)) => tracing::warn!(%error, "cannot give back what images no longer need"),
        Err(error) => tracing::error!(%error, "collecting layers failed"),
    }
}
