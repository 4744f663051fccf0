//! Identities as the kernel sees them: that no two pods of one name ever have a process at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Cluster;
use crate::processes::started;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A process of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    /// Name of its pod.
    pod: String,
    /// UID of its pod.
    uid: String,
    pid: u32,
    /// When it was started; with the process id, this is no other process.
    started: u64,
}

/// Looks at every process of a cluster again and again, beside a test.
pub struct Identities {
    stop: Option<SyncSender<()>>,
    looking: Option<JoinHandle<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    /// UIDs by pod name.
    incarnations: BTreeMap<String, BTreeSet<String>>,
    /// Pods of one name with processes at the same time.
    overlaps: Vec<BTreeSet<Process>>,
}

impl Identities {
    /// Looks from now on.
    pub fn watch(cluster: &Cluster) -> Self {
        let root = cluster.cgroup_root();
        let (stop, stopped) = sync_channel::<()>(0);
        let looking = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                seen.look(|| processes(&root));
            }
            seen
        });
        Self { stop: Some(stop), looking: Some(looking) }
    }

    /// Ends looking. Gives how many pods of each name were seen alive; panics if two of one name ever
    /// were at the same time.
    pub fn assert_one_at_a_time(mut self) -> BTreeMap<String, usize> {
        let seen = self.end().expect("it ends once");
        assert!(seen.overlaps.is_empty(), "two pods of one name were alive: {:?}", seen.overlaps);
        seen.incarnations.into_iter().map(|(name, uids)| (name, uids.len())).collect()
    }

    fn end(&mut self) -> Option<Seen> {
        drop(self.stop.take());
        self.looking.take().map(|looking| looking.join().expect("looking does not panic"))
    }
}

impl Drop for Identities {
    fn drop(&mut self) {
        if let Some(seen) = self.end().filter(|seen| !seen.overlaps.is_empty()) {
            eprintln!("two pods of one name were alive: {:?}", seen.overlaps);
        }
    }
}

impl Seen {
    fn look(&mut self, mut processes: impl FnMut() -> BTreeSet<Process>) {
        let first = processes();
        for process in &first {
            self.incarnations.entry(process.pod.clone()).or_default().insert(process.uid.clone());
        }
        if shared(&first).is_empty() {
            return;
        }
        // One look takes a while: the first of two may have ended before the second began. Whatever is
        // there in two looks was there all the time between them.
        let both: BTreeSet<Process> = processes().intersection(&first).cloned().collect();
        self.overlaps.extend(Some(shared(&both)).filter(|found| !found.is_empty()));
    }
}

/// The processes of names that belong to more than one pod.
fn shared(processes: &BTreeSet<Process>) -> BTreeSet<Process> {
    let is_shared =
        |process: &&Process| processes.iter().any(|other| other.pod == process.pod && other.uid != process.uid);
    processes.iter().filter(is_shared).cloned().collect()
}

/// Every live process in a container below this cgroup. A pod's hostname is its name.
fn processes(root: &str) -> BTreeSet<Process> {
    // A process that is about to become a container's still has the environment of the machine.
    let machine = std::env::var("HOSTNAME").ok();
    let entries = fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let own = cgroups.lines().find(|line| line.contains(root))?;
        let uid = own.split('/').find_map(|part| part.strip_prefix("pod"))?.to_owned();
        // Empty for a zombie: that one has ended.
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let hostname = environment.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"HOSTNAME="))?;
        let pod = String::from_utf8_lossy(hostname).into_owned();
        let process = Process { pod, uid, pid, started: started(pid)? };
        (machine.as_ref() != Some(&process.pod)).then_some(process)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pod: &str, uid: &str, pid: u32) -> Process {
        Process { pod: pod.to_owned(), uid: uid.to_owned(), pid, started: 7 }
    }

    fn overlaps(looks: [&[Process]; 2]) -> usize {
        let mut looks = looks.into_iter().map(|look| look.iter().cloned().collect());
        let mut seen = Seen::default();
        seen.look(|| looks.next().expect("at most two looks"));
        seen.overlaps.len()
    }

    #[test]
    fn two_pods_of_one_name_overlap_only_when_both_are_seen_twice() {
        let both = [process("web-0", "a", 1), process("web-0", "b", 2)];
        assert_eq!(overlaps([&both, &both]), 1);
        assert_eq!(overlaps([&both, &both[1..]]), 0, "the first ended before the second was looked at");
        let others = [process("web-0", "a", 1), process("web-1", "c", 3)];
        assert_eq!(overlaps([&others, &others]), 0);
    }
}
