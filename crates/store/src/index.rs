//! Every object and its recent past, in memory: one ordered map per resource from key to versions,
//! and the changes of the kept history in order. Pure: no I/O, no clock, no locks. Holds only what
//! is durable, because nobody calls [`Index::apply`] before the log has said so.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::{Entry, Event, Key, Limits, Page, Range, ReadError, Resource, Revision};

/// The multi-version index.
pub(crate) struct Index {
    tables: HashMap<Resource, BTreeMap<Key, Versions>>,
    history: VecDeque<Kept>,
    history_bytes: usize,
    newest: Revision,
    oldest: Revision,
}

/// A change that is still in the kept history.
struct Kept {
    event: Arc<Event>,
    since: Instant,
}

/// The states of one key that the kept history can still show.
struct Versions {
    newest: Version,
    /// Ascending by revision; empty for nearly every key.
    older: Vec<Version>,
}

struct Version {
    entry: Arc<Entry>,
    deleted: bool,
}

impl Index {
    /// The state read back from the log. History starts at `newest`.
    pub(crate) fn new(entries: HashMap<Key, Arc<Entry>>, newest: Revision) -> Self {
        let mut tables: HashMap<Resource, BTreeMap<Key, Versions>> = HashMap::new();
        let mut rows: Vec<_> = entries.into_iter().collect();
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut rows = rows.into_iter().peekable();
        while let Some(resource) = rows.peek().map(|(key, _)| key.resource.clone()) {
            let same = std::iter::from_fn(|| rows.next_if(|(key, _)| key.resource == resource));
            let versions = |entry| Versions { newest: Version { entry, deleted: false }, older: Vec::new() };
            // A map from rows in order is built without a search for each.
            let table = same.map(|(key, entry)| (key, versions(entry))).collect();
            tables.insert(resource, table);
        }
        Self { tables, history: VecDeque::new(), history_bytes: 0, newest, oldest: newest }
    }

    /// The newest durable revision.
    pub(crate) fn newest(&self) -> Revision {
        self.newest
    }

    /// The newest state of `key`, none when it does not exist.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        let versions = self.tables.get(&key.resource)?.get(key)?;
        (!versions.newest.deleted).then_some(&versions.newest.entry)
    }

    /// A page of keys in order; see [`crate::Store::range`].
    pub(crate) fn range(&self, range: &Range) -> Result<Page, ReadError> {
        let revision = range.at.unwrap_or(self.newest);
        self.admit(revision)?;
        let Some(table) = self.tables.get(&range.resource) else {
            return Ok(Page { entries: Vec::new(), revision, remaining: 0 });
        };
        let inside = |key: &Key| range.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        let mut visible = table
            .range((start_of(range), Bound::Unbounded))
            .take_while(|(key, _)| inside(key))
            .filter_map(|(_, versions)| versions.at(revision));
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let entries = visible.by_ref().take(limit).cloned().collect();
        Ok(Page { entries, revision, remaining: visible.count() })
    }

    /// The kept changes after `from` to a resource, or to one namespace of it, in order.
    pub(crate) fn replay<'a>(
        &'a self,
        resource: &'a Resource,
        namespace: Option<&'a str>,
        from: Revision,
    ) -> Result<impl Iterator<Item = &'a Arc<Event>>, ReadError> {
        self.admit(from)?;
        let start = self.history.partition_point(|kept| kept.event.after.revision <= from);
        Ok(self.history.range(start..).map(|kept| &kept.event).filter(move |event| {
            let key = &event.after.key;
            key.resource == *resource && namespace.is_none_or(|namespace| *namespace == *key.namespace)
        }))
    }

    /// Makes durable changes visible, in order, then lets go of history beyond the limits.
    pub(crate) fn apply(&mut self, events: &[Arc<Event>], now: Instant, limits: &Limits) {
        for event in events {
            let entry = &event.after;
            debug_assert!(entry.revision > self.newest, "revisions strictly increase");
            let version = Version { entry: Arc::clone(entry), deleted: event.deleted };
            let table = self.tables.entry(entry.key.resource.clone()).or_default();
            match table.get_mut(&entry.key) {
                Some(versions) => versions.older.push(std::mem::replace(&mut versions.newest, version)),
                None => drop(table.insert(entry.key.clone(), Versions { newest: version, older: Vec::new() })),
            }
            self.newest = entry.revision;
            self.history_bytes += entry.bytes.len();
            self.history.push_back(Kept { event: Arc::clone(event), since: now });
        }
        while self.history.front().is_some_and(|front| self.exceeds(front, now, limits)) {
            self.forget_oldest();
        }
    }

    fn exceeds(&self, front: &Kept, now: Instant, limits: &Limits) -> bool {
        self.history.len() > limits.history_events_max
            || self.history_bytes > limits.history_bytes_max
            || now.saturating_duration_since(front.since) > limits.history_age_max
    }

    /// Drops the oldest change and every state that only revisions before it could show.
    fn forget_oldest(&mut self) {
        let Some(Kept { event, .. }) = self.history.pop_front() else { return };
        let entry = &event.after;
        self.oldest = entry.revision;
        self.history_bytes -= entry.bytes.len();
        let Some(table) = self.tables.get_mut(&entry.key.resource) else { return };
        let Some(versions) = table.get_mut(&entry.key) else { return };
        versions.older.retain(|version| version.entry.revision >= entry.revision);
        if versions.older.is_empty() {
            versions.older = Vec::new();
        } else if versions.older[0].deleted {
            versions.older.remove(0);
        }
        if versions.older.is_empty() && versions.newest.deleted && versions.newest.entry.revision <= self.oldest {
            table.remove(&entry.key);
        }
    }

    fn admit(&self, at: Revision) -> Result<(), ReadError> {
        if at > self.newest {
            Err(ReadError::Future { at, newest: self.newest })
        } else if at < self.oldest {
            Err(ReadError::Compacted { at, oldest: self.oldest })
        } else {
            Ok(())
        }
    }
}

impl Versions {
    fn at(&self, revision: Revision) -> Option<&Arc<Entry>> {
        std::iter::once(&self.newest)
            .chain(self.older.iter().rev())
            .find(|version| version.entry.revision <= revision)
            .filter(|version| !version.deleted)
            .map(|version| &version.entry)
    }
}

/// Where a page starts: after the continue position, but never before the namespace asked for.
fn start_of(range: &Range) -> Bound<Key> {
    let key = |namespace: &str, name: &str| Key {
        resource: range.resource.clone(),
        namespace: namespace.into(),
        name: name.into(),
    };
    match (&range.after, &range.namespace) {
        (Some((namespace, _)), Some(wanted)) if namespace < wanted => Bound::Included(key(wanted, "")),
        (Some((namespace, name)), _) => Bound::Excluded(key(namespace, name)),
        (None, Some(namespace)) => Bound::Included(key(namespace, "")),
        (None, None) => Bound::Unbounded,
    }
}
