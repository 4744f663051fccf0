//! Control groups: finding the hierarchies, making a group with its limits, reading who is in it and
//! whether the kernel killed for memory, removing it.
//!
//! Both layouts are served. Version 1 (also the hybrid layout, where controllers sit on version 1) is
//! what the tests run on; of version 2 only the translation of values and paths is tested.
//! libcontainer is only ever told the path of a group made here; it sets no limits itself.

mod device_filter;
mod v1;
mod v2;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use stead_disk::mounts::{self, Mount};

use crate::types::Resources;

/// A group may stay busy for a moment after its last process has been reaped, and version 1 has no event
/// for the end of that moment.
const REMOVE_PAUSE: Duration = Duration::from_millis(5);
const REMOVE_ATTEMPTS_MAX: usize = 200;

/// A control group operation failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {path}: {source}")]
pub(crate) struct CgroupError {
    /// What was tried.
    action: &'static str,
    /// On which file or directory.
    path: PathBuf,
    /// What the kernel said.
    #[source]
    source: io::Error,
}

impl CgroupError {
    /// Turns an error of the kernel into one that names what was tried.
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { action, path, source }
    }
}

/// Whether a group is a pod's, or a container's with its device rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Limits the sum of a pod's containers.
    Pod,
    /// Holds one container; access to every device.
    PrivilegedContainer,
    /// Holds one container; access to the default devices only.
    Container,
}

/// One version 1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its controllers, e.g. `cpu` and `cpuacct` where they are mounted together.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

/// The control groups of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// Version 1, with every hierarchy that has a controller.
    Legacy(Vec<Hierarchy>),
    /// Version 2 alone, mounted here.
    Unified(PathBuf),
}

impl Cgroups {
    /// Reads the layout from this process's mounts.
    pub(crate) fn detect() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        Self::from_mounts(mounts::table().map_err(CgroupError::at("read", path))?)
            .ok_or_else(|| CgroupError::at("find control groups in", path)(io::Error::from(io::ErrorKind::NotFound)))
    }

    /// The layout that mounts make; none without any control group mount.
    fn from_mounts(mounts: Vec<Mount>) -> Option<Self> {
        let mut legacy: Vec<Hierarchy> = Vec::new();
        let mut unified = None;
        for mount in mounts {
            match mount.kind.as_str() {
                "cgroup2" => unified = unified.or(Some(mount.point)),
                "cgroup" => {
                    let options = mount.options.split(',');
                    let controllers: Vec<String> =
                        options.filter(|o| v1::CONTROLLERS.contains(o)).map(str::to_owned).collect();
                    let seen = legacy.iter().any(|h| h.controllers == controllers);
                    if !controllers.is_empty() && !seen {
                        legacy.push(Hierarchy { controllers, mount: mount.point });
                    }
                }
                _ => {}
            }
        }
        if legacy.is_empty() { unified.map(Self::Unified) } else { Some(Self::Legacy(legacy)) }
    }

    /// Makes the group `path` (and its parents) and sets its limits. An existing one gets the limits.
    pub(crate) fn create(&self, path: &Path, level: Level, limits: &Resources) -> Result<(), CgroupError> {
        match self {
            Self::Legacy(hierarchies) => v1::create(hierarchies, path, level, limits),
            Self::Unified(root) => v2::create(root, path, level, limits),
        }
    }

    /// Every process in the group or below it. A group that does not exist is empty.
    pub(crate) fn pids(&self, path: &Path) -> Result<BTreeSet<i32>, CgroupError> {
        let mut pids = BTreeSet::new();
        for dir in self.directories(path) {
            collect_pids(&dir, &mut pids)?;
        }
        Ok(pids)
    }

    /// How many processes of the group the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self, path: &Path) -> u64 {
        let file = match self {
            Self::Legacy(hierarchies) => {
                v1::hierarchy_of(hierarchies, "memory").map(|h| below(&h.mount, path).join("memory.oom_control"))
            }
            Self::Unified(root) => Some(below(root, path).join("memory.events")),
        };
        let text = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        values::oom_kills(&text)
    }

    /// Removes the group and those below it. A missing one is success; one with a process in it fails.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), CgroupError> {
        self.directories(path).iter().try_for_each(|dir| remove_tree(dir))
    }

    /// The group's directory in each hierarchy.
    pub(crate) fn directories(&self, path: &Path) -> Vec<PathBuf> {
        match self {
            Self::Legacy(hierarchies) => hierarchies.iter().map(|h| below(&h.mount, path)).collect(),
            Self::Unified(root) => vec![below(root, path)],
        }
    }
}

/// `path` under `root`, also when it is written with a leading slash.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Writes a control file.
fn write_file(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(CgroupError::at("write", path))
}

/// Directories below `dir`; none if it does not exist.
fn children(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(CgroupError::at("list", dir)(e)),
    };
    let groups = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(groups.map(|entry| entry.path()).collect())
}

fn collect_pids(dir: &Path, pids: &mut BTreeSet<i32>) -> Result<(), CgroupError> {
    let procs = dir.join("cgroup.procs");
    match fs::read_to_string(&procs) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0)),
        Err(e) if is_gone(&e) => return Ok(()),
        Err(e) => return Err(CgroupError::at("read", &procs)(e)),
    }
    children(dir)?.iter().try_for_each(|child| collect_pids(child, pids))
}

#[expect(clippy::disallowed_methods, reason = "the kernel tells nobody when an emptied cgroup stops being busy")]
fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    children(dir)?.iter().try_for_each(|child| remove_tree(child))?;
    for attempt in 1.. {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && attempt < REMOVE_ATTEMPTS_MAX => {
                std::thread::sleep(REMOVE_PAUSE);
            }
            Err(e) if !is_gone(&e) => return Err(CgroupError::at("remove", dir)(e)),
            _ => break,
        }
    }
    Ok(())
}

/// Whether the error says that the group is no longer there.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 30 0:31 / /elsewhere rw - cgroup cgroup rw,memory
";

    #[test]
    fn a_hybrid_layout_is_served_by_its_version_1_hierarchies() {
        let hierarchy = |controllers: &[&str], mount: &str| Hierarchy {
            controllers: controllers.iter().map(ToString::to_string).collect(),
            mount: mount.into(),
        };
        assert_eq!(
            Cgroups::from_mounts(mounts::parse(HYBRID.as_bytes())),
            Some(Cgroups::Legacy(vec![
                hierarchy(&["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct"),
                hierarchy(&["memory"], "/sys/fs/cgroup/memory"),
            ]))
        );
    }

    #[test]
    fn version_2_alone_is_recognised_and_nothing_is_nothing() {
        let text = "31 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            Cgroups::from_mounts(mounts::parse(text.as_bytes())),
            Some(Cgroups::Unified("/sys/fs/cgroup".into()))
        );
        assert_eq!(Cgroups::from_mounts(mounts::parse(b"22 1 0:4 / /proc rw - proc proc rw\n")), None);
    }
}
