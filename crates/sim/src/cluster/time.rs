//! Simulated time: one monotonic clock (tokio's, paused), and wall clocks that faults can set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use stead_client::Clock;
use tokio::time::Instant;

/// Where every simulation starts: 2026-01-01T00:00:00Z.
const START_S: i64 = 1_767_225_600;

/// The wall clock of one machine. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct WallClock {
    origin: Instant,
    skew_ms: Arc<AtomicI64>,
}

impl WallClock {
    /// A clock that is right. `origin` is the start of the simulation.
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, skew_ms: Arc::default() }
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        let shown = elapsed.saturating_add(self.skew_ms.load(Ordering::Relaxed));
        let start = Timestamp::from_second(START_S).unwrap_or(Timestamp::UNIX_EPOCH);
        start.saturating_add(SignedDuration::from_millis(shown)).unwrap_or(Timestamp::MAX)
    }

    /// Sets it forward or back.
    pub(crate) fn step(&self, by_ms: i64) {
        self.skew_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Sets it right.
    pub(crate) fn correct(&self) {
        self.skew_ms.store(0, Ordering::Relaxed);
    }

    /// As product code reads it.
    pub(crate) fn clock(&self) -> Clock {
        let clock = self.clone();
        Clock::new(move || clock.now())
    }
}

/// As the API server reads time and randomness.
pub(crate) struct ServerWorld {
    pub(crate) wall: WallClock,
    pub(crate) dice: super::entropy::Dice,
}

impl stead_apiserver::World for ServerWorld {
    fn now(&self) -> Timestamp {
        self.wall.now()
    }

    fn random(&self) -> u64 {
        self.dice.bits()
    }
}
