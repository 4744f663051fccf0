//! Version 2 control groups: one directory, limits in its files, device rules as an eBPF program.

use std::fs;
use std::path::Path;

use super::{CgroupError, Level, below, device_filter, values, write_file};
use crate::types::Resources;

/// Controllers handed down to pods and containers where the kernel has them.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "memory", "pids", "hugetlb"];

/// Makes `path` below `root`, enables the controllers on the way down and sets the limits.
pub(super) fn create(root: &Path, path: &Path, level: Level, limits: &Resources) -> Result<(), CgroupError> {
    let dir = below(root, path);
    fs::create_dir_all(&dir).map_err(CgroupError::at("make", &dir))?;
    for ancestor in dir.ancestors().skip(1).take_while(|a| a.starts_with(root)).collect::<Vec<_>>().into_iter().rev() {
        enable_controllers(ancestor);
    }
    for (file, value) in settings(level, limits) {
        write_file(&dir.join(file), &value)?;
    }
    match level {
        Level::Pod | Level::PrivilegedContainer => Ok(()),
        Level::Container => device_filter::attach(&dir).map_err(CgroupError::at("restrict devices of", &dir)),
    }
}

/// A controller the kernel lacks or the parent withholds cannot be enabled; what needs it fails later,
/// when its file turns out to be missing.
fn enable_controllers(dir: &Path) {
    for controller in CONTROLLERS {
        if let Err(e) = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")) {
            tracing::debug!(?dir, controller, %e, "controller not enabled");
        }
    }
}

/// File and value of each limit.
fn settings(level: Level, limits: &Resources) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    let mut set = |file, value: Option<String>| settings.extend(value.map(|value| (file, value)));
    set("cpu.weight", limits.cpu_shares.map(|shares| values::cpu_weight(shares).to_string()));
    set("cpu.max", values::cpu_max(limits));
    set("memory.max", limits.memory_limit_bytes.map(values::or_max));
    // The node's policy is no swap for pods (contract `pods.md` 6.12).
    set("memory.swap.max", limits.memory_limit_bytes.map(|_| "0".into()));
    set("pids.max", limits.pids_max.map(values::or_max));
    if level != Level::Pod && limits.memory_limit_bytes.is_some() {
        // A container that lost one process to the killer is half dead: take all of it.
        set("memory.oom.group", Some("1".into()));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_version_2_files() {
        let limits = Resources {
            cpu_shares: Some(1024),
            cpu_quota_us: Some(50_000),
            cpu_period_us: Some(100_000),
            memory_limit_bytes: Some(64 << 20),
            pids_max: Some(100),
        };
        let expected = [
            ("cpu.weight", "100"),
            ("cpu.max", "50000 100000"),
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("pids.max", "100"),
            ("memory.oom.group", "1"),
        ];
        let expected: Vec<_> = expected.iter().map(|(file, value)| (*file, value.to_string())).collect();
        assert_eq!(settings(Level::Container, &limits), expected);
        assert_eq!(settings(Level::Pod, &limits), expected[..5]);
        assert_eq!(settings(Level::Container, &Resources::default()), []);
    }
}
