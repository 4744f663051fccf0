//! The data directory: its layout, its lock and what `up` leaves in it for `down`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::PidfdFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use serde::{Deserialize, Serialize};
use stead_disk::{Durability, mounts, replace};

/// Format of a data directory that this version writes, and the newest it can read. It grows whenever an
/// older version could damage what a newer one wrote.
const FORMAT: u32 = 1;

/// Name of the record below the directory.
const RECORD: &str = "cluster.json";

/// What `up` was told and `down` must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterRecord {
    pub(crate) service_cidr: String,
    pub(crate) pod_cidr: String,
    pub(crate) bridge: String,
    pub(crate) cgroup_root: String,
    pub(crate) isolated: bool,
    /// Whether anything of the cluster may be on the machine: `down` has not taken it away yet.
    #[serde(default = "yes")]
    pub(crate) standing: bool,
}

fn yes() -> bool {
    true
}

/// A data directory held by this process; other processes are refused until it is dropped.
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and takes it, or says which process has it.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make data directory {}", path.display()))?;
        let path = fs::canonicalize(path)?;
        let mut lock = open_lock(&path)?;
        if !is_free(&lock)? {
            let holder = holder(&mut lock);
            bail!(
                "data directory {} is in use by process {holder}: stop it, or use another --data-dir",
                path.display()
            );
        }
        Self::hold(path, lock, SERVER)
    }

    /// Ends the server that holds the directory, if there is one, and takes the directory.
    pub(crate) fn take_over(path: &Path) -> anyhow::Result<Self> {
        let path = fs::canonicalize(path).with_context(|| format!("there is no data directory {}", path.display()))?;
        let mut lock = open_lock(&path)?;
        if !is_free(&lock)? {
            stop_server(&path, &mut lock)?;
        }
        Self::hold(path, lock, OTHER)
    }

    /// Says in the locked file who has the directory, and as what.
    fn hold(path: PathBuf, mut lock: File, role: &str) -> anyhow::Result<Self> {
        let write = |lock: &mut File| -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "{}{role}", std::process::id())
        };
        write(&mut lock).with_context(|| format!("cannot write {}", path.join("lock").display()))?;
        refuse_newer(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// A path below the directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What the last `up` was told, if there was one.
    pub(crate) fn record(&self) -> anyhow::Result<Option<ClusterRecord>> {
        let Some(written) = read_record::<Written<ClusterRecord>>(&self.path)? else { return Ok(None) };
        Ok(Some(written.record))
    }

    /// Refuses settings that what an earlier `up` left on the machine does not have: `down` would look for
    /// the leftovers of both in the places of the last.
    pub(crate) fn refuse_change(&self, wanted: &ClusterRecord) -> anyhow::Result<()> {
        let Some(standing) = self.record()?.filter(|record| record.standing) else { return Ok(()) };
        let settings = [
            ("--isolated", standing.isolated != wanted.isolated),
            ("--pod-cidr", standing.pod_cidr != wanted.pod_cidr),
            ("--service-cidr", standing.service_cidr != wanted.service_cidr),
        ];
        match settings.into_iter().find(|(_, changed)| *changed) {
            None => Ok(()),
            Some((flag, _)) => bail!(
                "the cluster in {} was started with another {flag}, and parts of it are still on this machine: run \
                 `stead down` first",
                self.path.display()
            ),
        }
    }

    /// Remembers what `up` is told. A process killed on the way leaves the old record or the new one.
    pub(crate) fn write_record(&self, record: &ClusterRecord) -> anyhow::Result<()> {
        let path = self.join(RECORD);
        let text = serde_json::to_vec_pretty(&Written { format: FORMAT, record })?;
        replace(&path, &text, 0o644, Durability::Machine).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Moves this process into the directory's own network namespace, making it the first time. Must be
    /// called before any other thread exists.
    pub(crate) fn enter_netns(&self) -> anyhow::Result<()> {
        let path = self.join("netns");
        if !mounts::is_mounted(&path)? {
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
            #[expect(unsafe_code, reason = "rustix marks leaving a namespace unsafe for what other threads may hold")]
            // SAFETY: no other thread exists yet, and no file descriptor is unshared.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
                .context("cannot make a network namespace")?;
            rustix::mount::mount_bind("/proc/self/ns/net", &path).context("cannot keep the network namespace")?;
            return Ok(());
        }
        let netns = File::open(&path)?;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), Some(LinkNameSpaceType::Network))
            .context("cannot enter the cluster's network namespace")
    }

    /// Lets the network namespace go.
    pub(crate) fn release_netns(&self) -> anyhow::Result<()> {
        let path = self.join("netns");
        if mounts::is_mounted(&path)? {
            rustix::mount::mount_change(&path, MountPropagationFlags::PRIVATE).ok();
            rustix::mount::unmount(&path, UnmountFlags::DETACH).context("cannot let the network namespace go")?;
        }
        Ok(stead_disk::remove_tree(&path)?)
    }
}

/// What a holder is: a server is asked to stop by whoever wants the directory, anything else is not.
const SERVER: &str = "";
const OTHER: &str = " (stead down)";

/// Longest a server may take to stop.
const STOP_MAX: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// Takes the lock unless somebody has it.
fn is_free(lock: &File) -> anyhow::Result<bool> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error).context("cannot lock the data directory"),
    }
}

/// Asks the server that has the directory to stop, waits until it has, and takes the lock.
fn stop_server(path: &Path, lock: &mut File) -> anyhow::Result<()> {
    let holder = holder(lock);
    let pid = holder.parse().ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.with_context(|| format!("data directory {} is in use by process {holder}", path.display()))?;
    let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Some(process),
        // It has just ended.
        Err(rustix::io::Errno::SRCH) => None,
        Err(error) => return Err(error).with_context(|| format!("cannot look at process {pid:?}")),
    };
    // While the lock is held the process is the one that wrote its number there.
    if is_free(lock)? {
        return Ok(());
    }
    if let Some(process) = process {
        eprintln!("stead: stopping the server (process {holder})");
        match rustix::process::pidfd_send_signal(&process, rustix::process::Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot stop process {holder}")),
        }
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        if rustix::event::poll(&mut ended, Some(&STOP_MAX)).context("cannot wait for the server to stop")? == 0 {
            bail!("the server (process {holder}) has not stopped for {} seconds", STOP_MAX.tv_sec);
        }
    }
    if is_free(lock)? { Ok(()) } else { bail!("data directory {} is in use again", path.display()) }
}

/// The record as it is written.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    format: u32,
    #[serde(flatten)]
    record: T,
}

/// All that is read of a record before its format is known.
#[derive(Deserialize)]
struct Nothing {}

fn read_record<T: serde::de::DeserializeOwned>(dir: &Path) -> anyhow::Result<Option<T>> {
    let path = dir.join(RECORD);
    match fs::read(&path) {
        Ok(bytes) => {
            let record = serde_json::from_slice(&bytes);
            Ok(Some(record.with_context(|| format!("{} is not readable", path.display()))?))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Refuses a directory whose format this version does not know, before anything in it is touched.
fn refuse_newer(dir: &Path) -> anyhow::Result<()> {
    match read_record::<Written<Nothing>>(dir)? {
        Some(written) if written.format > FORMAT => bail!(
            "data directory {} was written by a newer version (format {}, this one knows up to {FORMAT}): use that \
             version or a newer one",
            dir.display(),
            written.format
        ),
        Some(_) | None => Ok(()),
    }
}

fn open_lock(path: &Path) -> anyhow::Result<File> {
    let path = path.join("lock");
    let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    options.with_context(|| format!("cannot open {}", path.display()))
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) | Err(_) => "unknown".to_owned(),
    }
}
