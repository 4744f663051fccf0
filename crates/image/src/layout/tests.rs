//! Drafts under stress.

use std::os::fd::AsFd;

use super::*;

#[test]
fn a_name_that_several_write_at_once_stands_for_what_one_of_them_wrote() {
    const WRITERS: u64 = 4;
    let dir = tempfile::tempdir().expect("a directory");
    let layout = Layout::open(dir.path()).expect("opens");
    let name: ImageName = "app:v1".parse().expect("a name");
    let record = |size_bytes| Record {
        name: name.clone(),
        id: ImageId("sha256:0".to_owned()),
        digest: None,
        size_bytes,
        layers: Vec::new(),
        config: ImageConfig::default(),
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (layout, record) = (&layout, record(writer));
            scope.spawn(move || (0..50).for_each(|_| layout.write_record(&record).expect("written")));
        }
    });
    assert!(layout.record(&name).expect("readable").expect("there").size_bytes < WRITERS);
    assert_eq!(fs::read_dir(dir.path().join("names")).expect("readable").count(), 1, "no draft beside it");
    assert_eq!(fs::read_dir(dir.path().join("draft")).expect("readable").count(), 0);
}

#[test]
fn a_draft_is_cleared_away_however_deep_it_is() {
    // Symbolic links let a layer reach deeper than any path is long.
    const DEPTH: usize = 5_000;
    let dir = tempfile::tempdir().expect("a directory");
    let layout = Layout::open(dir.path()).expect("opens");
    let draft = layout.draft().expect("a draft");
    let open = |at: rustix::fd::BorrowedFd<'_>, name: &str| {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::openat(at, name, flags, rustix::fs::Mode::empty()).expect("opened")
    };
    let mut at = open(rustix::fs::CWD, draft.path().to_str().expect("text"));
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).expect("made");
        at = open(at.as_fd(), "d");
    }
    drop(draft);
    assert_eq!(fs::read_dir(dir.path().join("draft")).expect("readable").count(), 0);
}
