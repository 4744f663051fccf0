//! `stead demo`: a cluster of its own in a temporary directory and a network namespace without a way
//! out; the story is `stead_cli::demo`, the cleaning up is `down`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use stead_cli::demo;
use stead_image::{ImageConfig, ImageStore, RegistryConfig};

use crate::cluster::{Cluster, ClusterOptions};
use crate::data_dir::DataDir;
use crate::up::{StopSignals, runtime};
use crate::{down, preflight};

/// The tenth address of the default Service range.
const DNS_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Tells the demo's story, waits for Ctrl-C unless `once`, and leaves nothing behind.
pub(crate) fn run(once: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    preflight::check()?;
    let path: PathBuf = std::env::temp_dir().join(format!("stead-demo-{}", std::process::id()));
    let data = DataDir::take(&path)?;
    let told = play(&data, once, started);
    let cleaned = down::take_away(&data, None);
    let removed = down::delete(&data.path).with_context(|| format!("cannot delete {}", data.path.display()));
    told.and(cleaned).and(removed)
}

/// Starts a cluster, tells the story in it and stops it.
fn play(data: &DataDir, once: bool, started: Instant) -> anyhow::Result<()> {
    let listener = preflight::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    data.enter_netns()?;
    runtime()?.block_on(async {
        install_image(data)?;
        let options = ClusterOptions::isolated("demo");
        let cluster = Cluster::start(data, listener, options).await?;
        let mut stop = StopSignals::listen()?;
        println!("stead: a cluster of its own, ready in {} ms", started.elapsed().as_millis());
        let told = tokio::select! {
            told = demo::tell(cluster.client(), DNS_IP) => told.context("the demo failed"),
            () = stop.next() => Ok(()),
        };
        if told.is_ok() && !once {
            println!("{}", demo::next_steps(&cluster.kubeconfig().display().to_string()));
            stop.next().await;
        }
        println!("\ncleaning up");
        cluster.stop().await?;
        told
    })
}

/// Makes the replicas' image from this very binary.
fn install_image(data: &DataDir) -> anyhow::Result<()> {
    let config =
        ImageConfig { entrypoint: vec!["/bin/stead".to_owned(), "demo-replica".to_owned()], ..ImageConfig::default() };
    let store = ImageStore::open(&data.join("images"), RegistryConfig::default())?;
    let binary = std::env::current_exe()?;
    store.install_builtin(demo::IMAGE, &binary, config).context("cannot make the demo's image")?;
    Ok(())
}
