//! What a cluster could leave behind on the machine, so that a test can assert that it does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Everything of a data directory that is still on the machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Processes whose command line names the directory, and those in the cluster's cgroups.
    pub processes: Vec<String>,
    /// Mount points below it.
    pub mounts: Vec<String>,
    /// Cgroups of the cluster.
    pub cgroups: BTreeSet<String>,
}

impl Leftovers {
    /// Looks for what belongs to the data directory `dir` and the cgroup root in its record.
    pub fn of(dir: &Path, cgroup_root: &str) -> Self {
        let text = dir.display().to_string();
        Self { processes: processes(&text, cgroup_root), mounts: mounts(&text), cgroups: cgroups(cgroup_root) }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn processes(dir: &str, cgroup_root: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.parse::<u32>().is_ok() && *name != own);
    pids.filter_map(|pid| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let contained = String::from_utf8_lossy(&read("cgroup")).contains(cgroup_root);
        (command.contains(dir) || contained).then(|| format!("{pid}: {command}"))
    })
    .collect()
}

fn mounts(dir: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.starts_with(dir))
        .map(str::to_owned)
        .collect()
}

fn cgroups(root: &str) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let points = table.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    points
        .map(|point| Path::new(point).join(root))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect()
}
