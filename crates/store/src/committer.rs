//! Who commits: writes wait in a line, and whoever holds the log makes those that wait durable together,
//! with one sync. That is the writer itself when nobody else is at it and the disk is quick, because going
//! over to another thread and back takes as long as a quick sync; otherwise a thread of its own. When the
//! log fails it is never tried again: every later write is refused with the reason.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::log::{CommitError, Log};
use crate::sequencer::{Batch, Shared, Write, answer, publish, unavailable};
use crate::{Event, Limits};

/// After a commit of more pressing writes than this, the next is of many, too, if it is waited for.
const CROWD: usize = 4;

/// The line and the log. Whoever needs both locks takes the log's first.
pub(crate) struct Committer {
    line: Mutex<Line>,
    /// Told when the line is due, earlier than was known.
    due: Condvar,
    /// Places in the line.
    places: Semaphore,
    keeper: Mutex<Keeper>,
    shared: Arc<Shared>,
}

/// The log, and how it does.
struct Keeper {
    log: Log,
    failure: Option<String>,
    /// How long the last commit took, and how many pressing writes it was of.
    took: Duration,
    size: usize,
}

/// The writes that wait, in the order in which they came.
#[derive(Default)]
struct Line {
    writes: VecDeque<Write>,
    /// How many of them are not to wait for others.
    pressing: usize,
    /// When the first of those that can wait has waited enough.
    patient_until: Option<Instant>,
    /// Whether the store's thread sleeps until the line is due.
    awaited: bool,
    closed: bool,
}

impl Committer {
    pub(crate) fn new(log: Log, shared: Arc<Shared>) -> Self {
        let keeper = Keeper { log, failure: None, took: Duration::ZERO, size: 0 };
        Self {
            line: Mutex::default(),
            due: Condvar::new(),
            places: Semaphore::new(shared.limits.queue_writes_max),
            keeper: Mutex::new(keeper),
            shared,
        }
    }

    /// Sees to it that `write` is committed; its reply tells the outcome. Waits for a place in the line only.
    pub(crate) async fn take(&self, write: Write) {
        let Some(write) = self.commit_here(write) else { return };
        let place = self.places.acquire().await;
        place.expect("the places are never closed").forget();
        let is_due = lock(&self.line).push(write, self.shared.limits.patience);
        if is_due {
            self.due.notify_one();
        }
    }

    /// Commits in the writer's own thread, with all that can wait; gives the write back when somebody else
    /// is committing or about to, and when the disk is slow.
    fn commit_here(&self, write: Write) -> Option<Write> {
        if write.draft.can_wait {
            return Some(write);
        }
        let Ok(mut keeper) = self.keeper.try_lock() else { return Some(write) };
        if keeper.took > self.shared.limits.quick || keeper.size > CROWD {
            return Some(write);
        }
        let mut line = lock(&self.line);
        if line.pressing > 0 {
            return Some(write);
        }
        let mut writes = self.next(&mut line);
        drop(line);
        writes.push(write);
        keeper.commit(writes, &self.shared);
        None
    }

    /// Commits what waits until the line is closed and empty. Blocks: give it a thread of its own.
    pub(crate) fn run(&self) {
        let mut pause = None;
        while self.wait(pause) {
            let mut keeper = lock(&self.keeper);
            let writes = self.next(&mut lock(&self.line));
            // A writer may have taken them along meanwhile.
            if !writes.is_empty() {
                keeper.commit(writes, &self.shared);
            }
            pause = keeper.pause_of_crowd(&self.shared.limits);
        }
    }

    /// No more writes will come.
    pub(crate) fn close(&self) {
        lock(&self.line).closed = true;
        self.due.notify_one();
    }

    /// Waits until the line is due and, with a `pause`, its crowd has gathered; false when it is closed and empty.
    fn wait(&self, pause: Option<Duration>) -> bool {
        let mut line = self.sleep(lock(&self.line));
        if let Some(pause) = pause {
            line = self.gather(line, pause);
        }
        !line.closed || !line.writes.is_empty()
    }

    /// Until the line is due or closed.
    fn sleep<'a>(&self, mut line: MutexGuard<'a, Line>) -> MutexGuard<'a, Line> {
        while line.pressing == 0 && !line.closed {
            let rest = line.patient_until.map(|until| until.saturating_duration_since(Instant::now()));
            if rest == Some(Duration::ZERO) {
                break;
            }
            line.awaited = true;
            line = match rest {
                Some(rest) => self.pause(line, rest),
                None => self.due.wait(line).unwrap_or_else(PoisonError::into_inner),
            };
            line.awaited = false;
        }
        line
    }

    /// Until nobody comes for a `pause`, or it has taken longer than a quick commit.
    fn gather<'a>(&self, mut line: MutexGuard<'a, Line>, pause: Duration) -> MutexGuard<'a, Line> {
        let (begun, mut before) = (Instant::now(), 0);
        while line.pressing > before && !line.closed && begun.elapsed() < self.shared.limits.quick {
            before = line.pressing;
            line = self.pause(line, pause);
        }
        line
    }

    fn pause<'a>(&self, line: MutexGuard<'a, Line>, time: Duration) -> MutexGuard<'a, Line> {
        self.due.wait_timeout(line, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The writes of one commit: those at the head of the line, within the limits.
    fn next(&self, line: &mut Line) -> Vec<Write> {
        let writes = line.take(&self.shared.limits);
        self.places.add_permits(writes.len());
        writes
    }
}

impl Line {
    /// Puts a write at the end; whether the store's thread sleeps and is to look again.
    fn push(&mut self, write: Write, patience: Duration) -> bool {
        let is_due = if write.draft.can_wait {
            let first = self.patient_until.is_none();
            self.patient_until.get_or_insert_with(|| Instant::now() + patience);
            first
        } else {
            self.pressing += 1;
            true
        };
        self.writes.push_back(write);
        is_due && std::mem::take(&mut self.awaited)
    }

    fn take(&mut self, limits: &Limits) -> Vec<Write> {
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while writes.len() < limits.commit_writes_max && bytes < limits.commit_bytes_max {
            let Some(write) = self.writes.pop_front() else { break };
            bytes += write.draft.bytes.len();
            self.pressing -= usize::from(!write.draft.can_wait);
            writes.push(write);
        }
        // What is left over has waited as long as what was taken.
        if self.writes.len() == self.pressing {
            self.patient_until = None;
        }
        writes
    }
}

impl Keeper {
    /// How long the next commit waits for one more of a crowd, if the last was of one and the disk is quick.
    fn pause_of_crowd(&self, limits: &Limits) -> Option<Duration> {
        (self.size > CROWD && self.took <= limits.quick).then(|| self.took / 2)
    }

    /// Decides `writes`, makes them durable, shows and acknowledges them.
    fn commit(&mut self, writes: Vec<Write>, shared: &Shared) {
        let begun = Instant::now();
        self.size = writes.iter().filter(|write| !write.draft.can_wait).count();
        let committed = catch_unwind(AssertUnwindSafe(|| self.try_commit(writes, shared)));
        if committed.is_err() && self.failure.is_none() {
            self.fail("the sequencer panicked".to_owned(), shared);
        }
        self.took = begun.elapsed();
    }

    fn try_commit(&mut self, writes: Vec<Write>, shared: &Shared) {
        let Batch { events, replies } = Batch::decide(writes, &shared.index());
        if self.failure.is_none()
            && !events.is_empty()
            && let Err(error) = self.append(&events, shared)
        {
            self.fail(describe(&error), shared);
        }
        match &self.failure {
            Some(reason) => answer(replies.into_iter().map(|(reply, _)| (reply, unavailable(reason)))),
            None => publish(&events, replies, shared, Instant::now()),
        }
    }

    fn append(&mut self, events: &[Arc<Event>], shared: &Shared) -> Result<(), CommitError> {
        let index = shared.index();
        self.log.commit(events, |key, revision| index.get(key).is_some_and(|entry| entry.revision == revision))
    }

    fn fail(&mut self, reason: String, shared: &Shared) {
        shared.fail(reason.clone());
        self.failure = Some(reason);
    }
}

// A panic while a lock is held leaves these structures usable: commits catch their own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn describe(error: &CommitError) -> String {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

#[cfg(test)]
mod tests;
