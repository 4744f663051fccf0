//! Who commits, and what together: on a disk of memory that notes whose thread syncs it, and can be held.

use std::io;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::log::Log;
use crate::{Draft, Embedded, Expect, Header, Key, Limits, Resource, Store as _};

/// What a sync does before it is done.
type OnSync = Box<dyn Fn() + Send>;

#[derive(Clone)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    syncs: Arc<Mutex<Vec<String>>>,
    on_sync: Arc<Mutex<OnSync>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        (self.on_sync.lock().unwrap())();
        self.syncs.lock().unwrap().push(thread::current().name().unwrap_or_default().to_owned());
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

impl Disk {
    fn new() -> Self {
        let on_sync: OnSync = Box::new(|| {});
        Self { memory: Arc::default(), syncs: Arc::default(), on_sync: Arc::new(Mutex::new(on_sync)) }
    }

    fn each_sync(&self, does: impl Fn() + Send + 'static) {
        *self.on_sync.lock().unwrap() = Box::new(does);
    }

    /// By whom the log was synced since this was last asked.
    fn syncs(&self) -> Vec<String> {
        std::mem::take(&mut *self.syncs.lock().unwrap())
    }
}

/// A store on the disk; that it was opened is forgotten.
fn store(disk: &Disk, patience: Duration, quick: Duration) -> Arc<Embedded> {
    let (log, recovered) = Log::open_backend(Path::new("disk"), disk.clone()).unwrap();
    let limits = Limits { patience, quick, ..Limits::default() };
    let store = Embedded::start(Path::new("disk"), log, recovered, limits).unwrap();
    disk.syncs();
    Arc::new(store)
}

/// More than a story has.
const SYNCS_MAX: usize = 8;
const LONG: Duration = Duration::from_secs(3600);

async fn put(store: &Embedded, name: &str, can_wait: bool) -> u64 {
    let key = Key { resource: Resource("things".into()), namespace: "ns".into(), name: name.into() };
    let draft = Draft { bytes: b"thing".to_vec(), revision_at: 0, header: Header::default(), can_wait };
    store.put(key, Expect::Absent, draft).await.unwrap().revision.0
}

fn own_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_lone_write_is_made_durable_by_its_writer() {
    let disk = Disk::new();
    let store = store(&disk, LONG, LONG);
    assert_eq!(put(&store, "a", false).await, 1);
    assert_eq!(disk.syncs(), [own_name()]);
}

#[tokio::test]
async fn while_the_disk_is_slow_no_writer_waits_for_it_in_its_own_thread() {
    let disk = Disk::new();
    let store = store(&disk, LONG, Duration::ZERO);
    put(&store, "a", false).await;
    put(&store, "b", false).await;
    assert_eq!(disk.syncs(), [own_name(), "store".to_owned()], "nothing was known of the disk at first");
}

#[tokio::test]
async fn what_can_wait_goes_with_the_next_that_cannot() {
    let disk = Disk::new();
    let store = store(&disk, LONG, LONG);
    let (first, second, third) = tokio::join!(put(&store, "a", true), put(&store, "b", true), put(&store, "c", false));
    assert_eq!((first, second, third), (1, 2, 3), "in the order in which they came");
    assert_eq!(disk.syncs(), [own_name()], "one sync for all");
}

#[tokio::test]
async fn what_can_wait_does_not_wait_for_ever() {
    let disk = Disk::new();
    let store = store(&disk, Duration::from_millis(1), LONG);
    assert_eq!(put(&store, "a", true).await, 1);
    assert_eq!(disk.syncs(), ["store"]);
}

#[tokio::test]
async fn closing_does_not_wait_for_the_patient() {
    let disk = Disk::new();
    let store = store(&disk, LONG, LONG);
    let mut waiting = Box::pin(put(&store, "a", true));
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(waiting);
    drop(store);
    assert_eq!(disk.syncs().first().map(String::as_str), Some("store"), "what was queued is durable");
}

#[test]
fn writes_that_come_during_a_commit_share_the_next() {
    let disk = Disk::new();
    let store = store(&disk, LONG, LONG);
    let (told, begun) = sync_channel(SYNCS_MAX);
    let (go_on, held) = sync_channel(SYNCS_MAX);
    disk.each_sync(move || {
        told.send(()).unwrap();
        held.recv().unwrap();
    });
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| runtime().block_on(put(&store, "first", false)));
        begun.recv().unwrap();
        let rest = scope.spawn(|| {
            runtime().block_on(async {
                let rest =
                    async { tokio::join!(put(&store, "b", false), put(&store, "c", true), put(&store, "d", false)) };
                let mut rest = Box::pin(rest);
                assert!(poll_once(rest.as_mut()).is_pending());
                go_on.send(()).unwrap();
                go_on.send(()).unwrap();
                rest.await
            })
        });
        assert_eq!(first.join().unwrap(), 1);
        assert_eq!(rest.join().unwrap(), (2, 3, 4));
    });
    assert_eq!(disk.syncs().len(), 2);
    // The store is still to be closed.
    disk.each_sync(|| {});
}

#[test]
fn a_crowd_gathers_again_before_the_next_commit() {
    const SLOW: Duration = Duration::from_millis(200);
    let disk = Disk::new();
    let store = store(&disk, LONG, LONG);
    let (told, begun) = sync_channel(SYNCS_MAX);
    let (_nobody, held) = sync_channel::<()>(0);
    disk.each_sync(move || {
        told.send(()).unwrap();
        held.recv_timeout(SLOW).unwrap_err();
    });
    let put = |name| put(&store, name, false);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| runtime().block_on(put("alone")));
        begun.recv().unwrap();
        // While that is made durable five others come, and share the next commit.
        let crowd = async { tokio::join!(put("a"), put("b"), put("c"), put("d"), put("e")) };
        assert_eq!(runtime().block_on(crowd), (2, 3, 4, 5, 6));
        begun.recv().unwrap();
        assert_eq!(disk.syncs().len(), 2);
        // The first to come again is not committed alone.
        let first = scope.spawn(|| runtime().block_on(put("f")));
        assert!(begun.recv_timeout(SLOW / 8).is_err(), "others are waited for");
        let second = scope.spawn(|| runtime().block_on(put("g")));
        let revisions = [first.join().unwrap(), second.join().unwrap()];
        assert_eq!(revisions, [7, 8]);
        assert_eq!(disk.syncs(), ["store"], "one commit for both");
    });
    // The store is still to be closed.
    disk.each_sync(|| {});
}

/// Polls once.
fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> std::task::Poll<T> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
