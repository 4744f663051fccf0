//! A work queue of keys: each key waits at most once, is worked on by one worker at a time, and
//! comes back after a delay or, when its work failed or panicked, after a growing one.
//!
//! The queue is bounded by the number of distinct keys.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(1000);

struct State<T> {
    ready: VecDeque<T>,
    /// Keys in `ready`, or to be put there when their worker is done.
    dirty: HashSet<T>,
    working: HashSet<T>,
    delayed: HashMap<T, Instant>,
    /// The keys of `delayed` by their time, earliest first. An entry counts only if `delayed` says the same.
    times: BinaryHeap<Reverse<Due<T>>>,
    failures: HashMap<T, u32>,
    /// Until when keys rest that were worked on lately.
    resting: HashMap<T, Instant>,
}

/// A key and when it is due; ordered by the time alone.
struct Due<T> {
    at: Instant,
    key: T,
}

/// A work queue. Clones share it.
pub struct WorkQueue<T> {
    state: Arc<Mutex<State<T>>>,
    changed: Arc<Notify>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), changed: Arc::clone(&self.changed) }
    }
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: HashMap::new(),
            times: BinaryHeap::new(),
            failures: HashMap::new(),
            resting: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
    }
}

impl<T: Hash + Eq + Clone + Debug + Send + 'static> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for work on `key` now; once, however often it is asked.
    pub fn add(&self, key: T) {
        let mut state = self.lock();
        if let Some(until) = state.rests_until(&key) {
            drop(state);
            return self.add_at(key, until);
        }
        enqueue(&mut state, key);
        drop(state);
        self.changed.notify_one();
    }

    /// Asks for work on `key` after `delay`; the earliest of several wins.
    pub fn add_after(&self, key: T, delay: Duration) {
        self.add_at(key, Instant::now() + delay);
    }

    fn add_at(&self, key: T, at: Instant) {
        let is_first = self.lock().delay(key, at);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Asks for work on `key` again after its work failed; each failure in a row doubles the delay.
    pub fn retry(&self, key: T) {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        let delay = RETRY_FIRST.saturating_mul(2_u32.saturating_pow((*failures).min(20))).min(RETRY_MAX);
        *failures += 1;
        drop(state);
        self.add_after(key, delay);
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &T) {
        self.lock().failures.remove(key);
    }

    /// Lets `key`, while it is worked on, rest for `period` before it is worked on again. What is asked for meanwhile
    /// is done together afterwards: where work on a key grows with what there is of it, a burst of changes must not
    /// lead to as many rounds.
    pub fn rest(&self, key: T, period: Duration) {
        self.lock().resting.insert(key, Instant::now() + period);
    }

    /// Works on keys with `workers` at once until `shutdown`; work that is under way then is given up, for what
    /// it waits for may have ended already. A failed key is logged and retried, and so is one whose work
    /// panicked: one object that cannot be worked on must not stop work on the others.
    pub async fn run<F, Fut, E>(&self, workers: usize, shutdown: CancellationToken, handler: F)
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: Display,
    {
        let handler = Arc::new(handler);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..workers {
            let (queue, shutdown, handler) = (self.clone(), shutdown.clone(), Arc::clone(&handler));
            tasks.spawn(async move {
                while let Some(key) = queue.next(&shutdown).await {
                    let (handler, for_work) = (Arc::clone(&handler), key.clone());
                    let work = AssertUnwindSafe(async move { handler(for_work).await }).catch_unwind();
                    let worked = tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return,
                        worked = work => worked,
                    };
                    match worked {
                        Ok(Ok(())) => queue.forget(&key),
                        Ok(Err(error)) => {
                            tracing::debug!(?key, %error, "work failed, trying again");
                            queue.retry(key.clone());
                        }
                        Err(_panic) => {
                            tracing::error!(?key, "work panicked, trying again");
                            queue.retry(key.clone());
                        }
                    }
                    queue.done(&key);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a worker ended abnormally");
            }
        }
    }

    async fn next(&self, shutdown: &CancellationToken) -> Option<T> {
        loop {
            let changed = self.changed.notified();
            let (key, due) = self.take();
            if let Some(key) = key {
                // Another worker may be asleep while more is ready.
                self.changed.notify_one();
                return Some(key);
            }
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = changed => {}
                () = sleep => {}
            }
        }
    }

    /// The next ready key, or else when the earliest delayed one is due.
    fn take(&self) -> (Option<T>, Option<Instant>) {
        let mut state = self.lock();
        let now = Instant::now();
        while let Some(key) = state.pop_due(now) {
            match state.rests_until(&key) {
                Some(until) => drop(state.delay(key, until)),
                None => enqueue(&mut state, key),
            }
        }
        let key = state.ready.pop_front();
        if let Some(key) = &key {
            state.dirty.remove(key);
            state.working.insert(key.clone());
        }
        (key, state.times.peek().map(|Reverse(first)| first.at))
    }

    fn done(&self, key: &T) {
        let mut state = self.lock();
        state.working.remove(key);
        let now = Instant::now();
        state.resting.retain(|_, until| *until > now);
        if !state.dirty.contains(key) {
            return;
        }
        if let Some(until) = state.rests_until(key) {
            state.dirty.remove(key);
            drop(state);
            return self.add_at(key.clone(), until);
        }
        state.ready.push_back(key.clone());
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Hash + Eq + Clone> State<T> {
    /// Keeps the key for later, unless it is kept for sooner already; whether it is the next of all.
    fn delay(&mut self, key: T, at: Instant) -> bool {
        if self.delayed.get(&key).is_some_and(|sooner| *sooner <= at) {
            return false;
        }
        let is_first = self.times.peek().is_none_or(|Reverse(first)| at < first.at);
        self.delayed.insert(key.clone(), at);
        self.times.push(Reverse(Due { at, key }));
        is_first
    }

    /// Until when the key rests, if it does.
    fn rests_until(&self, key: &T) -> Option<Instant> {
        self.resting.get(key).copied().filter(|until| *until > Instant::now())
    }

    /// A key whose time has come. Afterwards the first of `times` is the earliest that counts.
    fn pop_due(&mut self, now: Instant) -> Option<T> {
        while let Some(Reverse(first)) = self.times.peek() {
            let counts = self.delayed.get(&first.key) == Some(&first.at);
            if counts && first.at > now {
                return None;
            }
            let Reverse(Due { key, .. }) = self.times.pop()?;
            if counts {
                self.delayed.remove(&key);
                return Some(key);
            }
        }
        None
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

fn enqueue<T: Hash + Eq + Clone>(state: &mut State<T>, key: T) {
    if state.dirty.insert(key.clone()) && !state.working.contains(&key) {
        state.ready.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_key_asked_for_while_worked_on_is_worked_on_once_more_and_never_twice_at_once() {
        let queue = WorkQueue::new();
        let (running, most, runs) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shutdown = CancellationToken::new();
        queue.add("a");
        let handler = {
            let (queue, shutdown) = (queue.clone(), shutdown.clone());
            let (running, most, runs) = (running.clone(), most.clone(), runs.clone());
            move |key: &'static str| {
                let (queue, shutdown) = (queue.clone(), shutdown.clone());
                let (running, most, runs) = (running.clone(), most.clone(), runs.clone());
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                        queue.add(key);
                        queue.add(key);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    } else {
                        shutdown.cancel();
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok::<(), &str>(())
                }
            }
        };
        queue.run(4, shutdown, handler).await;
        assert_eq!((runs.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_delay_and_success_forgets_them() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let started = Instant::now();
        let at = Arc::new(Mutex::new(Vec::new()));
        queue.add(1);
        let handler = {
            let (at, shutdown) = (at.clone(), shutdown.clone());
            move |_key: i32| {
                let (at, shutdown) = (at.clone(), shutdown.clone());
                async move {
                    let mut at = at.lock().expect("no panic holds the lock");
                    at.push(started.elapsed().as_millis());
                    if at.len() == 4 {
                        shutdown.cancel();
                    }
                    Err::<(), &str>("not yet")
                }
            }
        };
        queue.run(1, shutdown, handler).await;
        let at = at.lock().expect("no panic holds the lock");
        let gaps: Vec<u128> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] >= 5 && gaps[1] >= 2 * 5 && gaps[2] >= 4 * 5, "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_whose_work_panics_is_tried_again_and_holds_up_no_other() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let tries = Arc::new(AtomicUsize::new(0));
        queue.add("poison");
        queue.add("good");
        let handler = {
            let (shutdown, tries) = (shutdown.clone(), tries.clone());
            move |key: &'static str| {
                let (shutdown, tries) = (shutdown.clone(), tries.clone());
                async move {
                    if key == "poison" {
                        let nth = tries.fetch_add(1, Ordering::SeqCst);
                        assert!(nth >= 2, "this object cannot be worked on yet");
                        shutdown.cancel();
                    }
                    Ok::<(), &str>(())
                }
            }
        };
        let worked = tokio::time::timeout(Duration::from_secs(60), queue.run(1, shutdown, handler)).await;
        assert!(worked.is_ok(), "the only worker died with the first panic");
        assert_eq!(tries.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_rests_as_long_as_its_work_took_and_others_do_not_wait_for_it() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let started = Instant::now();
        let runs = Arc::new(Mutex::new(Vec::new()));
        queue.add("long");
        queue.add("other");
        let handler = {
            let (queue, shutdown, runs) = (queue.clone(), shutdown.clone(), runs.clone());
            move |key: &'static str| {
                let (queue, shutdown) = (queue.clone(), shutdown.clone());
                runs.lock().expect("no panic holds the lock").push((key, started.elapsed().as_millis()));
                async move {
                    let begun = Instant::now();
                    if key == "long" {
                        tokio::time::sleep(Duration::from_millis(40)).await;
                        queue.add("long");
                        queue.add_after("long", Duration::from_millis(1));
                    }
                    queue.rest(key, begun.elapsed());
                    if started.elapsed() > Duration::from_millis(200) {
                        shutdown.cancel();
                    }
                    Ok::<(), &str>(())
                }
            }
        };
        queue.run(1, shutdown, handler).await;
        let runs = runs.lock().expect("no panic holds the lock").clone();
        assert_eq!(runs[..2], [("long", 0), ("other", 40)]);
        assert!(runs[2..].iter().all(|(key, _)| *key == "long"), "{runs:?}");
        assert!(runs[2].1 >= 80 && runs[3].1 >= 160, "{runs:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_can_be_let_rest_once_by_its_own_work() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let started = Instant::now();
        let runs = Arc::new(Mutex::new(Vec::new()));
        queue.add("a");
        let handler = {
            let (queue, shutdown, runs) = (queue.clone(), shutdown.clone(), runs.clone());
            move |key: &'static str| {
                let (queue, shutdown, runs) = (queue.clone(), shutdown.clone(), runs.clone());
                async move {
                    let mut runs = runs.lock().expect("no panic holds the lock");
                    match runs.len() {
                        0 => queue.rest(key, Duration::from_millis(30)),
                        1 => {}
                        _ => shutdown.cancel(),
                    }
                    runs.push(started.elapsed().as_millis());
                    queue.add(key);
                    Ok::<(), &str>(())
                }
            }
        };
        queue.run(1, shutdown, handler).await;
        let runs = runs.lock().expect("no panic holds the lock").clone();
        assert!(matches!(runs[..], [0, 30..=31, 30..=32]), "{runs:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_for_what_has_ended_does_not_keep_the_queue_from_ending() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let begun = Arc::new(AtomicUsize::new(0));
        (0..100).for_each(|key| queue.add(key));
        let handler = {
            let (shutdown, begun) = (shutdown.clone(), begun.clone());
            move |_: i32| {
                begun.fetch_add(1, Ordering::SeqCst);
                let shutdown = shutdown.clone();
                async move {
                    shutdown.cancel();
                    std::future::pending::<Result<(), &str>>().await
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), queue.run(2, shutdown, handler)).await;
        assert!(ended.is_ok(), "it waited for its workers");
        assert!(begun.load(Ordering::SeqCst) <= 3, "what is left in the queue is not begun");
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_delays_of_a_key_the_earliest_counts_once() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let started = Instant::now();
        let runs = Arc::new(Mutex::new(Vec::new()));
        for (key, delay_s) in [("a", 30), ("b", 20), ("a", 10), ("a", 40), ("stop", 60)] {
            queue.add_after(key, Duration::from_secs(delay_s));
        }
        let handler = {
            let (shutdown, runs) = (shutdown.clone(), runs.clone());
            move |key: &'static str| {
                runs.lock().expect("no panic holds the lock").push((key, started.elapsed().as_secs()));
                if key == "stop" {
                    shutdown.cancel();
                }
                async { Ok::<(), &str>(()) }
            }
        };
        queue.run(2, shutdown, handler).await;
        assert_eq!(*runs.lock().expect("no panic holds the lock"), [("a", 10), ("b", 20), ("stop", 60)]);
    }
}
