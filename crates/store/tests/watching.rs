//! Watches while writes go on: order, independence from readers that stall, and the end of those
//! that fall behind; and the bounds of the history they replay from.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{draft, drain, key, line, open, resource};
use stead_store::{Embedded, Expect, Limits, ReadError, Revision, Store as _};

#[tokio::test]
async fn a_watch_shows_the_past_then_the_present() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = store.put(key("pods/a/x"), Expect::Absent, draft("1")).await.unwrap();
    store.put(key("pods/b/y"), Expect::Absent, draft("2")).await.unwrap();
    let mut everywhere = store.watch(resource("pods"), None, Revision(0)).await.unwrap();
    let mut in_a = store.watch(resource("pods"), Some("a".into()), first.revision).await.unwrap();

    let second = store.put(key("pods/a/x"), Expect::At(first.revision), draft("3")).await.unwrap();
    store.put(key("nodes//n"), Expect::Absent, draft("4")).await.unwrap();
    store.delete(key("pods/a/x"), second.revision, draft("5")).await.unwrap();

    let mut shown = Vec::new();
    for _ in 0..4 {
        shown.push(line(&everywhere.events.recv().await.unwrap().unwrap()));
    }
    assert_eq!(shown, ["1 pods a/x added", "2 pods b/y added", "3 pods a/x modified", "5 pods a/x deleted"]);
    let mut shown = Vec::new();
    for _ in 0..2 {
        shown.push(line(&in_a.events.recv().await.unwrap().unwrap()));
    }
    assert_eq!(shown, ["3 pods a/x modified", "5 pods a/x deleted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_watcher_sees_every_write_of_many_writers_once_and_in_order() {
    const WRITERS: u64 = 32;
    const WRITES_EACH: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path()));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut watch = store.watch(resource("pods"), None, Revision(0)).await.unwrap();
                let mut next = 1;
                while next <= WRITERS * WRITES_EACH {
                    let event = watch.events.recv().await.unwrap().unwrap();
                    assert_eq!(event.after.revision.0, next);
                    next += 1;
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for i in 0..WRITES_EACH {
                    let key = key(&format!("pods/{writer}/{i}"));
                    let entry = store.put(key.clone(), Expect::Absent, draft("v")).await.unwrap();
                    assert_eq!(store.get(&key).await.unwrap(), Some(entry), "acknowledged means visible");
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(readers) {
        task.await.unwrap();
    }
    assert_eq!(store.revision().0, WRITERS * WRITES_EACH);
}

#[tokio::test]
async fn of_two_creates_of_one_name_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (a, b) = tokio::join!(
        store.put(key("pods/a/x"), Expect::Absent, draft("a")),
        store.put(key("pods/a/x"), Expect::Absent, draft("b")),
    );
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    assert_eq!(store.revision(), Revision(1));
}

#[tokio::test]
async fn a_watcher_that_falls_behind_ends_and_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { watch_events_max: 3, ..Limits::default() };
    let store = Embedded::open(directory.path(), limits).unwrap();
    let mut slow = store.watch(resource("pods"), None, Revision(0)).await.unwrap();
    let mut brisk = store.watch(resource("pods"), None, Revision(0)).await.unwrap();
    let mut at = store.put(key("pods/a/x"), Expect::Absent, draft("v")).await.unwrap().revision;
    brisk.events.recv().await.unwrap().unwrap();
    for _ in 0..9 {
        at = store.put(key("pods/a/x"), Expect::At(at), draft("v")).await.unwrap().revision;
        assert_eq!(brisk.events.recv().await.unwrap().unwrap().after.revision, at);
    }
    let shown: Vec<_> = drain(&mut slow).into_iter().map(|item| item.map(|event| event.after.revision.0)).collect();
    let end = ReadError::Compacted { at: Revision(3), oldest: Revision(4) };
    assert_eq!(shown, [Ok(1), Ok(2), Ok(3), Err(end)], "a prefix without gaps, then the end");
    assert!(slow.events.recv().await.is_none());
}

#[tokio::test]
async fn history_is_bounded_by_bytes_and_by_age() {
    for limits in [
        Limits { history_bytes_max: 200, ..Limits::default() },
        Limits { history_age_max: Duration::ZERO, ..Limits::default() },
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path(), limits).unwrap();
        let mut at = store.put(key("pods/a/x"), Expect::Absent, draft("v")).await.unwrap().revision;
        for _ in 0..20 {
            at = store.put(key("pods/a/x"), Expect::At(at), draft("v")).await.unwrap().revision;
        }
        let refused = store.watch(resource("pods"), None, Revision(1)).await.err();
        assert!(matches!(refused, Some(ReadError::Compacted { .. })), "{refused:?}");
        assert!(store.watch(resource("pods"), None, at).await.is_ok(), "the newest revision can be watched from");
    }
}

#[tokio::test]
async fn a_watcher_that_stalls_on_large_objects_ends_before_it_holds_much() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { watch_bytes_max: 64 << 10, history_bytes_max: 1 << 10, ..Limits::default() };
    let store = Embedded::open(directory.path(), limits).unwrap();
    let mut slow = store.watch(resource("pods"), None, Revision(0)).await.unwrap();
    let large = "x".repeat(16 << 10);
    let mut at = store.put(key("pods/a/x"), Expect::Absent, draft(&large)).await.unwrap().revision;
    for _ in 0..100 {
        // What is read in time is not held against the reader.
        assert_eq!(slow.events.recv().await.unwrap().unwrap().after.revision, at);
        at = store.put(key("pods/a/x"), Expect::At(at), draft(&large)).await.unwrap().revision;
    }
    for _ in 0..100 {
        at = store.put(key("pods/a/x"), Expect::At(at), draft(&large)).await.unwrap().revision;
    }
    let held = drain(&mut slow);
    assert!((2..8).contains(&held.len()), "{} changes of 16 KiB were held", held.len());
    assert!(matches!(held.last(), Some(Err(ReadError::Compacted { .. }))));
    assert!(held[..held.len() - 1].iter().all(Result::is_ok), "a prefix without gaps, then the end");
}
