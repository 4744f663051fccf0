//! The durable side: a directory with a lock, a format mark and one redb file that holds the newest
//! state of every key and the revision counter. A commit is one transaction and one sync.
//! Never retries, never caches for readers, never interprets an object.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition};

use crate::{Entry, Event, Key, OpenError, Resource, Revision, record};

/// The layout this program writes, and the newest one it reads.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const DATA_FILE: &str = "objects.redb";

/// All objects are in memory; the engine needs room for the pages of one commit only.
const ENGINE_CACHE_BYTES: usize = 4 << 20;

/// (resource, namespace, name) to record.
const OBJECTS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("objects");
/// The revision of the last commit, deletions included.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const NEWEST: &str = "revision";

/// The log of one data directory, which stays locked while this lives.
pub(crate) struct Log {
    database: Database,
    record: Vec<u8>,
    _lock: Option<File>,
}

/// What the log held when it was opened.
pub(crate) struct Recovered {
    pub(crate) entries: Vec<Entry>,
    pub(crate) newest: Revision,
}

/// Why a commit is not known to be durable. The log must not be used again.
#[derive(Debug, thiserror::Error)]
#[error("cannot make writes durable")]
pub(crate) struct CommitError(#[source] redb::Error);

impl<E: Into<redb::Error>> From<E> for CommitError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Log {
    /// Locks and reads directory `path`, making it if there is none.
    pub(crate) fn open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        let io = |source| OpenError::Io { path: path.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let lock = lock(path)?;
        check_format(path)?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path.join(DATA_FILE));
        let backend = FileBackend::new(file.map_err(io)?).map_err(|error| refused(path, error.into()))?;
        File::open(path).and_then(|directory| directory.sync_all()).map_err(io)?;
        let (mut log, recovered) = Self::open_backend(path, backend)?;
        log._lock = Some(lock);
        Ok((log, recovered))
    }

    /// Reads what `backend` holds; `path` is for messages only.
    pub(crate) fn open_backend(path: &Path, backend: impl StorageBackend) -> Result<(Self, Recovered), OpenError> {
        let database = Database::builder()
            .set_cache_size(ENGINE_CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|error| refused(path, error.into()))?;
        let recovered = recover(path, &database)?;
        Ok((Self { database, record: Vec::new(), _lock: None }, recovered))
    }

    /// Makes `events` durable, all or none. `events` is not empty and in revision order.
    pub(crate) fn commit(&mut self, events: &[Arc<Event>]) -> Result<(), CommitError> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            for event in events {
                let entry = &event.after;
                let key = (&*entry.key.resource.0, &*entry.key.namespace, &*entry.key.name);
                if event.deleted {
                    objects.remove(key)?;
                } else {
                    record::encode(entry, &mut self.record);
                    objects.insert(key, self.record.as_slice())?;
                }
            }
            if let Some(last) = events.last() {
                transaction.open_table(COUNTERS)?.insert(NEWEST, last.after.revision.0)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn recover(path: &Path, database: &Database) -> Result<Recovered, OpenError> {
    read_all(database).map_err(|error| match error {
        RecoverError::Engine(error) => refused(path, error),
        RecoverError::Record(place) => OpenError::Damaged { path: path.display().to_string(), place },
    })
}

enum RecoverError {
    Engine(redb::Error),
    Record(String),
}

impl<E: Into<redb::Error>> From<E> for RecoverError {
    fn from(error: E) -> Self {
        Self::Engine(error.into())
    }
}

fn read_all(database: &Database) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered { entries: Vec::new(), newest: Revision(0) };
    let transaction = database.begin_read()?;
    let objects = match transaction.open_table(OBJECTS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(recovered),
        Err(error) => return Err(error.into()),
    };
    if let Some(newest) = transaction.open_table(COUNTERS)?.get(NEWEST)? {
        recovered.newest = Revision(newest.value());
    }
    let mut resource = Resource("".into());
    for row in objects.iter()? {
        let (key, value) = row?;
        let (name_of_resource, namespace, name) = key.value();
        if *resource.0 != *name_of_resource {
            resource = Resource(name_of_resource.into());
        }
        let key = Key { resource: resource.clone(), namespace: namespace.into(), name: name.into() };
        let place = key.to_string();
        let entry = record::decode(key, value.value()).map_err(|error| RecoverError::Record(format!("{place}: {error}")))?;
        if entry.revision > recovered.newest {
            return Err(RecoverError::Record(format!("{place} is newer than the revision counter")));
        }
        recovered.entries.push(entry);
    }
    Ok(recovered)
}

fn refused(path: &Path, error: redb::Error) -> OpenError {
    let path = path.display().to_string();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(source) => OpenError::Io { path, source },
        damage => OpenError::Damaged { path, place: format!("{DATA_FILE}: {damage}") },
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let shown = || path.display().to_string();
    let io = |source| OpenError::Io { path: shown(), source };
    let file = File::options().write(true).create(true).truncate(false).open(path.join(LOCK_FILE)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: shown() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Refuses a directory of a newer program; marks a new one.
fn check_format(path: &Path) -> Result<(), OpenError> {
    let shown = || path.display().to_string();
    let mark = path.join(FORMAT_FILE);
    match std::fs::read_to_string(&mark) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            Ok(found) => Err(OpenError::NewerFormat { path: shown(), found, known: FORMAT }),
            Err(_) => Err(OpenError::Damaged { path: shown(), place: format!("{FORMAT_FILE} is not a number") }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_whole(path, &mark, format!("{FORMAT}\n").as_bytes())
                .map_err(|source| OpenError::Io { path: shown(), source })
        }
        Err(source) => Err(OpenError::Io { path: shown(), source }),
    }
}

/// Writes a small file so that it exists with all its bytes or not at all.
fn write_whole(directory: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = target.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, target)?;
    File::open(directory)?.sync_all()
}
