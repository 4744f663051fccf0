//! Words the store's tests share. Owns no assertion.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use stead_store::{Draft, Embedded, Entry, Event, Header, Key, Limits, ReadError, Resource, Watch};

pub(crate) fn key(path: &str) -> Key {
    let mut parts = path.split('/');
    let mut next = || parts.next().unwrap_or_default();
    Key { resource: resource(next()), namespace: next().into(), name: next().into() }
}

pub(crate) fn resource(name: &str) -> Resource {
    Resource(name.into())
}

/// A draft whose revision goes between the quotes of `rv`.
pub(crate) fn draft(value: &str) -> Draft {
    let start = r#"{"rv":""#;
    Draft {
        bytes: format!(r#"{start}","value":"{value}"}}"#).into_bytes(),
        revision_at: start.len(),
        header: Header { uid: value.into(), labels: [("app".into(), value.into())].into(), ..Header::default() },
        can_wait: false,
    }
}

/// What [`draft`] looks like once stored.
pub(crate) fn stored(value: &str, revision: u64) -> String {
    format!(r#"{{"rv":"{revision}","value":"{value}"}}"#)
}

pub(crate) fn text(entry: &Entry) -> String {
    String::from_utf8(entry.bytes.to_vec()).unwrap()
}

pub(crate) fn open(directory: &std::path::Path) -> Embedded {
    Embedded::open(directory, Limits::default()).unwrap()
}

/// One line per change: revision, key, and what happened.
pub(crate) fn line(event: &Event) -> String {
    let what = match (&event.before, event.deleted) {
        (_, true) => "deleted",
        (None, false) => "added",
        (Some(_), false) => "modified",
    };
    format!("{} {} {what}", event.after.revision, event.after.key)
}

/// Everything a watch has for us right now.
pub(crate) fn drain(watch: &mut Watch) -> Vec<Result<Arc<Event>, ReadError>> {
    std::iter::from_fn(|| watch.events.try_recv().ok()).collect()
}
