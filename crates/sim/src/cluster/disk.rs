//! The disk of the simulated server: what is durable, when it becomes so, and the log of everything that
//! ever was. A crash of the server finds here exactly what was durable at that instant.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stead_store::simulated::{Commit, Committed, Disk};
use stead_store::{Entry, Key, Revision};

use super::entropy::Dice;
use super::observer::Observer;

/// Revisions lost by a disk that turns back.
const TURNED_BACK: u64 = 5;

/// How long the disk takes, and whether it still works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskMood {
    /// Longest time to make a commit durable.
    pub(crate) sync_ms_max: u64,
    /// Every commit fails with this.
    pub(crate) failure: Option<&'static str>,
    /// It says that things of these tables are durable and keeps none. Planted, to see whether anybody
    /// notices.
    pub(crate) forgets: Option<&'static str>,
    /// Who starts next is told of an older newest revision than there was. Planted, too.
    pub(crate) turns_back: bool,
}

impl Default for DiskMood {
    fn default() -> Self {
        Self { sync_ms_max: 6, failure: None, forgets: None, turns_back: false }
    }
}

impl DiskMood {
    fn forgets(&self, change: &Committed) -> bool {
        self.forgets.is_some_and(|tables| change.event.after.key.resource.0.starts_with(tables))
    }
}

struct Inner {
    mood: DiskMood,
    entries: BTreeMap<Key, Arc<Entry>>,
    newest: Revision,
    fingerprint: u64,
}

/// See the module.
pub(crate) struct SimDisk {
    inner: Mutex<Inner>,
    dice: Dice,
    observer: Observer,
}

impl SimDisk {
    /// An empty disk.
    pub(crate) fn new(dice: Dice, observer: Observer) -> Self {
        let inner = Inner { mood: DiskMood::default(), entries: BTreeMap::new(), newest: Revision(0), fingerprint: 0 };
        Self { inner: Mutex::new(inner), dice, observer }
    }

    /// What a server that starts now finds.
    pub(crate) fn contents(&self) -> (Vec<Arc<Entry>>, Revision) {
        let inner = self.lock();
        let back = if inner.mood.turns_back { TURNED_BACK } else { 0 };
        (inner.entries.values().cloned().collect(), Revision(inner.newest.0.saturating_sub(back)))
    }

    /// Changes how the disk behaves.
    pub(crate) fn set_mood(&self, mood: DiskMood) {
        self.lock().mood = mood;
    }

    /// A number that depends on every byte ever made durable, and on their order.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.lock().fingerprint
    }

    /// The newest durable revision.
    pub(crate) fn newest(&self) -> Revision {
        self.lock().newest
    }

    fn keep<'a>(&self, changes: impl Iterator<Item = &'a Committed>) {
        for change in changes {
            let entry = &change.event.after;
            {
                let mut inner = self.lock();
                if change.event.deleted {
                    inner.entries.remove(&entry.key);
                } else {
                    inner.entries.insert(entry.key.clone(), Arc::clone(entry));
                }
                inner.newest = entry.revision;
                // Its keys are constants, unlike those of hash maps.
                let mut hasher = DefaultHasher::new();
                (inner.fingerprint, &*change.writer, entry.revision.0, change.event.deleted, &entry.bytes)
                    .hash(&mut hasher);
                inner.fingerprint = hasher.finish();
            }
            self.observer.committed(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimDisk {
    fn commit<'a>(&'a self, changes: &'a [Committed]) -> Commit<'a> {
        Box::pin(async move {
            let mood = self.lock().mood;
            tokio::time::sleep(self.dice.ms(0, mood.sync_ms_max)).await;
            if let Some(failure) = mood.failure {
                return Err(failure.to_owned());
            }
            let kept = changes.iter().filter(|change| !mood.forgets(change));
            self.keep(kept);
            // Durable, but nobody knows it yet.
            tokio::time::sleep(self.dice.ms(0, mood.sync_ms_max)).await;
            Ok(())
        })
    }
}
