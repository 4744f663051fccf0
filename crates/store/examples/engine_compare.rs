//! Measures what the store adds to the disk's own price of a durable write: 1 KiB values from 1 and
//! from 64 clients, and the time to open 100,000 objects after a kill. The floor is a bare loop of
//! one write and one fdatasync; `keyed` is the engine with one row per object, a layout that was
//! measured and not taken. Read by `docs/decisions/0001-storage-engine.md`.
//!
//! `engine_compare (floor | keyed | store) [DIRECTORY]`

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use redb::{ReadableDatabase as _, ReadableTable as _};
use stead_store::{Draft, Embedded, Expect, Header, Key, Limits, Range, Resource, Store as _};

const VALUE_BYTES: usize = 1024;
const OBJECTS: u64 = 100_000;
const LOADERS: u64 = 500;
const CLIENTS: [u64; 2] = [1, 64];
const WRITES_EACH: u64 = 400;

type Row = (String, Vec<u8>);

/// One candidate.
trait Engine: Sized {
    fn open(directory: &Path) -> anyhow::Result<Self>;

    /// Has every client write its rows one after the other, each durable before the next; how long
    /// each write took.
    fn run(&mut self, clients: Vec<Vec<Row>>) -> anyhow::Result<Vec<Duration>>;

    fn count(&self) -> anyhow::Result<usize>;
}

/// Clients in lock step: one commit takes the next row of each.
fn in_lock_step(
    clients: &[Vec<Row>],
    mut commit: impl FnMut(&[&Row]) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for round in 0..clients.first().map_or(0, Vec::len) {
        let rows: Vec<&Row> = clients.iter().map(|client| &client[round]).collect();
        let start = Instant::now();
        commit(&rows)?;
        times.extend(std::iter::repeat_n(start.elapsed(), rows.len()));
    }
    Ok(times)
}

struct Floor(File);

impl Engine for Floor {
    fn open(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(directory.join("log"))?))
    }

    fn run(&mut self, clients: Vec<Vec<Row>>) -> anyhow::Result<Vec<Duration>> {
        in_lock_step(&clients, |rows| {
            let bytes: Vec<u8> = rows.iter().flat_map(|(_, value)| value).copied().collect();
            self.0.write_all(&bytes)?;
            Ok(self.0.sync_data()?)
        })
    }

    fn count(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.0.metadata()?.len())? / VALUE_BYTES)
    }
}

struct Keyed(redb::Database);

const TABLE: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("objects");

impl Engine for Keyed {
    fn open(directory: &Path) -> anyhow::Result<Self> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(4 << 20).set_check_integrity_on_open(true);
        Ok(Self(builder.create(directory.join("redb"))?))
    }

    fn run(&mut self, clients: Vec<Vec<Row>>) -> anyhow::Result<Vec<Duration>> {
        in_lock_step(&clients, |rows| {
            let transaction = self.0.begin_write()?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for (key, value) in rows {
                    table.insert(key.as_str(), value.as_slice())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn count(&self) -> anyhow::Result<usize> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        Ok(table.iter()?.flatten().filter(|(_, value)| !value.value().is_empty()).count())
    }
}

/// The product. Every client is a task.
struct Product(tokio::runtime::Runtime, Arc<Embedded>);

impl Product {
    async fn client(store: Arc<Embedded>, rows: Vec<Row>) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        for (name, value) in rows {
            let key = Key { resource: Resource("pods".into()), namespace: name[..2].into(), name: name.into() };
            let draft = Draft { bytes: value, revision_at: 0, header: Header::default(), can_wait: false };
            let start = Instant::now();
            let expect = store.get(&key).await?.map_or(Expect::Absent, |entry| Expect::At(entry.revision));
            store.put(key, expect, draft).await?;
            times.push(start.elapsed());
        }
        Ok(times)
    }
}

impl Engine for Product {
    fn open(directory: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let store = Embedded::open(&directory.join("store"), Limits::default())?;
        Ok(Self(runtime, Arc::new(store)))
    }

    fn run(&mut self, clients: Vec<Vec<Row>>) -> anyhow::Result<Vec<Duration>> {
        let clients = clients.into_iter().map(|rows| Self::client(Arc::clone(&self.1), rows));
        self.0.block_on(async {
            let clients: Vec<_> = clients.map(tokio::spawn).collect();
            let mut times = Vec::new();
            for client in clients {
                times.extend(client.await??);
            }
            Ok(times)
        })
    }

    fn count(&self) -> anyhow::Result<usize> {
        let all = Range { resource: Resource("pods".into()), namespace: None, after: None, limit: 0, at: None };
        Ok(self.0.block_on(self.1.range(all))?.entries.len())
    }
}

/// The `i`-th write: keys come in a scattered order, as status updates do.
fn row(i: u64) -> Row {
    let scattered = i.wrapping_mul(48_271) % OBJECTS;
    let mut seed = (i << 20) | 1;
    let value = (0..VALUE_BYTES)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            b'a' + (seed % 26) as u8
        })
        .collect();
    (format!("{:02}-{scattered:06}", scattered % 100), value)
}

/// Deals the first writes out to `clients`, so many to each.
fn shares(clients: u64, each: u64) -> Vec<Vec<Row>> {
    (0..clients).map(|client| (0..each).map(|i| row(i * clients + client)).collect()).collect()
}

fn measure<E: Engine>(directory: &Path) -> anyhow::Result<()> {
    let mut engine = E::open(directory)?;
    engine.run(shares(LOADERS, OBJECTS / LOADERS))?;
    for clients in CLIENTS {
        let work = shares(clients, WRITES_EACH);
        let start = Instant::now();
        let mut times = engine.run(work)?;
        let writes_per_s = times.len() as f64 / start.elapsed().as_secs_f64();
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("{clients:3} clients: p50 {p50:>9.1?}  p99 {p99:>9.1?}  {writes_per_s:>7.0} writes/s");
    }
    // The files as a kill leaves them: as they are, without a close.
    let image = directory.join("image");
    copy(directory, &image)?;
    drop(engine);
    let start = Instant::now();
    let engine = E::open(&image)?;
    let opened = start.elapsed();
    println!("open {opened:.1?}, {} objects, resident {} KiB", engine.count()?, resident_kib()?);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let items = std::fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir(to)?;
    for item in items {
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy(&item.path(), &target)?;
        } else {
            std::fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let base = arguments.get(1).map_or(".", String::as_str);
    let directory = tempfile::Builder::new().prefix("engine-compare").tempdir_in(base)?;
    match arguments.first().map(String::as_str) {
        Some("floor") => measure::<Floor>(directory.path()),
        Some("keyed") => measure::<Keyed>(directory.path()),
        Some("store") => measure::<Product>(directory.path()),
        _ => anyhow::bail!("usage: engine_compare (floor | keyed | store) [DIRECTORY]"),
    }
}
