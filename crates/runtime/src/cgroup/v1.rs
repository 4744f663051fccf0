//! Version 1 control groups: one directory per hierarchy.

use std::fs;
use std::path::Path;

use super::{CgroupError, Hierarchy, Level, below, is_gone, write_file};
use crate::types::Resources;

/// Controllers a container is put under wherever they are mounted; libcontainer knows the same ones.
pub(super) const CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "pids",
    "freezer",
    "devices",
    "blkio",
    "hugetlb",
    "perf_event",
    "net_cls",
    "net_prio",
];

/// What a container may do with devices: make any node, but open only these (the set every engine
/// has: null, zero, full, random, urandom, tty, console, ptmx and terminals).
const DEVICES_ALLOWED: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// The hierarchy that has a controller.
pub(super) fn hierarchy_of<'a>(hierarchies: &'a [Hierarchy], controller: &str) -> Option<&'a Hierarchy> {
    hierarchies.iter().find(|h| h.controllers.iter().any(|c| c == controller))
}

/// Makes `path` in every hierarchy and sets the limits.
pub(super) fn create(
    hierarchies: &[Hierarchy],
    path: &Path,
    level: Level,
    limits: &Resources,
) -> Result<(), CgroupError> {
    for hierarchy in hierarchies {
        let dir = below(&hierarchy.mount, path);
        if hierarchy.controllers.iter().any(|c| c == "cpuset") {
            create_cpuset(&hierarchy.mount, &dir)?;
        } else {
            fs::create_dir_all(&dir).map_err(CgroupError::at("make", &dir))?;
        }
        for (controller, file, value) in settings(level, limits) {
            if hierarchy.controllers.iter().any(|c| c == controller) {
                write_file(&dir.join(file), &value)?;
            }
        }
        if hierarchy.controllers.iter().any(|c| c == "memory") {
            limit_swap(&dir, limits)?;
        }
    }
    Ok(())
}

/// Controller, file and value of each limit, in the order they must be written.
fn settings(level: Level, limits: &Resources) -> Vec<(&'static str, &'static str, String)> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>| {
        settings.extend(value.map(|value| (controller, file, value)));
    };
    set("cpu", "cpu.shares", limits.cpu_shares.map(|v| v.to_string()));
    set("cpu", "cpu.cfs_period_us", limits.cpu_period_us.map(|v| v.to_string()));
    set("cpu", "cpu.cfs_quota_us", limits.cpu_quota_us.map(|v| v.to_string()));
    set("memory", "memory.limit_in_bytes", limits.memory_limit_bytes.map(|v| v.to_string()));
    set("pids", "pids.max", limits.pids_max.map(super::values::or_max));
    if level == Level::Container {
        set("devices", "devices.deny", Some("a".into()));
        for rule in DEVICES_ALLOWED {
            set("devices", "devices.allow", Some(rule.into()));
        }
    }
    settings
}

/// No swap beyond the memory limit, where the kernel accounts swap at all.
fn limit_swap(dir: &Path, limits: &Resources) -> Result<(), CgroupError> {
    let file = dir.join("memory.memsw.limit_in_bytes");
    let Some(limit) = limits.memory_limit_bytes else { return Ok(()) };
    match fs::write(&file, limit.to_string()) {
        Err(e) if !is_gone(&e) => Err(CgroupError::at("write", &file)(e)),
        _ => Ok(()),
    }
}

/// A cpuset group accepts no process before it has CPUs and memory nodes; each level takes its parent's.
fn create_cpuset(root: &Path, dir: &Path) -> Result<(), CgroupError> {
    if dir == root {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(root);
    create_cpuset(root, parent)?;
    fs::create_dir_all(dir).map_err(CgroupError::at("make", dir))?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = dir.join(file);
        let current = fs::read_to_string(&own).map_err(CgroupError::at("read", &own))?;
        if current.trim().is_empty() {
            let from = parent.join(file);
            let value = fs::read_to_string(&from).map_err(CgroupError::at("read", &from))?;
            write_file(&own, value.trim())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_group_has_limits_but_no_device_rules() {
        let limits = Resources { cpu_shares: Some(512), pids_max: Some(-1), ..Default::default() };
        let expected = vec![("cpu", "cpu.shares", "512".to_owned()), ("pids", "pids.max", "max".to_owned())];
        assert_eq!(settings(Level::Pod, &limits), expected);
        assert_eq!(settings(Level::PrivilegedContainer, &limits), expected);
        let container = settings(Level::Container, &limits);
        assert_eq!(container[2], ("devices", "devices.deny", "a".to_owned()));
        assert_eq!(container.len(), 3 + DEVICES_ALLOWED.len());
    }
}
