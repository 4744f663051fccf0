//! Running workers: one process, one job, one outcome.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::signals;
use crate::frame::{Incoming, Outgoing, asynchronous};
use crate::layout::WORKERS_LOCK;
use crate::protocol::{Job, Order, Outcome};
use crate::types::RuntimeError;

/// Most workers at once; further jobs wait. Each is a process of its own, and the work is the kernel's.
const WORKERS_MAX: usize = 16;
/// Longest a job may take: enough to delete a root with millions of files. A worker stuck on a dead disk
/// is killed then, so that it does not keep its place for ever.
const JOB_LIMIT: Duration = Duration::from_secs(300);
/// How long killed workers may take to be gone, and how often is looked: a lock that becomes free wakes nobody here.
const END_LIMIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);

/// Starts workers.
#[derive(Debug)]
pub(super) struct Workers {
    slots: Semaphore,
    /// What each holds a lock of while it works.
    lock: PathBuf,
    /// Those that have not been reaped.
    processes: RefCell<HashSet<i32>>,
}

impl Workers {
    /// Returns once no worker of an earlier supervisor of this directory is at work any more. That supervisor must
    /// be dead: its workers then have been killed, or will see that nobody wants them.
    pub(super) async fn take_over(dir: &Path) -> io::Result<Self> {
        let lock = dir.join(WORKERS_LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock)?;
        let alone = async {
            loop {
                match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Err(Errno::AGAIN | Errno::ACCESS) => tokio::time::sleep(LOOK).await,
                    result => return result,
                }
            }
        };
        let waited = tokio::time::timeout(END_LIMIT, alone).await;
        waited.map_err(|_| io::Error::other("a worker of the supervisor before this one does not end"))??;
        Ok(Self { slots: Semaphore::new(WORKERS_MAX), lock, processes: RefCell::default() })
    }

    /// Has a worker do `job`. The descriptors go with it; those of the outcome come back.
    pub(super) async fn run(&self, job: &Job, fds: Vec<OwnedFd>) -> Result<(Outcome, Vec<OwnedFd>), RuntimeError> {
        let failed = |e: io::Error| RuntimeError::Other(format!("worker failed: {e}"));
        let _slot = self.slots.acquire().await.map_err(|e| RuntimeError::Other(e.to_string()))?;
        let (socket, pid) = start().map_err(failed)?;
        self.processes.borrow_mut().insert(pid);
        let order = Outgoing::new(&Order { lock: self.lock.clone(), job }, fds).map_err(failed)?;
        let mut incoming = Incoming::default();
        let exchange = async {
            asynchronous::send(&socket, order).await?;
            asynchronous::receive(&socket, &mut incoming).await
        };
        let frame = match tokio::time::timeout(JOB_LIMIT, exchange).await {
            Ok(frame) => frame.map_err(failed)?,
            Err(_) => {
                // It has not answered, so it lives or is a child to be reaped: the number is its own.
                signals::send(pid, libc::SIGKILL).map_err(failed)?;
                return Err(RuntimeError::Other(format!("worker took longer than {} s", JOB_LIMIT.as_secs())));
            }
        };
        let frame = frame.ok_or_else(|| failed(io::Error::from(io::ErrorKind::UnexpectedEof)))?;
        match frame.decode().map_err(failed)? {
            Outcome::Failed(e) => Err(e),
            outcome @ (Outcome::Done | Outcome::Started { .. }) => Ok((outcome, frame.fds)),
        }
    }

    /// Whether the process that has been reaped was a worker.
    pub(super) fn reaped(&self, pid: i32) -> bool {
        self.processes.borrow_mut().remove(&pid)
    }
}

/// Starts a worker: the socket it takes its job from, and its process. Its end is seen by the reaper
/// like any child's.
fn start() -> io::Result<(UnixStream, i32)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let worker = Command::new("/proc/self/exe")
        .arg0("stead-worker")
        .arg("supervisor-worker")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(File::open("/dev/null")?))
        .spawn()?;
    Ok((UnixStream::from_std(ours)?, worker.id() as i32))
}
