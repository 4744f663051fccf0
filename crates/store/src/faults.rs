//! What the disk may do to the log: lose what was not synced at any instant, fail at the N-th
//! operation, or change a byte behind our back. The engine runs on a disk of memory that records
//! every operation, so each of these is replayed exactly.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::log::Log;
use crate::{
    DeleteError, Draft, Embedded, Expect, Header, Key, Limits, OpenError, PutError, Resource, Revision, Store as _,
};

#[derive(Clone, Debug)]
enum Operation {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Sync,
}

#[derive(Debug, Default)]
struct Platter {
    bytes: Vec<u8>,
    trace: Vec<Operation>,
    /// The operation, counted from 0, from which on every one fails.
    fails_at: Option<usize>,
}

/// A disk of memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn with(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Platter { bytes, ..Platter::default() })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    fn operate(&self, operation: Operation) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.fails_at.is_some_and(|at| platter.trace.len() >= at) {
            return Err(io::Error::other("injected"));
        }
        apply(&mut platter.bytes, &operation);
        platter.trace.push(operation);
        Ok(())
    }
}

fn apply(disk: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write { offset, bytes } => {
            let start = usize::try_from(*offset).expect("small");
            disk.resize(disk.len().max(start + bytes.len()), 0);
            disk[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Operation::SetLen(len) => disk.resize(usize::try_from(*len).expect("small"), 0),
        Operation::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).expect("small");
        let platter = self.platter();
        let bytes = platter.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(Operation::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(Operation::Write { offset, bytes: data.to_vec() })
    }
}

/// What a log holds: name to revision and bytes.
type State = BTreeMap<String, (u64, Vec<u8>)>;

/// A state together with the revision counter.
type Snapshot = (u64, State);

fn read(disk: Disk) -> Result<Snapshot, OpenError> {
    let (_, recovered) = Log::open_backend(Path::new("disk"), disk)?;
    let entry = |(key, entry): (Key, Arc<crate::Entry>)| (key.name.into(), (entry.revision.0, entry.bytes.to_vec()));
    Ok((recovered.newest.0, recovered.entries.into_iter().map(entry).collect()))
}

/// Big enough that the story makes the log clean itself.
const OBJECT_BYTES: usize = 200_000;
const STEPS: u64 = 60;

fn draft(step: u64) -> Draft {
    Draft {
        bytes: vec![b'a' + (step % 26) as u8; OBJECT_BYTES],
        revision_at: 0,
        header: Header::default(),
        can_wait: false,
    }
}

/// Writes, rewrites and deletes a few objects until the disk refuses. Gives the acknowledged
/// snapshots, each with the length of the disk's trace when it was acknowledged.
async fn tell_story(disk: &Disk) -> Vec<(usize, Snapshot)> {
    let mut told = vec![(0, (0, State::new()))];
    let Ok((log, recovered)) = Log::open_backend(Path::new("disk"), disk.clone()) else { return told };
    let store = Embedded::start(Path::new("disk"), log, recovered, Limits::default()).expect("a thread");
    let (mut newest, mut state) = (0, State::new());
    for step in 0..STEPS {
        let name = format!("object-{}", step % 7);
        let key = Key { resource: Resource("pods".into()), namespace: "ns".into(), name: name.as_str().into() };
        let at = state.get(&name).map(|(revision, _)| Revision(*revision));
        let accepted = match at {
            Some(at) if step % 5 == 0 => match store.delete(key, at, draft(step)).await {
                Ok(_) => state.remove(&name).is_some(),
                Err(DeleteError::Unavailable { .. }) => false,
                Err(conflict) => panic!("{conflict:?}"),
            },
            _ => match store.put(key, at.map_or(Expect::Absent, Expect::At), draft(step)).await {
                Ok(entry) => {
                    state.insert(name, (entry.revision.0, entry.bytes.to_vec()));
                    true
                }
                Err(PutError::Unavailable { .. }) => false,
                Err(conflict) => panic!("{conflict:?}"),
            },
        };
        if !accepted {
            break;
        }
        newest += 1;
        told.push((disk.platter().trace.len(), (newest, state.clone())));
    }
    check_refusing(&store, newest, &state).await;
    told
}

/// After the first refusal nothing is accepted any more, and readers still see what was acknowledged.
async fn check_refusing(store: &Embedded, newest: u64, state: &State) {
    assert_eq!(store.revision().0, newest);
    for (name, (revision, bytes)) in state {
        let key = Key { resource: Resource("pods".into()), namespace: "ns".into(), name: name.as_str().into() };
        let entry = store.get(&key).await.expect("readable").expect("acknowledged");
        assert_eq!((entry.revision.0, entry.bytes.to_vec()), (*revision, bytes.clone()));
    }
    if newest < STEPS {
        let key = Key { resource: Resource("pods".into()), namespace: "ns".into(), name: "late".into() };
        let refused = store.put(key, Expect::Absent, draft(0)).await;
        let Err(PutError::Unavailable { reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("injected"), "{reason}");
        assert_eq!((store.failure(), store.failed().await), (Some(reason.clone()), reason));
    } else {
        assert_eq!(store.failure(), None);
    }
}

/// A disk after a crash: everything up to the last sync, and of what came after it an arbitrary part.
fn crash_image(trace: &[Operation], cut: usize, choice: u64) -> Vec<u8> {
    let synced = trace[..cut].iter().rposition(|operation| matches!(operation, Operation::Sync)).unwrap_or(0);
    let mut bytes = Vec::new();
    let mut seed = choice;
    for (at, operation) in trace[..cut].iter().enumerate() {
        seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        match operation {
            Operation::Write { offset, bytes: written } if at > synced => match (seed >> 60) % 3 {
                0 => {}
                1 => {
                    let torn = written[..written.len() / 2].to_vec();
                    apply(&mut bytes, &Operation::Write { offset: *offset, bytes: torn });
                }
                _ => apply(&mut bytes, operation),
            },
            _ => apply(&mut bytes, operation),
        }
    }
    bytes
}

fn is_told(told: &[(usize, Snapshot)], cut: usize, found: &Snapshot) -> bool {
    let acknowledged = told.iter().rposition(|(at, _)| *at <= cut).expect("the empty state");
    // The write that was under way may be there or not.
    told[acknowledged..].iter().take(2).any(|(_, snapshot)| snapshot == found)
}

#[tokio::test]
async fn a_crash_at_any_instant_loses_nothing_acknowledged_and_shows_nothing_else() {
    let disk = Disk::default();
    let told = tell_story(&disk).await;
    assert_eq!(told.len() as u64, STEPS + 1);
    let trace = disk.platter().trace.clone();
    let first_commit = told[1].0;
    for cut in (first_commit..trace.len()).step_by(3) {
        for choice in 0..2 {
            let found = read(Disk::with(crash_image(&trace, cut, choice ^ cut as u64)));
            let found = found.unwrap_or_else(|error| panic!("cut at {cut} of {}: {error:?}", trace.len()));
            assert!(is_told(&told, cut, &found), "cut at {cut}: found revision {}", found.0);
        }
    }
}

#[tokio::test]
async fn after_the_nth_operation_fails_writes_are_refused_and_nothing_acknowledged_is_lost() {
    let whole = Disk::default();
    tell_story(&whole).await;
    let operations = whole.platter().trace.len();
    for fails_at in (0..operations).step_by(17) {
        let disk = Disk::default();
        disk.platter().fails_at = Some(fails_at);
        let told = tell_story(&disk).await;
        let (_, acknowledged) = told.last().expect("the empty state");
        let bytes = disk.platter().bytes.clone();
        if acknowledged.0 == 0 {
            continue;
        }
        let found = read(Disk::with(bytes)).unwrap_or_else(|error| panic!("failing at {fails_at}: {error:?}"));
        assert!(found == *acknowledged || found.0 == acknowledged.0 + 1, "failing at {fails_at}");
    }
}

/// What comes of changing one byte here and there: how often the store refuses, and how often it
/// opens with `last` or with another of `allowed`.
fn change_bytes(bytes: &[u8], last: &Snapshot, allowed: &[Snapshot]) -> (usize, usize) {
    let (mut refused, mut harmless) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x40;
        match read(Disk::with(bytes)) {
            Ok(found) if found == *last => harmless += 1,
            Ok(found) => assert!(allowed.contains(&found), "byte {at} changed what is read"),
            Err(OpenError::Damaged { place, .. }) => {
                assert!(place.starts_with("log.redb: "), "{place}");
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    (refused, harmless)
}

#[tokio::test]
async fn a_changed_byte_is_refused_or_harmless() {
    let disk = Disk::default();
    let told = tell_story(&disk).await;
    let (killed_at, last) = told.last().expect("the last state");
    let (refused, harmless) = change_bytes(&disk.platter().bytes.clone(), last, &[]);
    assert!(refused > 0 && harmless > 0, "after a clean stop {refused} refused, {harmless} harmless");

    // After a kill, damage to the very last commit looks like the torn tail that it might be.
    let image = crash_image(&disk.platter().trace.clone(), *killed_at, 0);
    let (_, before) = &told[told.len() - 2];
    let (refused, harmless) = change_bytes(&image, last, std::slice::from_ref(before));
    assert!(refused > 0 && harmless > 0, "after a kill {refused} refused, {harmless} harmless");
}

#[tokio::test]
async fn a_log_cut_short_is_refused() {
    let disk = Disk::default();
    let told = tell_story(&disk).await;
    let (_, last) = told.last().expect("the last state");
    let bytes = disk.platter().bytes.clone();
    let mut refused = 0;
    for part in 1..97 {
        match read(Disk::with(bytes[..bytes.len() * part / 97].to_vec())) {
            // The end may have been free.
            Ok(found) => assert!(found == *last, "{part}/97 of it holds revision {}", found.0),
            Err(OpenError::Damaged { place, .. }) => {
                assert!(place.starts_with("log.redb: "), "{place}");
                refused += 1;
            }
            Err(other) => panic!("{part}/97: {other:?}"),
        }
    }
    assert!(refused > 0, "nothing was missed");
}

#[tokio::test]
async fn the_log_does_not_outgrow_what_is_current_in_it() {
    let disk = Disk::default();
    let (log, recovered) = Log::open_backend(Path::new("disk"), disk.clone()).expect("a new log");
    let store = Embedded::start(Path::new("disk"), log, recovered, Limits::default()).expect("a thread");
    let key = |name: &str| Key { resource: Resource("pods".into()), namespace: "ns".into(), name: name.into() };
    let still = store.put(key("still"), Expect::Absent, draft(0)).await.expect("stored");
    let mut at = store.put(key("busy"), Expect::Absent, draft(1)).await.expect("stored").revision;
    for step in 0..500 {
        at = store.put(key("busy"), Expect::At(at), draft(step)).await.expect("stored").revision;
    }
    drop(store);
    let size = disk.platter().bytes.len();
    assert!(size < 32 << 20, "100 MB written, two objects of 0.2 MB current, {size} bytes on disk");
    let (newest, state) = read(disk).expect("readable");
    assert_eq!((newest, state["still"].0, state["busy"].0), (502, still.revision.0, 502));
}

#[test]
fn an_engine_that_holds_something_else_is_refused() {
    let backend = InMemoryBackend::new();
    let text = b"not a database at all, but longer than a header of one".repeat(100);
    backend.set_len(text.len() as u64).expect("memory");
    backend.write(0, &text).expect("memory");
    let refused = Log::open_backend(Path::new("disk"), backend).err();
    assert!(refused.is_some());
}
