//! Running workers: one process, one job, one outcome.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::signals;
use crate::frame::{Incoming, Outgoing, asynchronous};
use crate::protocol::{Job, Outcome};
use crate::types::RuntimeError;

/// Most workers at once; further jobs wait. Each is a process of its own, and the work is the kernel's.
const WORKERS_MAX: usize = 16;
/// Longest a job may take: enough to delete a root with millions of files. A worker stuck on a dead disk
/// is killed then, so that it does not keep its place for ever.
const JOB_LIMIT: Duration = Duration::from_secs(300);

/// Starts workers.
#[derive(Debug)]
pub(super) struct Workers {
    slots: Semaphore,
    /// Those that have not been reaped.
    processes: RefCell<HashSet<i32>>,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self { slots: Semaphore::new(WORKERS_MAX), processes: RefCell::default() }
    }

    /// Has a worker do `job`. The descriptors go with it; those of the outcome come back.
    pub(super) async fn run(&self, job: &Job, fds: Vec<OwnedFd>) -> Result<(Outcome, Vec<OwnedFd>), RuntimeError> {
        let failed = |e: io::Error| RuntimeError::Other(format!("worker failed: {e}"));
        let _slot = self.slots.acquire().await.map_err(|e| RuntimeError::Other(e.to_string()))?;
        let (socket, pid) = start().map_err(failed)?;
        self.processes.borrow_mut().insert(pid);
        let job = Outgoing::new(job, fds).map_err(failed)?;
        let mut incoming = Incoming::default();
        let exchange = async {
            asynchronous::send(&socket, job).await?;
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
