//! Everything that was ever made durable, by table and in order of revision, and what it says: the state at
//! a revision, what came next, and what a server may have forgotten since.

use std::collections::BTreeMap;
use std::sync::Arc;

use stead_store::simulated::Committed;
use stead_store::{Entry, Event, Limits};
use tokio::time::Instant;

use super::Name;

/// One write.
pub(super) struct Logged {
    pub(super) event: Arc<Event>,
    pub(super) writer: Arc<str>,
}

impl Logged {
    pub(super) fn revision(&self) -> u64 {
        self.event.after.revision.0
    }

    /// The revision of the state before; none when there was none.
    pub(super) fn before(&self) -> Option<u64> {
        self.event.before.as_ref().map(|before| before.revision.0)
    }

    pub(super) fn name(&self) -> Name {
        let key = &self.event.after.key;
        (key.namespace.to_string(), key.name.to_string())
    }
}

/// The writes to one table.
#[derive(Default)]
pub(super) struct Table {
    lines: Vec<Logged>,
    /// Where in `lines` each object is, oldest first.
    of: BTreeMap<Name, Vec<usize>>,
}

impl Table {
    fn push(&mut self, change: &Committed) {
        let logged = Logged { event: Arc::clone(&change.event), writer: Arc::clone(&change.writer) };
        self.of.entry(logged.name()).or_default().push(self.lines.len());
        self.lines.push(logged);
    }

    /// The write that made this revision.
    pub(super) fn find(&self, revision: u64) -> Option<&Logged> {
        let at = self.lines.binary_search_by_key(&revision, Logged::revision).ok()?;
        self.lines.get(at)
    }

    /// Every write after `revision`, in order.
    pub(super) fn after(&self, revision: u64) -> &[Logged] {
        &self.lines[self.lines.partition_point(|line| line.revision() <= revision)..]
    }

    /// The writes to one object after `revision`, in order.
    pub(super) fn of_after(&self, name: &Name, revision: u64) -> impl Iterator<Item = &Logged> {
        let all = self.of.get(name).map(Vec::as_slice).unwrap_or_default();
        let first = all.partition_point(|at| self.lines[*at].revision() <= revision);
        all[first..].iter().map(|at| &self.lines[*at])
    }

    /// The object as it was at `revision`.
    pub(super) fn at(&self, name: &Name, revision: u64) -> Option<&Arc<Entry>> {
        let all = self.of.get(name)?;
        let end = all.partition_point(|at| self.lines[*at].revision() <= revision);
        let last = &self.lines[*all.get(end.checked_sub(1)?)?].event;
        (!last.deleted).then_some(&last.after)
    }

    /// Every object as it was at `revision`.
    pub(super) fn state(&self, revision: u64) -> impl Iterator<Item = &Arc<Entry>> {
        self.of.keys().filter_map(move |name| self.at(name, revision))
    }
}

/// When a write became durable, and how many bytes have been written with it.
struct Kept {
    revision: u64,
    at: Instant,
    bytes: usize,
}

/// The whole log.
#[derive(Default)]
pub(super) struct Log {
    tables: BTreeMap<Box<str>, Table>,
    all: Vec<Kept>,
    /// Where the history of the server that runs begins, and what it keeps.
    begins: u64,
    limits: Limits,
    /// The newest revision that anybody was shown.
    shown: u64,
}

impl Log {
    pub(super) fn push(&mut self, change: &Committed) {
        let entry = &change.event.after;
        let bytes = self.all.last().map_or(0, |last| last.bytes) + entry.bytes.len();
        self.all.push(Kept { revision: entry.revision.0, at: Instant::now(), bytes });
        self.tables.entry((&*entry.key.resource.0).into()).or_default().push(change);
    }

    /// A server starts whose history begins here.
    pub(super) fn begins(&mut self, revision: u64, limits: Limits) {
        (self.begins, self.limits) = (revision, limits);
    }

    /// The newest durable revision.
    pub(super) fn newest(&self) -> u64 {
        self.all.last().map_or(0, |last| last.revision)
    }

    pub(super) fn writes(&self) -> usize {
        self.all.len()
    }

    /// The newest revision that anybody was shown: nobody may be shown less from then on.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// Somebody was shown this revision.
    pub(super) fn show(&mut self, revision: u64) {
        self.shown = self.shown.max(revision);
    }

    /// The writes to a table; none while there are none.
    pub(super) fn table(&self, table: &str) -> Option<&Table> {
        self.tables.get(table)
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.tables.iter().map(|(name, table)| (&**name, table))
    }

    /// Whether the server may have forgotten what came after `revision`.
    pub(super) fn may_be_compacted(&self, revision: u64) -> bool {
        let first = self.all.partition_point(|kept| kept.revision <= revision);
        let Some(next) = self.all.get(first) else { return revision < self.begins };
        let (events, bytes) = (self.all.len() - first, self.newest_bytes() - next.bytes);
        revision < self.begins
            || events > self.limits.history_events_max
            || bytes > self.limits.history_bytes_max
            || next.at.elapsed() >= self.limits.history_age_max
    }

    /// Whether so much of a table was written after `revision` that a watcher may have fallen behind.
    pub(super) fn may_be_behind(&self, table: &str, namespace: Option<&str>, revision: u64) -> bool {
        let lines = self.table(table).map(|table| table.after(revision)).unwrap_or_default();
        let concerned =
            || lines.iter().filter(|line| namespace.is_none_or(|own| *own == *line.event.after.key.namespace));
        let bytes: usize = concerned().map(|line| line.event.after.bytes.len()).sum();
        concerned().count() >= self.limits.watch_events_max || bytes >= self.limits.watch_bytes_max
    }

    fn newest_bytes(&self) -> usize {
        self.all.last().map_or(0, |last| last.bytes)
    }
}
