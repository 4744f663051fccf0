//! The durable side: one row per commit in a redb file, in the order of revisions. A commit is one
//! transaction and one sync. Rows are read at start-up only; while running, the oldest rows are
//! cleaned little by little: what is still current in them moves to the end, the rest goes.
//! Never retries, never serves readers, never interprets an object.

use std::collections::{HashMap, hash_map};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, Table, TableDefinition};

use crate::directory::{Directory, io_error};
use crate::record::{self, Decoder, Record, State};
use crate::{Entry, Event, Key, OpenError, Revision};

const DATA_FILE: &str = "log.redb";

/// All objects are in memory; the engine needs room for the pages of one commit only.
const ENGINE_CACHE_BYTES: usize = 4 << 20;

/// The newest revision of a commit to its records. The last row's key is the revision counter.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commits");

/// The log is cleaned when it exceeds `CLEAN_FACTOR` times what is current in it plus this.
const CLEAN_SLACK_BYTES: u64 = 4 << 20;
const CLEAN_FACTOR: u64 = 2;
/// For each byte written so many old ones are looked at. At least `CLEAN_FACTOR / (CLEAN_FACTOR - 1)`
/// keeps the log from growing without bound.
const CLEAN_PACE: u64 = 2;
/// What a record takes beside the object's bytes, roughly.
const RECORD_OVERHEAD_BYTES: u64 = 64;

/// The log of one data directory, which stays locked while this lives.
pub(crate) struct Log {
    database: Database,
    decoder: Decoder,
    usage: Usage,
    _directory: Option<Directory>,
}

/// How much of the log is of use, in bytes.
#[derive(Clone, Copy, Default)]
struct Usage {
    total: u64,
    current: u64,
    /// How many bytes of old rows may be looked at now.
    allowance: u64,
}

/// What the log held when it was opened.
pub(crate) struct Recovered {
    /// The newest state of every key.
    pub(crate) entries: HashMap<Key, Arc<Entry>>,
    pub(crate) newest: Revision,
}

/// Why a commit is not known to be durable. The log must not be used again.
#[derive(Debug, thiserror::Error)]
#[error("cannot make writes durable")]
pub(crate) struct CommitError(#[from] redb::Error);

impl Log {
    /// Locks and reads directory `path`, making it if there is none.
    pub(crate) fn open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        let mut directory = Directory::claim(path)?;
        let io = |source| io_error(path, source);
        let data = path.join(DATA_FILE);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(data).map_err(io)?;
        // The engine would take an empty file for a new log.
        if directory.marked && file.metadata().map_err(io)?.len() == 0 {
            let place = format!("{DATA_FILE} is missing or empty");
            return Err(OpenError::Damaged { path: path.display().to_string(), place });
        }
        let backend = FileBackend::new(file).map_err(|error| refused(path, error.into()))?;
        let (mut log, recovered) = Self::open_backend(path, backend)?;
        directory.mark(path)?;
        log._directory = Some(directory);
        Ok((log, recovered))
    }

    /// Reads what `backend` holds; `path` is for messages only.
    pub(crate) fn open_backend(path: &Path, backend: impl StorageBackend) -> Result<(Self, Recovered), OpenError> {
        let database = Database::builder()
            .set_cache_size(ENGINE_CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|error| refused(path, error.into()))?;
        let mut log = Self { database, decoder: Decoder::default(), usage: Usage::default(), _directory: None };
        let recovered = log.recover().map_err(|error| refused(path, error))?;
        Ok((log, recovered))
    }

    /// Makes `events` durable, all or none. They are not empty, in revision order, and newer than
    /// everything in the log. `is_current` tells whether a key was at a revision before them.
    pub(crate) fn commit(
        &mut self,
        events: &[Arc<Event>],
        is_current: impl Fn(&Key, Revision) -> bool,
    ) -> Result<(), CommitError> {
        Ok(self.append(events, is_current)?)
    }

    fn append(
        &mut self,
        events: &[Arc<Event>],
        is_current: impl Fn(&Key, Revision) -> bool,
    ) -> Result<(), redb::Error> {
        let Some(last) = events.last() else { return Ok(()) };
        let mut usage = self.usage;
        usage.add(events);
        let transaction = self.database.begin_write()?;
        {
            let mut rows = transaction.open_table(ROWS)?;
            let mut row = Vec::new();
            while let Some((newest, old)) = oldest_to_clean(&mut rows, &mut usage)? {
                for record in self.decoder.decode(&old) {
                    let record = record.map_err(|error| damaged(newest, error))?;
                    carry_over(record, &is_current, &mut usage, &mut row);
                }
            }
            events.iter().for_each(|event| record::append(event, &mut row));
            rows.insert(last.after.revision.0, row.as_slice())?;
        }
        transaction.commit()?;
        self.usage = usage;
        Ok(())
    }

    fn recover(&mut self) -> Result<Recovered, redb::Error> {
        let mut recovered = Recovered { entries: HashMap::new(), newest: Revision(0) };
        let transaction = self.database.begin_read()?;
        let rows = match transaction.open_table(ROWS) {
            Ok(rows) => rows,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(recovered),
            Err(error) => return Err(error.into()),
        };
        for item in rows.iter()? {
            let (newest, row) = item?;
            recovered.newest = Revision(newest.value());
            for record in self.decoder.decode(row.value()) {
                let record = record.map_err(|error| damaged(newest.value(), error))?;
                self.usage.total += cost(record.state.as_ref().map_or(0, State::bytes_len));
                recovered.redo(record).map_err(|problem| damaged(newest.value(), problem))?;
            }
        }
        self.usage.current = recovered.entries.values().map(|entry| cost(entry.bytes.len())).sum();
        Ok(recovered)
    }
}

impl Recovered {
    /// Takes one record over; the error says how it contradicts those before it.
    fn redo(&mut self, Record { key, revision, state }: Record) -> Result<(), String> {
        if revision > self.newest {
            return Err(format!("{key} at revision {revision} is newer than its commit"));
        }
        match (self.entries.entry(key), state) {
            (hash_map::Entry::Occupied(old), _) if old.get().revision >= revision => {
                return Err(format!("{} at revision {revision} comes after a newer state", old.key()));
            }
            (hash_map::Entry::Occupied(old), None) => drop(old.remove()),
            // What was deleted is already cleaned away.
            (hash_map::Entry::Vacant(_), None) => {}
            (slot, Some(state)) => {
                let entry = state.entry(slot.key().clone(), revision);
                slot.insert_entry(Arc::new(entry));
            }
        }
        Ok(())
    }
}

impl Usage {
    fn add(&mut self, events: &[Arc<Event>]) {
        for event in events {
            let bytes = if event.deleted { 0 } else { event.after.bytes.len() };
            self.total += cost(bytes);
            self.allowance += cost(bytes) * CLEAN_PACE;
            self.current += if event.deleted { 0 } else { cost(bytes) };
            self.current -= event.before.as_ref().map_or(0, |before| cost(before.bytes.len()));
        }
    }

    fn wants_cleaning(&self) -> bool {
        self.total > CLEAN_FACTOR * self.current + CLEAN_SLACK_BYTES
    }
}

/// Takes the oldest row out of the log if it is to be cleaned now.
fn oldest_to_clean(
    rows: &mut Table<'_, u64, &'static [u8]>,
    usage: &mut Usage,
) -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
    if !usage.wants_cleaning() {
        usage.allowance = 0;
        return Ok(None);
    }
    let Some((key, size)) = rows.first()?.map(|(key, row)| (key.value(), row.value().len() as u64)) else {
        return Ok(None);
    };
    if size > usage.allowance {
        return Ok(None);
    }
    usage.allowance -= size;
    Ok(rows.remove(key)?.map(|row| (key, row.value().to_vec())))
}

/// Keeps a record of the oldest row, which goes, if it is what its key is at. A deletion need not be
/// kept: the states it hides were in this row or in older ones.
fn carry_over(record: Record, is_current: impl Fn(&Key, Revision) -> bool, usage: &mut Usage, row: &mut Vec<u8>) {
    let Record { key, revision, state } = record;
    match state {
        Some(state) if is_current(&key, revision) => record::append_state(&state.entry(key, revision), row),
        Some(state) => usage.total = usage.total.saturating_sub(cost(state.bytes_len())),
        None => usage.total = usage.total.saturating_sub(cost(0)),
    }
}

fn cost(object_bytes: usize) -> u64 {
    object_bytes as u64 + RECORD_OVERHEAD_BYTES
}

fn damaged(row: u64, problem: impl fmt::Display) -> redb::Error {
    redb::Error::Corrupted(format!("commit of revision {row}: {problem}"))
}

fn refused(path: &Path, error: redb::Error) -> OpenError {
    let path = path.display().to_string();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(source) if !is_about_contents(&source) => OpenError::Io { path, source },
        damage => OpenError::Damaged { path, place: format!("{DATA_FILE}: {damage}") },
    }
}

/// Whether the engine found the file itself wrong, rather than the operating system the request.
fn is_about_contents(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
