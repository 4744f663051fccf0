//! What the supervisor writes down, so that its successor knows what runs and how what ended ended.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub(super) use stead_disk::Durability;

use crate::layout::RECORD;
use crate::types::{ContainerInfo, ContainerSpec, Sandbox};

/// A container's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) spec: ContainerSpec,
    /// Path of its cgroup below each hierarchy's root.
    pub(super) cgroup: std::path::PathBuf,
    pub(super) phase: Phase,
}

/// How far a container has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Being made. Found by a successor, it never came to life.
    Creating,
    /// Started; running unless the process is another one by now.
    Started {
        pid: i32,
        /// Start time of the process in clock ticks since boot: with `boot` it tells a reused number.
        start_ticks: u64,
        boot: String,
        started_at: Timestamp,
    },
    /// Ended.
    Exited {
        info: Box<ContainerInfo>,
        /// Why the code is not the process's own, when it is not.
        #[serde(default)]
        unknown: Option<String>,
    },
}

/// A sandbox's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) sandbox: Sandbox,
    /// Namespaces end with the machine's run they were made in.
    pub(super) boot: String,
}

/// Replaces the record in `dir`, in one step. It holds the container's environment: nobody else reads it.
pub(super) fn write(dir: &Path, record: &impl Serialize, durability: Durability) -> io::Result<()> {
    stead_disk::replace(&dir.join(RECORD), &serde_json::to_vec(record)?, 0o600, durability)
}

/// Reads the record of `dir`.
pub(super) fn read<T: DeserializeOwned>(dir: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(dir.join(RECORD))?)?)
}

/// Which run of the machine this is.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started, in clock ticks since boot; none if there is no such process, or only what is
/// left of it until it is reaped.
pub(super) fn start_ticks(pid: i32) -> Option<u64> {
    parse_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The process that had this number and start time, if it still runs.
pub(super) fn find(pid: i32, start_ticks: u64) -> io::Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let process = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        process => process?,
    };
    // Looked at after it is held, so that it cannot become another one in between.
    Ok((self::start_ticks(pid) == Some(start_ticks)).then_some(process))
}

/// Field 22 of a process's `stat`; its name, field 2, may hold anything and is skipped by its bracket.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_start() {
        let own = start_ticks(std::process::id() as i32).unwrap();
        assert_eq!(start_ticks(std::process::id() as i32), Some(own));
        let stat = "7 (a) Z (b) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_start_ticks(stat), Some(4242));
        assert_eq!(parse_start_ticks(&stat.replace(") S 1", ") Z 1")), None);
    }

    #[test]
    fn records_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &"one", Durability::Process).unwrap();
        write(dir.path(), &"two", Durability::Machine).unwrap();
        assert_eq!(read::<String>(dir.path()).unwrap(), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_that_a_full_disk_does_not_take_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let options = c"size=16k";
        rustix::mount::mount("none", dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), options).unwrap();
        write(dir.path(), &"one", Durability::Process).unwrap();
        let filled = fs::write(dir.path().join("filler"), vec![0; 1 << 16]);
        let refused = write(dir.path(), &"two", Durability::Process);
        let left = read::<String>(dir.path());
        rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        filled.unwrap_err();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(left.unwrap(), "one");
    }
}
