//! Durable writes over TLS: ConfigMaps with a value of 1 KiB, each created and acknowledged before its
//! client sends the next.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use stead_testkit::Cluster;

use crate::api::{self, Endpoint};
use crate::floor;
use crate::machine::median;
use crate::report::Figure;

const RUNS: usize = 3;
const MANY: usize = 64;
const VALUE_BYTES: usize = 1024;
/// How long each measurement writes.
const WINDOW: Duration = Duration::from_secs(3);

/// What to write, and when to stop.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Connections, each with one write in flight.
    pub(super) clients: usize,
    pub(super) value_bytes: usize,
    pub(super) time: Duration,
    /// Stops earlier after so many writes.
    pub(super) writes_max: usize,
    /// Begins every name, and tells the objects of one load from those of another.
    pub(super) prefix: &'static str,
}

/// What was written.
pub(super) struct Written {
    pub(super) count: usize,
    time: Duration,
}

impl Written {
    fn per_s(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }
}

/// One and many clients, each run beside its floor, so that both meet the same disk.
pub(super) fn measure(stead: &str) -> anyhow::Result<Vec<Figure>> {
    const PREFIXES: [[&str; RUNS]; 2] = [["one-a", "one-b", "one-c"], ["many-a", "many-b", "many-c"]];
    let cluster = Cluster::start(stead);
    let data_dir = cluster.data_dir();
    let endpoint = Endpoint::of_cluster(&data_dir)?;
    let load =
        |clients, prefix| Load { clients, value_bytes: VALUE_BYTES, time: WINDOW, writes_max: usize::MAX, prefix };
    let (mut one, mut many, mut one_floor, mut many_floor) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut over_tls = Vec::new();
    for prefix in PREFIXES[0] {
        one_floor.push(floor::bare_writes_per_s(&data_dir, VALUE_BYTES, WINDOW)?);
        let bare = floor::single_write_server(&data_dir, api::server_tls(&data_dir)?)?;
        over_tls.push(write(&endpoint.at(bare), &load(1, prefix))?.per_s());
        one.push(write(&endpoint, &load(1, prefix))?.per_s());
    }
    println!("bench: one client: {one:.0?} writes/s, a bare file {one_floor:.0?}, the same over TLS {over_tls:.0?}");
    for prefix in PREFIXES[1] {
        let bare = floor::group_commit_server(&data_dir, api::server_tls(&data_dir)?, MANY)?;
        many_floor.push(write(&endpoint.at(bare), &load(MANY, prefix))?.per_s());
        many.push(write(&endpoint, &load(MANY, prefix))?.per_s());
    }
    println!("bench: {MANY} clients: {many:.0?} writes/s, the floor {many_floor:.0?}");
    Ok(vec![
        Figure { row: "durable-writes-1", value: median(&one), floor: Some(median(&one_floor)), runs: RUNS },
        Figure { row: "durable-writes-64", value: median(&many), floor: Some(median(&many_floor)), runs: RUNS },
    ])
}

/// Writes with all clients at once. Any refusal is an error.
pub(super) fn write(endpoint: &Endpoint, load: &Load) -> anyhow::Result<Written> {
    let taken = AtomicUsize::new(0);
    let begin = Barrier::new(load.clients);
    let value = "x".repeat(load.value_bytes);
    let client = || -> anyhow::Result<(usize, Instant, Instant)> {
        let connection = endpoint.connect();
        // Everybody passes here, connected or not, or the others would wait for ever.
        begin.wait();
        let (mut connection, started) = (connection?, Instant::now());
        let mut count = 0;
        while started.elapsed() < load.time {
            let number = taken.fetch_add(1, Ordering::Relaxed);
            if number >= load.writes_max {
                break;
            }
            let name = format!("{}-{number}", load.prefix);
            let config_map = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"value":"{value}"}}}}"#
            );
            connection.create("/api/v1/namespaces/default/configmaps", &config_map)?;
            count += 1;
        }
        Ok((count, started, Instant::now()))
    };
    let done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..load.clients).map(|_| scope.spawn(client)).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    });
    let done: Vec<(usize, Instant, Instant)> = done.into_iter().collect::<anyhow::Result<_>>()?;
    let started = done.iter().map(|(_, started, _)| *started).min().context("no client ran")?;
    let ended = done.iter().map(|(_, _, ended)| *ended).max().context("no client ran")?;
    Ok(Written { count: done.iter().map(|(count, _, _)| count).sum(), time: ended - started })
}
