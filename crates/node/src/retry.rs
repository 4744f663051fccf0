//! When what failed is tried again.

use jiff::{SignedDuration, Timestamp};

/// Volumes and sandboxes: first wait and longest (contract `pods.md` 5.15).
const SET_UP_FIRST_MS: i64 = 500;
const SET_UP_MAX_MS: i64 = 122_000;
/// Pulls: first wait and longest (contract `pods.md` 6.20).
const PULL_FIRST_S: i64 = 10;
const PULL_MAX_S: i64 = 300;
/// Making ready for a replacement: the old pod serves meanwhile, and whoever mends it looks on.
const PREPARE_FIRST_S: i64 = 5;
const PREPARE_MAX_S: i64 = 60;
/// Doublings after which every wait is the longest.
const DOUBLINGS_MAX: u32 = 16;

/// When a volume or a sandbox that has failed so often before is tried again.
pub(crate) fn set_up_at(failures: u32) -> Timestamp {
    later(SignedDuration::from_millis(growing(failures, SET_UP_FIRST_MS, SET_UP_MAX_MS)))
}

/// When an image or a start that has failed so often before is tried again.
pub(crate) fn pull_at(failures: u32) -> Timestamp {
    later(SignedDuration::from_secs(growing(failures, PULL_FIRST_S, PULL_MAX_S)))
}

/// When making ready for a replacement that has failed so often before is tried again.
pub(crate) fn prepare_at(failures: u32) -> Timestamp {
    later(SignedDuration::from_secs(growing(failures, PREPARE_FIRST_S, PREPARE_MAX_S)))
}

fn later(by: SignedDuration) -> Timestamp {
    let now = Timestamp::now();
    now.saturating_add(by).unwrap_or(now)
}

fn growing(failures: u32, first: i64, max: i64) -> i64 {
    first.saturating_mul(1_i64 << failures.min(DOUBLINGS_MAX)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = |first, max| [0, 1, 2, 5, 99].map(|failures| growing(failures, first, max));
        assert_eq!(waits(SET_UP_FIRST_MS, SET_UP_MAX_MS), [500, 1000, 2000, 16_000, 122_000]);
        assert_eq!(waits(PULL_FIRST_S, PULL_MAX_S), [10, 20, 40, 300, 300]);
    }
}
