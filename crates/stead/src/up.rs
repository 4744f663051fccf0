//! `stead up`: the whole cluster in one process, until it is told to stop.

use std::time::Instant;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

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
        let stop = stop_asked_for()?;
        let ms = started.elapsed().as_millis();
        println!("stead: ready in {ms} ms, kubeconfig {}", cluster.kubeconfig().display());
        let ended = tokio::select! {
            () = stop => Ok(()),
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

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn wait_for_stop() -> anyhow::Result<()> {
    stop_asked_for()?.await;
    Ok(())
}

/// Listens for SIGTERM and SIGINT from now on, and waits for one: whoever has read that the cluster is ready may end
/// it at once.
fn stop_asked_for() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
