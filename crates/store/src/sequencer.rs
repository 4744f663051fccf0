//! How writes are decided, shown and acknowledged: each is decided against the state that all earlier
//! ones leave, and shown and acknowledged only when it is durable. Where that happens and who waits for
//! it is the committer's matter, or that of a simulated disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::index::Index;
use crate::watchers::{Buffer, Watchers};
use crate::{DeleteError, Draft, Entry, Event, Expect, Key, Limits, PutError, ReadError, Resource, Revision, Watch};

/// A write waiting for its turn.
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) change: Change,
    pub(crate) draft: Draft,
    pub(crate) reply: oneshot::Sender<Verdict>,
}

/// What a write does, and what it requires of the key.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    Put(Expect),
    Delete(Revision),
}

/// What became of a write.
pub(crate) enum Verdict {
    Done(Arc<Entry>),
    /// The key was not as required; nothing was changed.
    Refused {
        key: Key,
        current: Option<Arc<Entry>>,
    },
    Unavailable {
        reason: String,
    },
}

impl Verdict {
    /// As the answer to a put.
    pub(crate) fn of_put(self, expect: Expect) -> Result<Arc<Entry>, PutError> {
        match self {
            Self::Done(entry) => Ok(entry),
            Self::Refused { key, current: Some(current) } if expect == Expect::Absent => {
                Err(PutError::Exists { key, current })
            }
            Self::Refused { key, current } => Err(PutError::Conflict { key, current }),
            Self::Unavailable { reason } => Err(PutError::Unavailable { reason }),
        }
    }

    /// As the answer to a deletion.
    pub(crate) fn of_delete(self) -> Result<Arc<Entry>, DeleteError> {
        match self {
            Self::Done(entry) => Ok(entry),
            Self::Refused { key, current } => Err(DeleteError::Conflict { key, current }),
            Self::Unavailable { reason } => Err(DeleteError::Unavailable { reason }),
        }
    }
}

/// What readers share with the sequencer. `watchers` is locked before `index` by whoever needs
/// both: a watcher then joins either before a change is published or after it is in the history.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    index: RwLock<Index>,
    watchers: Mutex<Watchers>,
    /// Why writes are no longer accepted.
    pub(crate) failure: watch::Sender<Option<String>>,
}

impl Shared {
    pub(crate) fn new(index: Index, limits: Limits) -> Self {
        Self { limits, index: RwLock::new(index), watchers: Mutex::default(), failure: watch::Sender::new(None) }
    }

    /// Makes it known that writes are no longer accepted.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "no more writes are accepted until a restart");
        self.failure.send_replace(Some(reason));
    }

    // A panic while a lock is held leaves these structures usable: each change to them is one insertion.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`crate::Store::watch`].
    pub(crate) fn watch(
        &self,
        resource: Resource,
        namespace: Option<Box<str>>,
        from: Revision,
    ) -> Result<Watch, ReadError> {
        // Locked before the index, so that no change falls between the replay and the live part.
        let mut watchers = self.watchers();
        let index = self.index();
        let replay = index.replay(&resource, namespace.as_deref(), from)?;
        let buffer = Buffer { events_max: self.limits.watch_events_max, bytes_max: self.limits.watch_bytes_max };
        let events = watchers.add(resource.clone(), namespace.clone(), from, replay, buffer);
        Ok(Watch { events })
    }

    /// As [`crate::Store::progress`].
    pub(crate) fn progress(&self) -> Revision {
        // Changes are published under this lock: whoever holds it finds none half way.
        let _watchers = self.watchers();
        self.index().newest()
    }
}

/// The outcome of deciding a number of writes, none of it durable yet. Replies wait for the log as
/// well: a refusal may show the state that an earlier write of the same batch leaves.
pub(crate) struct Batch {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) replies: Vec<(oneshot::Sender<Verdict>, Verdict)>,
}

impl Batch {
    pub(crate) fn decide(writes: Vec<Write>, index: &Index) -> Self {
        let mut pending: HashMap<Key, Option<Arc<Entry>>> = HashMap::new();
        let mut newest = index.newest();
        let mut batch = Self { events: Vec::with_capacity(writes.len()), replies: Vec::with_capacity(writes.len()) };
        for Write { key, change, draft, reply } in writes {
            let current = pending.get(&key).cloned().unwrap_or_else(|| index.get(&key).cloned());
            if !change.fits(current.as_deref()) {
                batch.replies.push((reply, Verdict::Refused { key, current }));
                continue;
            }
            newest = Revision(newest.0 + 1);
            let entry = Arc::new(seal(key, newest, draft));
            let deleted = matches!(change, Change::Delete(_));
            pending.insert(entry.key.clone(), (!deleted).then(|| Arc::clone(&entry)));
            batch.events.push(Arc::new(Event { before: current, after: Arc::clone(&entry), deleted }));
            batch.replies.push((reply, Verdict::Done(entry)));
        }
        batch
    }
}

impl Change {
    fn fits(self, current: Option<&Entry>) -> bool {
        match self {
            Change::Put(Expect::Absent) => current.is_none(),
            Change::Put(Expect::At(revision)) | Change::Delete(revision) => {
                current.is_some_and(|entry| entry.revision == revision)
            }
        }
    }
}

/// The draft at its revision: the digits go where the encoder left the gap.
fn seal(key: Key, revision: Revision, draft: Draft) -> Entry {
    let digits = revision.to_string();
    let gap = draft.revision_at.min(draft.bytes.len());
    let (before, after) = draft.bytes.split_at(gap);
    let mut bytes = Vec::with_capacity(draft.bytes.len() + digits.len());
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(digits.as_bytes());
    bytes.extend_from_slice(after);
    Entry { key, revision, header: draft.header, bytes: Bytes::from(bytes) }
}

/// Shows durable changes to readers, acknowledges them, then tells the watchers.
pub(crate) fn publish(
    events: &[Arc<Event>],
    replies: Vec<(oneshot::Sender<Verdict>, Verdict)>,
    shared: &Shared,
    now: Instant,
) {
    let mut watchers = shared.watchers();
    shared.index_mut().apply(events, now, &shared.limits);
    answer(replies.into_iter());
    for event in events {
        watchers.publish(event);
    }
}

pub(crate) fn answer(replies: impl Iterator<Item = (oneshot::Sender<Verdict>, Verdict)>) {
    for (reply, verdict) in replies {
        if reply.send(verdict).is_err() {
            tracing::trace!("the writer did not wait for the verdict");
        }
    }
}

pub(crate) fn unavailable(reason: &str) -> Verdict {
    Verdict::Unavailable { reason: reason.to_owned() }
}
