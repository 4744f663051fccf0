//! The data directory: one process at a time, no newer formats, nothing lost between two runs.
#![allow(clippy::unwrap_used)]

mod common;

use common::{draft, key, open, stored, text};
use stead_store::{Embedded, Expect, Limits, OpenError, Store as _};

fn refusal(directory: &std::path::Path) -> OpenError {
    Embedded::open(directory, Limits::default()).err().expect("the store must not open")
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_and_revisions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        let x = store.put(key("pods/a/x"), Expect::Absent, draft("1")).await.unwrap();
        let y = store.put(key("nodes//y"), Expect::Absent, draft("2")).await.unwrap();
        store.put(key("pods/a/x"), Expect::At(x.revision), draft("3")).await.unwrap();
        store.delete(key("nodes//y"), y.revision, draft("4")).await.unwrap();
    }
    let store = open(directory.path());
    let x = store.get(&key("pods/a/x")).await.unwrap().unwrap();
    assert_eq!(text(&x), stored("3", 3));
    assert_eq!(x.header, draft("3").header);
    assert_eq!(store.get(&key("nodes//y")).await.unwrap(), None);
    let next = store.put(key("nodes//y"), Expect::Absent, draft("5")).await.unwrap();
    assert_eq!(next.revision.0, 5, "the deletion's revision 4 is not used again");
}

#[test]
fn a_directory_serves_one_store_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(matches!(refusal(directory.path()), OpenError::InUse { .. }));
    drop(store);
    open(directory.path());
}

#[test]
fn a_newer_format_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    std::fs::write(directory.path().join("format"), "2\n").unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::NewerFormat { found: 2, known: 1, .. }));
    std::fs::write(directory.path().join("format"), "two").unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Damaged { .. }));
}

#[test]
fn a_log_that_went_missing_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let log = directory.path().join("log.redb");
    let length = std::fs::metadata(&log).unwrap().len();
    for kept in [0, 1, 512, length / 2] {
        std::fs::File::options().write(true).open(&log).unwrap().set_len(kept).unwrap();
        assert!(matches!(refusal(directory.path()), OpenError::Damaged { .. }), "cut to {kept} bytes");
    }
    std::fs::remove_file(&log).unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Damaged { .. }));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&file.join("store")), OpenError::Io { .. }));
}
