//! What happened, for people: the last events of a simulation in order, and the first violation of an
//! invariant, which ends it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Lines kept for the report of a violation.
const LINES_MAX: usize = 250;

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which: `I1` to `I12`.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
    /// Simulated time since the start.
    pub at: Duration,
    /// The last events before it.
    pub story: String,
}

struct Inner {
    lines: VecDeque<String>,
    violation: Option<Violation>,
    echo: bool,
}

/// The story of one simulation. Clones share it.
#[derive(Clone)]
pub(crate) struct Story {
    origin: Instant,
    inner: Arc<Mutex<Inner>>,
    broken: CancellationToken,
}

impl Story {
    /// An empty story that starts now. With `echo` every line is printed as it happens.
    pub(crate) fn new(echo: bool) -> Self {
        let inner = Inner { lines: VecDeque::new(), violation: None, echo };
        Self { origin: Instant::now(), inner: Arc::new(Mutex::new(inner)), broken: CancellationToken::new() }
    }

    /// Tells what `who` did or saw.
    pub(crate) fn tell(&self, who: &str, what: &str) {
        let line = format!("{} {who}: {what}", shown(self.origin.elapsed()));
        let mut inner = self.lock();
        if inner.echo {
            println!("{line}");
        }
        if inner.lines.len() == LINES_MAX {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// Tells of a violation. Only the first is kept: what follows from it means nothing.
    pub(crate) fn violated(&self, invariant: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.tell("VIOLATION", &format!("{invariant}: {text}"));
        let mut inner = self.lock();
        if inner.violation.is_none() {
            let mut story = String::new();
            for line in &inner.lines {
                // Writing to a String cannot fail.
                writeln!(story, "  {line}").unwrap_or_default();
            }
            inner.violation = Some(Violation { invariant, text, at: self.origin.elapsed(), story });
        }
        self.broken.cancel();
    }

    /// Waits for a violation.
    pub(crate) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// The violation, if there was one.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.lock().violation.clone()
    }

    /// Simulated time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A simulated time as `1:02:03.004`.
pub(crate) fn shown(at: Duration) -> String {
    let s = at.as_secs();
    format!("{}:{:02}:{:02}.{:03}", s / 3600, s / 60 % 60, s % 60, at.subsec_millis())
}
