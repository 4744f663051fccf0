//! Restart decisions: which ended container starts again, and after how long
//! (contract `pods.md` 1.4, rules 28 and 33).

use jiff::{SignedDuration, Timestamp};

/// First delay after the immediate restart.
const FIRST_S: i64 = 10;
/// Longest delay.
const MAX_S: i64 = 300;
/// A container that ran so long starts afresh.
const RESET_S: i64 = 600;

/// When an ended container starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// When its exit code is not 0.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    /// Reads the wire form; anything unknown is `Always`, the default.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended with `code` starts again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// How often a container was restarted lately. Kept in memory only: an agent restart clears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Restarts in a row; 0 restarts at once.
    pub restarts: u32,
}

impl Backoff {
    /// How long to wait after an exit before the next start.
    pub fn delay_s(self) -> i64 {
        match self.restarts {
            0 => 0,
            n => FIRST_S.saturating_mul(1_i64 << (n - 1).min(8)).min(MAX_S),
        }
    }

    /// When a container that ran from `started_at` to `finished_at` may start again. A clock that was set
    /// back since then does not make it wait: an end in the future is taken for a long past one.
    pub fn due(self, started_at: Timestamp, finished_at: Timestamp, now: Timestamp) -> Timestamp {
        let delay = SignedDuration::from_secs(self.after_run(started_at, finished_at).delay_s());
        let due = finished_at.saturating_add(delay).unwrap_or(finished_at);
        if due.duration_since(now) > delay { now } else { due }
    }

    /// The count as it stands after such a run: a long one clears it.
    pub fn after_run(self, started_at: Timestamp, finished_at: Timestamp) -> Self {
        if finished_at.duration_since(started_at) > SignedDuration::from_secs(RESET_S) { Self::default() } else { self }
    }

    /// The count after one more restart following such a run.
    pub fn restarted(self, started_at: Timestamp, finished_at: Timestamp) -> Self {
        Self { restarts: self.after_run(started_at, finished_at).restarts.saturating_add(1) }
    }
}

/// Writes a delay as Go does: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(seconds: i64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_ten_seconds_to_five_minutes() {
        let delays: Vec<i64> = (0..8).map(|restarts| Backoff { restarts }.delay_s()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_starts_afresh() {
        let start = Timestamp::UNIX_EPOCH;
        let long = start + SignedDuration::from_secs(601);
        assert_eq!(Backoff { restarts: 5 }.due(start, long, long), long);
        assert_eq!(Backoff { restarts: 5 }.restarted(start, long), Backoff { restarts: 1 });
        let short = start + SignedDuration::from_secs(600);
        assert_eq!(Backoff { restarts: 5 }.restarted(start, short), Backoff { restarts: 6 });
    }

    #[test]
    fn a_clock_set_back_makes_nothing_wait_longer_than_it_would() {
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let backoff = Backoff { restarts: 1 };
        assert_eq!(backoff.due(at(100), at(101), at(102)), at(111));
        assert_eq!(backoff.due(at(100), at(101), at(101)), at(111), "the very moment it ended");
        assert_eq!(backoff.due(at(100), at(101), at(61)), at(61), "40 s back: at once");
        assert_eq!(Backoff::default().due(at(100), at(101), at(61)), at(61));
    }

    #[test]
    fn durations_read_as_in_go() {
        assert_eq!([10, 59, 60, 80, 300].map(go_seconds), ["10s", "59s", "1m0s", "1m20s", "5m0s"]);
    }

    #[test]
    fn a_policy_says_after_which_ends_a_container_starts_again() {
        let restarts = |policy: Option<&str>| [0, 1].map(|code| RestartPolicy::parse(policy).restarts(code));
        assert_eq!(restarts(Some("OnFailure")), [false, true]);
        assert_eq!(restarts(Some("Never")), [false, false]);
        assert_eq!(restarts(Some("Always")), [true, true]);
        assert_eq!(restarts(None), [true, true]);
    }
}
