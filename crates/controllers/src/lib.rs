//! Loops that observe, plan and execute. They decide nothing.
//!
//! Each controller is a module with `pub async fn run(ctx: Context, …, shutdown: CancellationToken)`;
//! [`Controllers::start`] runs them all.

mod answered;
pub mod bootstrap;
mod chosen;
pub mod context;
pub mod deployment;
pub mod endpoints;
pub mod events;
pub mod gc;
pub mod metadata;
pub mod namespaces;
pub mod podgc;
pub mod replicaset;
pub mod scheduler;
pub mod statefulset;
pub mod storage;

mod framework;
mod locks;
mod outcome;
mod own_writes;
mod slow_start;
mod writer;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use context::{Caches, Context};

/// What the controllers are told of the cluster they run.
pub struct Settings {
    /// Where the cluster's own services are.
    pub bootstrap: bootstrap::Settings,
    /// Certificate of the cluster's authority, as PEM, for every namespace.
    pub ca_pem: String,
    /// Makes and removes the directories of claims.
    pub volume_dirs: Arc<dyn storage::VolumeDirs>,
}

/// The running controllers of a server.
pub struct Controllers {
    tasks: JoinSet<()>,
}

impl Controllers {
    /// Starts every controller; each runs until `shutdown`. Must be called within a tokio runtime.
    pub fn start(ctx: &Context, settings: Settings, shutdown: &CancellationToken) -> Self {
        let Settings { bootstrap, ca_pem, volume_dirs } = settings;
        let mut tasks = JoinSet::new();
        let (ctx, end) = (|| ctx.clone(), || shutdown.clone());
        tasks.spawn(bootstrap::run(ctx(), bootstrap, end()));
        tasks.spawn(deployment::run(ctx(), end()));
        tasks.spawn(endpoints::run(ctx(), end()));
        tasks.spawn(events::run(ctx(), events::Limits::default(), end()));
        tasks.spawn(gc::run(ctx(), end()));
        tasks.spawn(namespaces::run(ctx(), ca_pem, end()));
        tasks.spawn(podgc::run(ctx(), end()));
        tasks.spawn(replicaset::run(ctx(), end()));
        tasks.spawn(scheduler::run(ctx(), end()));
        tasks.spawn(statefulset::run(ctx(), end()));
        tasks.spawn(storage::run(ctx(), volume_dirs, end()));
        Self { tasks }
    }

    /// Returns once a controller has ended although nobody asked it to, which none does; a cluster
    /// without it would be half dead. To be dropped when the cluster is to stop.
    pub async fn failed(&mut self) {
        match self.tasks.join_next().await {
            Some(Err(error)) => tracing::error!(%error, "a controller ended abnormally"),
            Some(Ok(())) => tracing::error!("a controller ended unasked"),
            None => std::future::pending().await,
        }
    }

    /// Waits until all controllers have ended, which they do after `shutdown`.
    pub async fn ended(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a controller ended abnormally");
            }
        }
    }
}
