//! The embedded back end: an index in memory, a log on disk, one committer between them. Wires
//! them up and answers reads; decides nothing.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::committer::Committer;
use crate::index::Index;
use crate::log::{Log, Recovered};
use crate::sequencer::{Change, Shared, Verdict, Write, unavailable};
use crate::{
    DeleteError, Draft, Entry, Expect, Key, OpenError, Page, PutError, Range, ReadError, Resource, Revision, Store,
    Watch,
};

/// The bounds of an [`Embedded`] store.
#[derive(Clone, Debug)]
pub struct Limits {
    /// History keeps at most so many changes.
    pub history_events_max: usize,
    /// History keeps changes of at most so many encoded bytes.
    pub history_bytes_max: usize,
    /// History keeps no change older than this (looked at when something is written).
    pub history_age_max: Duration,
    /// So many changes wait for a slow watcher beyond those replayed to it; one more ends it.
    pub watch_events_max: usize,
    /// So many encoded bytes of changes wait for a slow watcher beyond those replayed to it; more end it.
    pub watch_bytes_max: usize,
    /// So many writes wait to be committed; further writers wait for a place.
    pub queue_writes_max: usize,
    /// One commit takes at most so many writes.
    pub commit_writes_max: usize,
    /// One commit takes no further write once it holds so many encoded bytes.
    pub commit_bytes_max: usize,
    /// A write that can wait for others to be made durable with does so at most for this long.
    pub patience: Duration,
    /// While commits take longer than this, no writer makes one in its own thread: others wait for that, too.
    pub quick: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            history_events_max: 32_768,
            history_bytes_max: 32 << 20,
            history_age_max: Duration::from_secs(300),
            watch_events_max: 8_192,
            watch_bytes_max: 16 << 20,
            queue_writes_max: 1_024,
            commit_writes_max: 512,
            commit_bytes_max: 512 << 10,
            patience: Duration::from_millis(2),
            quick: Duration::from_millis(1),
        }
    }
}

/// A store in one data directory, used by one process at a time. Dropping it waits for the writes
/// that were already queued and releases the directory.
pub struct Embedded {
    shared: Arc<Shared>,
    committer: Arc<Committer>,
    /// None only while being dropped.
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in directory `path`, making it if there is none. Reads every object, so the
    /// time grows with their number. History starts at the newest revision found.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, OpenError> {
        let (log, recovered) = Log::open(path)?;
        Self::start(path, log, recovered, limits)
    }

    pub(crate) fn start(path: &Path, log: Log, recovered: Recovered, limits: Limits) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(Index::new(recovered.entries, recovered.newest), limits));
        let committer = Arc::new(Committer::new(log, Arc::clone(&shared)));
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn({
                let committer = Arc::clone(&committer);
                move || committer.run()
            })
            .map_err(|source| OpenError::Io { path: path.display().to_string(), source })?;
        Ok(Self { shared, committer, thread: Some(thread) })
    }

    /// Returns, with the reason, once writes are no longer accepted. Only a restart helps then.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut failure = self.shared.failure.subscribe();
        async move {
            let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
            match reason {
                Some(reason) => reason,
                // The store was closed in good order.
                None => std::future::pending().await,
            }
        }
    }

    async fn write(&self, key: Key, change: Change, draft: Draft) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        self.committer.take(Write { key, change, draft, reply }).await;
        verdict.await.unwrap_or_else(|_| unavailable("the store has stopped"))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.committer.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread panicked");
        }
    }
}

impl Store for Embedded {
    async fn put(&self, key: Key, expect: Expect, draft: Draft) -> Result<Arc<Entry>, PutError> {
        self.write(key, Change::Put(expect), draft).await.of_put(expect)
    }

    async fn delete(&self, key: Key, at: Revision, last: Draft) -> Result<Arc<Entry>, DeleteError> {
        self.write(key, Change::Delete(at), last).await.of_delete()
    }

    async fn get(&self, key: &Key) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.shared.index().get(key).cloned())
    }

    async fn range(&self, range: Range) -> Result<Page, ReadError> {
        self.shared.index().range(&range)
    }

    async fn watch(&self, resource: Resource, namespace: Option<Box<str>>, from: Revision) -> Result<Watch, ReadError> {
        self.shared.watch(resource, namespace, from)
    }

    fn revision(&self) -> Revision {
        self.shared.index().newest()
    }

    fn progress(&self) -> Revision {
        self.shared.progress()
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.borrow().clone()
    }
}
