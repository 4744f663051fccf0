//! Numbers of control groups: version 2 values from version 1 ones, and the memory killer's count. Pure.

use crate::types::Resources;

/// The default period of a CPU quota, in µs (contract `pods.md` 6.10).
const CPU_PERIOD_US: u64 = 100_000;

/// `cpu.weight` (1..=10000) for `cpu.shares` (2..=262144): both ends meet and 1024 becomes 100
/// (contract `pods.md` 6.10).
pub(super) fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            // 1024 must give exactly 100; rounding errors above it would give 101.
            (10f64.powf(exponent) - 1e-6).ceil() as u64
        }
    }
}

/// The content of version 2's `cpu.max`; none when neither quota nor period is asked for.
pub(super) fn cpu_max(limits: &Resources) -> Option<String> {
    if limits.cpu_quota_us.is_none() && limits.cpu_period_us.is_none() {
        return None;
    }
    let period = limits.cpu_period_us.unwrap_or(CPU_PERIOD_US);
    Some(match limits.cpu_quota_us {
        Some(quota) if quota > 0 => format!("{quota} {period}"),
        Some(_) | None => format!("max {period}"),
    })
}

/// A limit as version 2 writes it: negative means none.
pub(super) fn or_max(limit: i64) -> String {
    if limit < 0 { "max".into() } else { limit.to_string() }
}

/// The `oom_kill` line of version 1's `memory.oom_control` or version 2's `memory.events`.
pub(super) fn oom_kills(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_shared_formula() {
        for (shares, weight) in
            [(0, 1), (2, 1), (102, 17), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (1 << 30, 10_000)]
        {
            assert_eq!(cpu_weight(shares), weight, "shares {shares}");
        }
    }

    #[test]
    fn quota_and_limits_are_written_in_version_2_words() {
        let limits = |quota, period| Resources { cpu_quota_us: quota, cpu_period_us: period, ..Default::default() };
        assert_eq!(cpu_max(&limits(None, None)), None);
        assert_eq!(cpu_max(&limits(Some(50_000), None)).as_deref(), Some("50000 100000"));
        assert_eq!(cpu_max(&limits(Some(-1), Some(20_000))).as_deref(), Some("max 20000"));
        assert_eq!(or_max(-1), "max");
        assert_eq!(or_max(7), "7");
    }

    #[test]
    fn the_killers_count_is_read_from_either_version() {
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n"), 1);
        assert_eq!(oom_kills(""), 0);
    }
}
