//! `stead up`: the whole cluster in one process, until it is told to stop.

use std::time::Instant;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::{Cluster, ClusterOptions};
use crate::data_dir::DataDir;
use crate::options::UpOptions;
use crate::preflight;

/// Threads that work on requests and loops; the store adds one of its own.
pub(crate) const WORKER_THREADS: usize = 2;

/// Files the process may have open at once, if the system allows it: every connection is one, and the usual
/// limit of 1,024 is less than the connections the API server accepts. Containers inherit it.
const FILES_MAX: u64 = 16_384;

/// Runs until SIGTERM or SIGINT. Pods go on running after that.
pub(crate) fn run(options: &UpOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    preflight::check()?;
    allow_files();
    let data = DataDir::take(&options.data.data_dir)?;
    let listener = preflight::listen(options.listen)?;
    let options = ClusterOptions::from_flags(options)?;
    data.refuse_change(&options.record(&data))?;
    if options.isolated {
        data.enter_netns()?;
    }
    runtime()?.block_on(async {
        let mut cluster = Cluster::start(&data, listener, options).await?;
        let mut stop = StopSignals::listen()?;
        let ms = started.elapsed().as_millis();
        println!("stead: ready in {ms} ms, kubeconfig {}", cluster.kubeconfig().display());
        let ended = tokio::select! {
            () = stop.next() => Ok(()),
            failure = cluster.failed() => Err(failure.context("stopped; pods go on running, `stead up` takes them back")),
        };
        ended.and(cluster.stop().await)
    })
}

/// Raises the limit on open files towards [`FILES_MAX`]. Without it the server serves fewer connections.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

/// The runtime every verb runs on.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start worker threads")
}

/// SIGTERM and SIGINT, listened for from the moment this is made: whoever has read that the cluster is ready may
/// end it at once.
pub(crate) struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Fails where the system refuses to tell of signals.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; one that came while nobody waited counts.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
