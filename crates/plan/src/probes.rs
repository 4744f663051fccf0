//! Probe decisions: when to probe next and what the outcomes so far mean (contract `pods.md` 3).
//!
//! One difference from Kubernetes, on purpose: until a startup or readiness probe has passed for the
//! first time it is tried again early, after 10 ms, 20 ms, 40 ms … up to the period (a command, which costs
//! a process, after 50 ms, 100 ms …), so that a database that listens 60 ms after its start is Ready then
//! and not a whole period later. Early tries that fail count for nothing and leave no event; the tries on
//! the period count as ever.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Probe;

/// First early try after a failed one.
const EARLY_FIRST_MS: i64 = 10;
/// The same where a try is a process.
const EARLY_FIRST_EXEC_MS: i64 = 50;

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether the container has started; the others wait for it.
    Startup,
    /// Whether the container should be restarted.
    Liveness,
    /// Whether the container takes traffic.
    Readiness,
}

impl ProbeKind {
    /// The word at the start of an event's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// How one try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container answered well.
    Success,
    /// It sent the check elsewhere, which is none of its business: as good as an answer, but worth an event.
    Warning,
    /// It answered badly, or not in time.
    Failure,
    /// The probe itself could not be made; counts for nothing.
    Error,
}

/// What one try changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The published result is now this, and was not before.
    pub became: Option<bool>,
    /// The try is worth an event unless it was a plain success.
    pub counted: bool,
}

/// The state of one probe of one incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeState {
    kind: ProbeKind,
    period: SignedDuration,
    success_threshold: u32,
    failure_threshold: u32,
    result: Option<bool>,
    in_a_row: u32,
    last_success: bool,
    passed_once: bool,
    early: SignedDuration,
    next_counted: Timestamp,
    next_try: Timestamp,
}

impl ProbeState {
    /// The state before the first try of an incarnation that started at `started_at`.
    pub fn new(kind: ProbeKind, probe: &Probe, started_at: Timestamp) -> Self {
        let seconds = |value: Option<i32>, default: i32| SignedDuration::from_secs(value.unwrap_or(default).into());
        let threshold = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        let first = started_at.saturating_add(seconds(probe.initial_delay_seconds, 0)).unwrap_or(started_at);
        Self {
            kind,
            period: seconds(probe.period_seconds, 10).max(SignedDuration::from_secs(1)),
            success_threshold: threshold(probe.success_threshold, 1),
            failure_threshold: threshold(probe.failure_threshold, 3),
            result: None,
            in_a_row: 0,
            last_success: false,
            passed_once: false,
            early: SignedDuration::from_millis(if probe.exec.is_some() { EARLY_FIRST_EXEC_MS } else { EARLY_FIRST_MS }),
            next_counted: first,
            next_try: first,
        }
    }

    /// The state of an incarnation that was already being probed before the agent was restarted, with
    /// the result that was published then: it keeps it until its probes say otherwise.
    pub fn resumed(mut self, result: bool, now: Timestamp) -> Self {
        self.result = Some(result);
        self.passed_once = result;
        self.next_counted = self.next_counted.max(now);
        self.next_try = self.next_counted;
        self
    }

    /// When to try next.
    pub fn next_try(&self) -> Timestamp {
        self.next_try
    }

    /// Whether trying on makes no sense for this incarnation: startup has been decided, or liveness lost.
    pub fn is_settled(&self) -> bool {
        match self.kind {
            ProbeKind::Startup => self.result.is_some(),
            ProbeKind::Liveness => self.result == Some(false),
            ProbeKind::Readiness => false,
        }
    }

    /// Takes in how the try made at `now` went.
    pub fn record(&mut self, outcome: Outcome, now: Timestamp) -> Judgement {
        let counted = now >= self.next_counted;
        if counted {
            self.next_counted = later(now, self.period);
        }
        self.schedule(outcome, now);
        let success = match outcome {
            Outcome::Error => return Judgement { became: None, counted },
            Outcome::Success | Outcome::Warning => true,
            Outcome::Failure if !counted => return Judgement::default(),
            Outcome::Failure => false,
        };
        self.in_a_row = if self.last_success == success { self.in_a_row + 1 } else { 1 };
        self.last_success = success;
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.in_a_row < threshold || self.result == Some(success) {
            return Judgement { became: None, counted };
        }
        // A readiness probe that has not passed yet is not ready already.
        let news = self.result.is_some() || success || self.kind != ProbeKind::Readiness;
        self.result = Some(success);
        self.passed_once |= success;
        Judgement { became: news.then_some(success), counted }
    }

    fn schedule(&mut self, outcome: Outcome, now: Timestamp) {
        let passed = matches!(outcome, Outcome::Success | Outcome::Warning);
        let hurried = !self.passed_once && self.kind != ProbeKind::Liveness && !passed;
        if hurried {
            self.next_try = later(now, self.early).min(self.next_counted);
            self.early = (self.early * 2).min(self.period);
        } else {
            self.next_try = self.next_counted.max(now);
        }
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).expect("small")
    }

    fn probe(period_s: i32, failures: i32) -> Probe {
        Probe { period_seconds: Some(period_s), failure_threshold: Some(failures), ..Probe::default() }
    }

    #[test]
    fn a_readiness_probe_is_tried_early_until_it_first_passes() {
        let mut state = ProbeState::new(ProbeKind::Readiness, &probe(10, 3), at(0));
        let mut tries = Vec::new();
        let mut now = at(0);
        for _ in 0..6 {
            tries.push(now.as_millisecond());
            assert_eq!(state.record(Outcome::Failure, now).became, None);
            now = state.next_try();
        }
        assert_eq!(tries, [0, 10, 30, 70, 150, 310]);
        assert_eq!(state.record(Outcome::Success, now), Judgement { became: Some(true), counted: false });
        assert_eq!(state.next_try(), at(10_000), "then on the period");
    }

    #[test]
    fn early_failures_do_not_count_towards_the_threshold() {
        let mut state = ProbeState::new(ProbeKind::Startup, &probe(1, 2), at(0));
        let mut now = at(0);
        let mut counted = 0;
        while now < at(1000) {
            counted += u32::from(state.record(Outcome::Failure, now).counted);
            now = state.next_try();
        }
        assert_eq!((counted, now), (1, at(1000)));
        assert_eq!(state.record(Outcome::Failure, now).became, Some(false), "the second counted failure decides");
        assert!(state.is_settled());
    }

    #[test]
    fn an_answer_from_elsewhere_counts_as_success() {
        let mut state = ProbeState::new(ProbeKind::Readiness, &probe(10, 3), at(0));
        assert_eq!(state.record(Outcome::Warning, at(0)), Judgement { became: Some(true), counted: true });
        assert_eq!(state.next_try(), at(10_000));
    }

    #[test]
    fn one_that_has_passed_or_asks_whether_to_restart_is_not_hurried() {
        let mut ready = ProbeState::new(ProbeKind::Readiness, &probe(10, 1), at(0));
        ready.record(Outcome::Success, at(0));
        ready.record(Outcome::Failure, at(10_000));
        assert_eq!(ready.next_try(), at(20_000));
        let mut alive = ProbeState::new(ProbeKind::Liveness, &probe(10, 2), at(0));
        alive.record(Outcome::Failure, at(0));
        assert_eq!((alive.next_try(), alive.is_settled()), (at(10_000), false));
        alive.record(Outcome::Failure, at(10_000));
        assert!(alive.is_settled(), "it is going to be restarted");
        assert!(!ready.is_settled(), "readiness comes and goes");
        assert_eq!(
            [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness].map(ProbeKind::as_str),
            ["Startup", "Liveness", "Readiness"]
        );
    }

    #[test]
    fn liveness_fails_only_after_its_threshold_in_a_row() {
        let mut state = ProbeState::new(ProbeKind::Liveness, &probe(10, 3), at(0));
        let outcomes = [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Failure, Outcome::Error];
        for outcome in outcomes {
            let now = state.next_try();
            assert_ne!(state.record(outcome, now).became, Some(false));
        }
        for expected in [None, Some(false)] {
            let now = state.next_try();
            assert_eq!(state.record(Outcome::Failure, now).became, expected);
        }
    }
}
