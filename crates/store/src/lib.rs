//! Revisions, watch history, compaction and durability: bytes in, bytes out.
//!
//! The store is one sequence of changes. It knows keys, revisions and opaque bytes; what the bytes mean is
//! decided above it. A write is acknowledged, and becomes visible to readers and watchers, only
//! after it is durable. Revisions strictly increase and are never reused, also across a crash.
//! The trait asks exactly what etcd gives, so that etcd can stand in where one machine is outgrown.

mod committer;
mod directory;
mod embedded;
#[cfg(test)]
mod faults;
mod index;
mod log;
mod record;
mod sequencer;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
mod types;
mod watchers;

pub use embedded::{Embedded, Limits};
pub use types::{
    DeleteError, Draft, Entry, Event, Expect, Header, Key, OpenError, Page, PutError, Range, ReadError, Resource,
    Revision, Watch,
};

use std::future::Future;
use std::sync::Arc;

/// What the API server needs from a back end.
pub trait Store: Send + Sync + 'static {
    /// Stores `draft` under `key` if the key is in the expected state. Durable when it returns.
    fn put(&self, key: Key, expect: Expect, draft: Draft) -> impl Future<Output = Result<Arc<Entry>, PutError>> + Send;

    /// Removes `key` if it is at revision `at`. `last` is the object's final state, which watchers
    /// are shown with the revision of the deletion. Durable when it returns.
    fn delete(
        &self,
        key: Key,
        at: Revision,
        last: Draft,
    ) -> impl Future<Output = Result<Arc<Entry>, DeleteError>> + Send;

    /// The newest durable state of one key.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Arc<Entry>>, ReadError>> + Send;

    /// A page of keys in order, as of `range.at` or the newest revision.
    fn range(&self, range: Range) -> impl Future<Output = Result<Page, ReadError>> + Send;

    /// Every change after `from` to a resource, in order, none left out; ends with
    /// [`ReadError::Compacted`] when the reader falls behind the kept history.
    fn watch(
        &self,
        resource: Resource,
        namespace: Option<Box<str>>,
        from: Revision,
    ) -> impl Future<Output = Result<Watch, ReadError>> + Send;

    /// The newest durable revision.
    fn revision(&self) -> Revision;

    /// A revision up to which every watch has been handed every change that concerns it. Bookmarks
    /// are made of it: what is not in a watch's channel by then came after it.
    fn progress(&self) -> Revision;

    /// Why writes are no longer accepted; none while they are.
    fn failure(&self) -> Option<String> {
        None
    }
}
