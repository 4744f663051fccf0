//! From exec to the line that says kubectl can be used.

use std::time::{Duration, Instant};

use anyhow::bail;
use stead_testkit::Cluster;

use super::writes::{Load, write};
use crate::api::Endpoint;
use crate::machine::median;
use crate::report::Figure;

const EMPTY_RUNS: usize = 7;
const FULL_RUNS: usize = 3;
const OBJECTS: usize = 100_000;
/// Connections that make the objects.
const FILLERS: usize = 64;
/// Longest time for making them; the row is given up after that.
const FILL_MAX: Duration = Duration::from_secs(240);
/// Bytes of the value in each: an object of about 1 KiB with its metadata.
const VALUE_BYTES: usize = 512;

/// An empty data directory each time: certificates, store, network and first objects are all made.
pub(super) fn empty(stead: &str) -> anyhow::Result<Vec<Figure>> {
    let times: Vec<f64> = (0..EMPTY_RUNS).map(|_| up_ms(&mut Cluster::prepare(stead))).collect();
    Ok(vec![Figure::new("exec-to-ready-empty", median(&times), times.len())])
}

/// A hundred thousand objects, and a server that was killed.
pub(super) fn full(stead: &str) -> anyhow::Result<Vec<Figure>> {
    let mut cluster = Cluster::start(stead);
    let endpoint = Endpoint::of_cluster(&cluster.data_dir())?;
    let load = Load { clients: FILLERS, value_bytes: VALUE_BYTES, time: FILL_MAX, writes_max: OBJECTS, prefix: "fill" };
    let started = Instant::now();
    let written = write(&endpoint, &load)?;
    let time_s = started.elapsed().as_secs();
    if written.count < OBJECTS {
        bail!("only {} of {OBJECTS} objects could be made in {time_s} s", written.count);
    }
    println!("bench: {OBJECTS} objects made in {time_s} s");
    let times: Vec<f64> = (0..FULL_RUNS)
        .map(|_| {
            cluster.kill_server();
            up_ms(&mut cluster)
        })
        .collect();
    Ok(vec![Figure::new("exec-to-ready-100k", median(&times), times.len())])
}

fn up_ms(cluster: &mut Cluster) -> f64 {
    let started = Instant::now();
    cluster.up();
    started.elapsed().as_secs_f64() * 1e3
}
