//! Processes of pods, as the kernel knows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where in `/proc/PID/stat`, counted after the command's name, the start time stands.
const START_TIME: usize = 19;

/// The processes of the pod with this UID: by process id, when each was started (clock ticks since
/// boot). Two equal answers are the same processes.
pub fn pod_processes(uid: &str) -> BTreeMap<u32, u64> {
    let pod = format!("pod{uid}");
    let entries = fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let started = started(pid)?;
        cgroups.contains(&pod).then_some((pid, started))
    })
    .collect()
}

/// The process that looks after the containers of a data directory.
pub(crate) fn supervisor_of(data_dir: &Path) -> Option<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0);
        let dir = data_dir.as_os_str().as_encoded_bytes();
        arguments.next() == Some(b"stead-supervisor") && arguments.any(|argument| argument.starts_with(dir))
    })
}

/// When a process was started, in clock ticks since boot; none when there is no such process.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(START_TIME)?.parse().ok()
}
