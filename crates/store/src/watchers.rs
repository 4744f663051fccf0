//! Who is watching what. Watchers are indexed by resource and namespace, so a change touches only
//! those it concerns. A watcher whose buffer is full is ended, never skipped and never waited for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{Event, ReadError, Resource, Revision};

/// A list of watchers is swept of those that went away when it has doubled since the last sweep.
const SWEEP_AT_LEAST: usize = 16;

type Item = Result<Arc<Event>, ReadError>;

/// The live watchers.
#[derive(Default)]
pub(crate) struct Watchers {
    by_resource: HashMap<Resource, Concerned>,
}

#[derive(Default)]
struct Concerned {
    everywhere: List,
    in_namespace: HashMap<Box<str>, List>,
    /// Number of namespaces at which those without watchers are swept.
    sweep_at: usize,
}

#[derive(Default)]
struct List {
    watchers: Vec<Watcher>,
    sweep_at: usize,
}

struct Watcher {
    events: mpsc::Sender<Item>,
    /// The newest revision this watcher was handed, or started from.
    seen: Revision,
    /// Encoded bytes of each change that may still wait in the channel, oldest first, and of all together.
    waiting: VecDeque<usize>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
}

/// How much may wait for one watcher beyond what is replayed to it.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

impl Watchers {
    /// Adds a watcher that has been promised every change after `from`: `replay` now, the rest live.
    /// At most what `buffer` says waits for it beyond the replayed ones.
    pub(crate) fn add<'a>(
        &mut self,
        resource: Resource,
        namespace: Option<Box<str>>,
        from: Revision,
        replay: impl Iterator<Item = &'a Arc<Event>>,
        buffer: Buffer,
    ) -> mpsc::Receiver<Item> {
        let replay: Vec<Arc<Event>> = replay.cloned().collect();
        // One more place than events: the last word of a watcher that falls behind.
        let (events, receiver) = mpsc::channel(replay.len() + buffer.events_max + 1);
        let replay_bytes: usize = replay.iter().map(|event| bytes_of(event)).sum();
        let waiting_bytes_max = replay_bytes + buffer.bytes_max;
        let mut watcher = Watcher { events, seen: from, waiting: VecDeque::new(), waiting_bytes: 0, waiting_bytes_max };
        let alive = replay.into_iter().all(|event| watcher.hand(&event));
        debug_assert!(alive, "the channel has room for the replay");
        let concerned = self.by_resource.entry(resource).or_default();
        concerned.list_for(namespace).push(watcher);
        receiver
    }

    /// Hands one change to every watcher it concerns.
    pub(crate) fn publish(&mut self, event: &Arc<Event>) {
        let key = &event.after.key;
        let Some(concerned) = self.by_resource.get_mut(&key.resource) else { return };
        concerned.everywhere.publish(event);
        if let Some(list) = concerned.in_namespace.get_mut(&key.namespace) {
            list.publish(event);
            if list.watchers.is_empty() {
                concerned.in_namespace.remove(&key.namespace);
            }
        }
    }
}

impl Concerned {
    fn list_for(&mut self, namespace: Option<Box<str>>) -> &mut List {
        let Some(namespace) = namespace else { return &mut self.everywhere };
        if self.in_namespace.len() >= self.sweep_at.max(SWEEP_AT_LEAST) {
            self.in_namespace.retain(|_, list| list.sweep() > 0);
            self.sweep_at = self.in_namespace.len() * 2;
        }
        self.in_namespace.entry(namespace).or_default()
    }
}

impl List {
    fn push(&mut self, watcher: Watcher) {
        if self.watchers.len() >= self.sweep_at.max(SWEEP_AT_LEAST) {
            self.sweep_at = self.sweep() * 2;
        }
        self.watchers.push(watcher);
    }

    /// Drops the watchers whose reader went away; how many are left.
    fn sweep(&mut self) -> usize {
        self.watchers.retain(|watcher| !watcher.events.is_closed());
        self.watchers.len()
    }

    fn publish(&mut self, event: &Arc<Event>) {
        self.watchers.retain_mut(|watcher| watcher.hand(event));
    }
}

impl Watcher {
    /// Hands over one change; false when this watcher has ended.
    fn hand(&mut self, event: &Arc<Event>) -> bool {
        let revision = event.after.revision;
        self.forget_what_was_read();
        let bytes = bytes_of(event);
        // However large it is, one change always has room.
        let too_much = !self.waiting.is_empty() && self.waiting_bytes + bytes > self.waiting_bytes_max;
        let last_word = too_much || self.events.capacity() <= 1;
        let item = if last_word {
            // For this watcher, history now begins at the change it had no room for.
            Err(ReadError::Compacted { at: self.seen, oldest: revision })
        } else {
            Ok(Arc::clone(event))
        };
        self.seen = revision;
        self.waiting.push_back(bytes);
        self.waiting_bytes += bytes;
        // Refused only when the reader went away: then nobody is left to be told.
        self.events.try_send(item).is_ok() && !last_word
    }

    /// Only what is still in the channel counts.
    fn forget_what_was_read(&mut self) {
        let in_channel = self.events.max_capacity() - self.events.capacity();
        while self.waiting.len() > in_channel {
            self.waiting_bytes -= self.waiting.pop_front().unwrap_or_default();
        }
    }
}

fn bytes_of(event: &Event) -> usize {
    event.after.bytes.len()
}
