//! Running workers: one process, one job, one outcome.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use crate::frame::{Incoming, Outgoing, asynchronous};
use crate::protocol::{Job, Outcome};
use crate::types::RuntimeError;

/// Most workers at once; further jobs wait. Each is a process of its own, and the work is the kernel's.
const WORKERS_MAX: usize = 16;

/// Starts workers.
#[derive(Debug)]
pub(super) struct Workers {
    slots: Semaphore,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self { slots: Semaphore::new(WORKERS_MAX) }
    }

    /// Has a worker do `job`. The descriptors go with it; those of the outcome come back.
    pub(super) async fn run(&self, job: &Job, fds: Vec<OwnedFd>) -> Result<(Outcome, Vec<OwnedFd>), RuntimeError> {
        let failed = |e: io::Error| RuntimeError::Other(format!("worker failed: {e}"));
        let _slot = self.slots.acquire().await.map_err(|e| RuntimeError::Other(e.to_string()))?;
        let socket = start().map_err(failed)?;
        let job = Outgoing::new(job, fds).map_err(failed)?;
        asynchronous::send(&socket, job).await.map_err(failed)?;
        let frame = asynchronous::receive(&socket, &mut Incoming::default()).await.map_err(failed)?;
        let frame = frame.ok_or_else(|| failed(io::Error::from(io::ErrorKind::UnexpectedEof)))?;
        match frame.decode().map_err(failed)? {
            Outcome::Failed(e) => Err(e),
            outcome @ (Outcome::Done | Outcome::Started { .. }) => Ok((outcome, frame.fds)),
        }
    }
}

/// Starts a worker; the socket it takes its job from. Its end is seen by the reaper like any child's.
fn start() -> io::Result<UnixStream> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Command::new("/proc/self/exe")
        .arg0("stead-worker")
        .arg("supervisor-worker")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(File::open("/dev/null")?))
        .spawn()?;
    UnixStream::from_std(ours)
}
