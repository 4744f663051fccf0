//! The words of the store: keys, revisions, entries, events and one error enum per operation.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A point in the store's history. One counter for the whole store; 0 is before the first write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The table a key belongs to, e.g. `pods` or `apps/statefulsets`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(pub Arc<str>);

/// Where an object lives. Ordered by resource, namespace, name, bytewise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub resource: Resource,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.resource.0, self.namespace, self.name)
    }
}

/// What readers and watchers filter by without parsing the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `metadata.uid`
    pub uid: Box<str>,
    /// `metadata.labels`, sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Values of the kind's field selectors.
    pub fields: Box<[(Box<str>, Box<str>)]>,
    /// UIDs of `metadata.ownerReferences`.
    pub owners: Box<[Box<str>]>,
}

/// An object about to be written: encoded once, with a gap where its resourceVersion goes.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The encoded object without the digits of its revision.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` at which the decimal revision is inserted.
    pub revision_at: usize,
    /// The parsed header.
    pub header: Header,
    /// Whether the change may wait a little for others to be made durable with.
    pub can_wait: bool,
}

/// One object at one revision. Shared by every reader and watcher.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lives.
    pub key: Key,
    /// The revision of this state.
    pub revision: Revision,
    /// What to filter by.
    pub header: Header,
    /// The encoded object with its revision in place.
    pub bytes: Bytes,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Event {
    /// State before the change; none when the key was absent.
    pub before: Option<Arc<Entry>>,
    /// State after the change. For a deletion: the last state, at the revision of the deletion.
    pub after: Arc<Entry>,
    /// Whether the key is gone after the change.
    pub deleted: bool,
}

/// What a put requires of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key must not exist.
    Absent,
    /// The key must be at this revision.
    At(Revision),
}

/// What to list.
#[derive(Clone, Debug)]
pub struct Range {
    /// The table.
    pub resource: Resource,
    /// Only this namespace.
    pub namespace: Option<Box<str>>,
    /// Continue after this (namespace, name).
    pub after: Option<(Box<str>, Box<str>)>,
    /// At most so many entries; 0 is all.
    pub limit: usize,
    /// As of this revision; none is the newest.
    pub at: Option<Revision>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The entries, in key order.
    pub entries: Vec<Arc<Entry>>,
    /// The revision the page shows.
    pub revision: Revision,
    /// How many entries come after this page.
    pub remaining: usize,
}

/// A stream of changes, in order.
pub struct Watch {
    /// Yields events; an error is the last item.
    pub events: tokio::sync::mpsc::Receiver<Result<Arc<Event>, ReadError>>,
}

/// Why a put did not happen. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// [`Expect::Absent`] and the key exists.
    #[error("{key} exists at revision {}", current.revision)]
    Exists {
        /// The key.
        key: Key,
        /// Its state.
        current: Arc<Entry>,
    },
    /// [`Expect::At`] and the key is at another revision, or absent.
    #[error("{key} is not at the expected revision")]
    Conflict {
        /// The key.
        key: Key,
        /// Its state, if any.
        current: Option<Arc<Entry>>,
    },
    /// The log can no longer be trusted to be durable; the store takes no more writes.
    #[error("the store no longer accepts writes: {reason}")]
    Unavailable {
        /// What happened to the log.
        reason: String,
    },
}

/// Why a deletion did not happen. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The key is at another revision, or absent.
    #[error("{key} is not at the expected revision")]
    Conflict {
        /// The key.
        key: Key,
        /// Its state, if any.
        current: Option<Arc<Entry>>,
    },
    /// The log can no longer be trusted to be durable; the store takes no more writes.
    #[error("the store no longer accepts writes: {reason}")]
    Unavailable {
        /// What happened to the log.
        reason: String,
    },
}

/// Why a read or a watch could not be served, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision is older than the kept history.
    #[error("revision {at} is older than the oldest kept revision {oldest}")]
    Compacted {
        /// What was asked for.
        at: Revision,
        /// The oldest revision that can be asked for.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {at} is newer than the newest revision {newest}")]
    Future {
        /// What was asked for.
        at: Revision,
        /// The newest revision.
        newest: Revision,
    },
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("data directory {path} is in use by another process")]
    InUse {
        /// The directory.
        path: String,
    },
    /// It was written by a newer version of the program.
    #[error("data directory {path} has format {found}, this program knows {known}")]
    NewerFormat {
        /// The directory.
        path: String,
        /// Format on disk.
        found: u32,
        /// Newest format this program reads.
        known: u32,
    },
    /// What is on disk contradicts itself somewhere other than at its torn end.
    #[error("data directory {path} is damaged: {place}")]
    Damaged {
        /// The directory.
        path: String,
        /// Where and how.
        place: String,
    },
    /// The operating system said no.
    #[error("cannot open data directory {path}")]
    Io {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
