//! Measures what an engine adds to the disk's own price of a durable write: group commits of 1 KiB
//! values from 1 and 64 clients, and the time to open 100,000 objects after a kill. The floor is a
//! bare loop of one write and one fdatasync. Read by `docs/decisions/0001-storage-engine.md`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{ReadableDatabase as _, ReadableTable as _};

const VALUE_BYTES: usize = 1024;
const OBJECTS: u64 = 100_000;
const LOAD_BATCH: u64 = 1000;
const COMMITS: u64 = 400;

/// One engine under test: a commit is durable when it returns.
trait Engine: Sized {
    const NAME: &'static str;
    fn open(dir: &Path) -> anyhow::Result<Self>;
    fn commit(&mut self, batch: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<()>;
    fn scan(&self) -> anyhow::Result<u64>;
}

struct Floor(File);

impl Engine for Floor {
    const NAME: &'static str = "floor (write + fdatasync)";
    fn open(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::options().create(true).append(true).read(true).open(dir.join("log"))?))
    }
    fn commit(&mut self, batch: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<()> {
        let bytes: Vec<u8> = batch.iter().flat_map(|(k, v)| k.iter().chain(v)).copied().collect();
        self.0.write_all(&bytes)?;
        Ok(self.0.sync_data()?)
    }
    fn scan(&self) -> anyhow::Result<u64> {
        Ok(self.0.metadata()?.len() / (VALUE_BYTES as u64 + 32))
    }
}

struct Redb(redb::Database);

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("objects");

impl Engine for Redb {
    const NAME: &'static str = "redb";
    fn open(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self(redb::Builder::new().set_cache_size(4 << 20).set_check_integrity_on_open(std::env::var_os("CHECK").is_some()).create(dir.join("redb"))?))
    }
    fn commit(&mut self, batch: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<()> {
        let tx = self.0.begin_write()?;
        {
            let mut table = tx.open_table(TABLE)?;
            for (k, v) in batch {
                table.insert(k.as_slice(), v.as_slice())?;
            }
        }
        Ok(tx.commit()?)
    }
    fn scan(&self) -> anyhow::Result<u64> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut n = 0;
        for row in table.iter()? {
            n += u64::from(!row?.1.value().is_empty());
        }
        Ok(n)
    }
}

struct RedbLog(redb::Database, u64);

const LOG: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("log");

impl Engine for RedbLog {
    const NAME: &'static str = "redb, one row per commit";
    fn open(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self(redb::Builder::new().set_cache_size(4 << 20).set_check_integrity_on_open(true).create(dir.join("redblog"))?, 0))
    }
    fn commit(&mut self, batch: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<()> {
        let bytes: Vec<u8> = batch.iter().flat_map(|(k, v)| k.iter().chain(v)).copied().collect();
        let tx = self.0.begin_write()?;
        self.1 += 1;
        tx.open_table(LOG)?.insert(self.1, bytes.as_slice())?;
        Ok(tx.commit()?)
    }
    fn scan(&self) -> anyhow::Result<u64> {
        let table = self.0.begin_read()?.open_table(LOG)?;
        let mut n = 0;
        for row in table.iter()? {
            n += (row?.1.value().len() / VALUE_BYTES) as u64;
        }
        Ok(n)
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Engine for Fjall {
    const NAME: &'static str = "fjall";
    fn open(dir: &Path) -> anyhow::Result<Self> {
        let db = fjall::Database::builder(dir.join("fjall")).cache_size(4 << 20).worker_threads(1).open()?;
        let objects =
            db.keyspace("objects", || fjall::KeyspaceCreateOptions::default().max_memtable_size(4 << 20))?;
        Ok(Self(db, objects))
    }
    fn commit(&mut self, batch: &[(Vec<u8>, Vec<u8>)]) -> anyhow::Result<()> {
        let mut tx = self.0.batch().durability(Some(fjall::PersistMode::SyncData));
        for (k, v) in batch {
            tx.insert(&self.1, k.clone(), v.clone());
        }
        Ok(tx.commit()?)
    }
    fn scan(&self) -> anyhow::Result<u64> {
        let mut n = 0;
        for row in self.1.iter() {
            n += u64::from(!row.into_inner()?.1.is_empty());
        }
        Ok(n)
    }
}

/// Objects look like JSON and are written in a scattered order, as status updates are.
fn row(i: u64, salt: u64) -> (Vec<u8>, Vec<u8>) {
    let scattered = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % OBJECTS;
    let mut seed = scattered ^ salt << 32 | 1;
    let value = (0..VALUE_BYTES)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            b'a' + (seed % 26) as u8
        })
        .collect();
    (format!("pods\0namespace-{:04}\0pod-{scattered:010}", scattered % 100).into_bytes(), value)
}

fn measure<E: Engine>(dir: &Path, sizes: &[u64]) -> anyhow::Result<()> {
    let mut engine = E::open(dir)?;
    let start = Instant::now();
    for from in (0..OBJECTS).step_by(LOAD_BATCH as usize) {
        let batch: Vec<_> = (from..from + LOAD_BATCH).map(|i| row(i, 0)).collect();
        engine.commit(&batch)?;
    }
    println!("{:26} load {OBJECTS} in {:?}", E::NAME, start.elapsed());
    for &clients in sizes {
        let mut times: Vec<Duration> = Vec::new();
        for c in 0..COMMITS {
            let batch: Vec<_> = (0..clients).map(|i| row(c * clients + i, clients)).collect();
            let start = Instant::now();
            engine.commit(&batch)?;
            times.push(start.elapsed());
        }
        times.sort();
        let total: Duration = times.iter().sum();
        println!(
            "{:26} {clients:3} per commit: p50 {:>9.3?} p99 {:>9.3?} {:>8.0} writes/s",
            E::NAME,
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            (COMMITS * clients) as f64 / total.as_secs_f64()
        );
    }
    // The image a kill leaves: the files as they are, no close.
    let image = dir.join("image");
    while copy(dir, &image).is_err() {}
    drop(engine);
    println!("{:26} disk {} MiB", E::NAME, bytes_under(&image)? >> 20);
    let start = Instant::now();
    let engine = E::open(&image)?;
    let opened = start.elapsed();
    let rows = engine.scan()?;
    println!("{:26} open {opened:.1?} and read {rows} rows {:.1?} rss {}", E::NAME, start.elapsed(), rss());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for item in std::fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.path() == to {
            continue;
        } else if item.file_type()?.is_dir() {
            copy(&item.path(), &target)?;
        } else {
            std::fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

fn bytes_under(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        sum += if item.file_type()?.is_dir() { bytes_under(&item.path())? } else { item.metadata()?.blocks() * 512 };
    }
    Ok(sum)
}

fn rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn main() -> anyhow::Result<()> {
    let base = std::env::args().nth(2).unwrap_or_else(|| ".".into());
    let dir = tempfile::Builder::new().prefix("engine-compare").tempdir_in(base)?;
    match std::env::args().nth(1).as_deref() {
        Some("redb") => measure::<Redb>(dir.path(), &[1, 64]),
        Some("redblog") => measure::<RedbLog>(dir.path(), &[1, 64]),
        Some("fjall") => measure::<Fjall>(dir.path(), &[1, 64]),
        _ => measure::<Floor>(dir.path(), &[1, 64]),
    }
}
