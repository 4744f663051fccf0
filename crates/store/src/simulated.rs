//! The store of a simulated cluster: the real index, watchers and decisions, with a
//! [`Disk`] of simulated time in place of the log. It spawns one task, no thread, and opens no file.
//!
//! Its end is a crash: what the disk has not kept is lost, and nobody was told that it happened.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::index::Index;
use crate::sequencer::{Batch, Change, Shared, Verdict, Write, answer, publish, unavailable};
use crate::{
    DeleteError, Draft, Entry, Event, Expect, Key, Limits, Page, PutError, Range, ReadError, Resource, Revision, Store,
    Watch,
};

/// A change about to be made durable, and who asked for it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose [`Door`] the write came through.
    pub writer: Arc<str>,
    /// The change.
    pub event: Arc<Event>,
}

/// What [`Disk::commit`] gives, in time.
pub type Commit<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Where changes become durable.
pub trait Disk: Send + Sync + 'static {
    /// Makes the changes of one commit durable, all or none. Whatever is durable when the future is dropped
    /// is there after the crash. An error is final: the store takes no more writes.
    fn commit<'a>(&'a self, changes: &'a [Committed]) -> Commit<'a>;
}

/// The store.
pub struct Simulated {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Queued>,
    task: JoinHandle<()>,
}

struct Queued {
    write: Write,
    writer: Arc<str>,
}

impl Simulated {
    /// A store that finds `entries` and revision `newest` on `disk`; history starts there. Must be called
    /// within a tokio runtime.
    pub fn start(
        entries: impl IntoIterator<Item = Arc<Entry>>,
        newest: Revision,
        disk: Arc<dyn Disk>,
        limits: Limits,
    ) -> Self {
        let entries: HashMap<Key, Arc<Entry>> = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        let (queue, writes) = mpsc::channel(limits.queue_writes_max);
        let shared = Arc::new(Shared::new(Index::new(entries, newest), limits));
        let task = tokio::spawn(run(writes, disk, Arc::clone(&shared)));
        Self { shared, queue, task }
    }

    /// Ends it at once, as a crash does. Dropping it does the same.
    pub fn crash(&self) {
        self.task.abort();
    }

    /// The store as one writer sees it.
    pub fn door(self: &Arc<Self>, writer: &str) -> Door {
        Door { store: Arc::clone(self), writer: writer.into() }
    }

    async fn write(&self, writer: &Arc<str>, key: Key, change: Change, draft: Draft) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        let write = Write { key, change, draft, reply };
        let stopped = || unavailable("the store has crashed");
        if self.queue.send(Queued { write, writer: Arc::clone(writer) }).await.is_err() {
            return stopped();
        }
        verdict.await.unwrap_or_else(|_| stopped())
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A [`Simulated`] store whose writes are known to be one writer's.
pub struct Door {
    store: Arc<Simulated>,
    writer: Arc<str>,
}

/// As the real committer: decide against all earlier writes, make durable, show and acknowledge.
async fn run(mut queue: mpsc::Receiver<Queued>, disk: Arc<dyn Disk>, shared: Arc<Shared>) {
    let mut failure: Option<String> = None;
    while let Some(first) = queue.recv().await {
        let (writes, writers) = gather(first, &mut queue, shared.limits.commit_writes_max);
        let batch = Batch::decide(writes, &shared.index());
        if failure.is_none() && !batch.events.is_empty() {
            failure = disk.commit(&attributed(&batch, &writers)).await.err();
            failure.iter().for_each(|reason| shared.fail(reason.clone()));
        }
        let Batch { events, replies } = batch;
        match &failure {
            Some(reason) => answer(replies.into_iter().map(|(reply, _)| (reply, unavailable(reason)))),
            None => publish(&events, replies, &shared, tokio::time::Instant::now().into_std()),
        }
    }
}

fn gather(first: Queued, queue: &mut mpsc::Receiver<Queued>, writes_max: usize) -> (Vec<Write>, Vec<Arc<str>>) {
    let waiting = std::iter::from_fn(|| queue.try_recv().ok());
    let queued = std::iter::once(first).chain(waiting).take(writes_max);
    queued.map(|queued| (queued.write, queued.writer)).unzip()
}

/// Replies stand in the order of the writes; those that are refused have no event.
fn attributed(batch: &Batch, writers: &[Arc<str>]) -> Vec<Committed> {
    let done = batch.replies.iter().zip(writers).filter(|((_, verdict), _)| matches!(verdict, Verdict::Done(_)));
    let pairs = batch.events.iter().zip(done);
    pairs.map(|(event, (_, writer))| Committed { writer: Arc::clone(writer), event: Arc::clone(event) }).collect()
}

impl Store for Door {
    async fn put(&self, key: Key, expect: Expect, draft: Draft) -> Result<Arc<Entry>, PutError> {
        self.store.write(&self.writer, key, Change::Put(expect), draft).await.of_put(expect)
    }

    async fn delete(&self, key: Key, at: Revision, last: Draft) -> Result<Arc<Entry>, DeleteError> {
        self.store.write(&self.writer, key, Change::Delete(at), last).await.of_delete()
    }

    async fn get(&self, key: &Key) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.store.shared.index().get(key).cloned())
    }

    async fn range(&self, range: Range) -> Result<Page, ReadError> {
        self.store.shared.index().range(&range)
    }

    async fn watch(&self, resource: Resource, namespace: Option<Box<str>>, from: Revision) -> Result<Watch, ReadError> {
        self.store.shared.watch(resource, namespace, from)
    }

    fn revision(&self) -> Revision {
        self.store.shared.index().newest()
    }

    fn progress(&self) -> Revision {
        self.store.shared.progress()
    }

    fn failure(&self) -> Option<String> {
        self.store.shared.failure.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Keeps a commit half way through its time.
    #[derive(Default)]
    struct SlowDisk(Mutex<Vec<Committed>>);

    impl Disk for SlowDisk {
        fn commit<'a>(&'a self, changes: &'a [Committed]) -> Commit<'a> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.0.lock().expect("no panic holds it").extend_from_slice(changes);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(())
            })
        }
    }

    fn key(name: &str) -> Key {
        Key { resource: Resource("things".into()), namespace: "ns".into(), name: name.into() }
    }

    fn draft() -> Draft {
        Draft { bytes: b"at ".to_vec(), revision_at: 3, header: Header::default(), can_wait: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_keeps_exactly_what_was_durable_and_nobody_saw_more() {
        let disk = Arc::new(SlowDisk::default());
        let kept = || disk.0.lock().expect("no panic holds it").clone();
        let start = |entries: Vec<Arc<Entry>>, newest| {
            let disk = Arc::clone(&disk) as Arc<dyn Disk>;
            let process = Arc::new(Simulated::start(entries, newest, disk, Limits::default()));
            (Arc::new(process.door("test")), process)
        };
        let (store, process) = start(Vec::new(), Revision(0));
        let first = store.put(key("a"), Expect::Absent, draft()).await.expect("acknowledged");
        assert_eq!((first.revision, &*first.bytes, &*kept()[0].writer), (Revision(1), &b"at 1"[..], "test"));

        let (early, late) = (Arc::clone(&store), Arc::clone(&store));
        let unanswered = tokio::spawn(async move { early.put(key("b"), Expect::Absent, draft()).await });
        tokio::time::sleep(Duration::from_millis(15)).await;
        assert_eq!(kept().len(), 2, "durable");
        assert_eq!(store.get(&key("b")).await, Ok(None), "and not shown yet");
        let lost = tokio::spawn(async move { late.put(key("c"), Expect::Absent, draft()).await });
        tokio::time::sleep(Duration::from_millis(2)).await;
        process.crash();
        assert!(unanswered.await.expect("it ends").is_err() && lost.await.expect("it ends").is_err());

        let found: Vec<_> = kept().iter().map(|change| Arc::clone(&change.event.after)).collect();
        let (store, _process) = start(found, Revision(2));
        assert!(store.get(&key("b")).await.expect("readable").is_some(), "what was durable is there");
        assert_eq!(store.get(&key("c")).await, Ok(None));
        let next = store.put(key("c"), Expect::Absent, draft()).await.expect("acknowledged");
        assert_eq!(next.revision, Revision(3), "a revision that nobody saw is no gap");
    }
}
