//! A worker: the short-lived process in which everything dangerous happens.
//!
//! libcontainer forks with raw `clone3` and goes on running ordinary code in the children, which only
//! a process without threads survives; namespaces, mounts and cgroups are entered by whole processes.
//! So the supervisor re-executes itself as a worker, sends one [`Job`] over the socket that is the
//! worker's standard input, and gets one [`Outcome`]. A container's first process becomes the
//! supervisor's child when the worker ends (the supervisor is a subreaper). A worker keeps no state.

mod container;
mod diagnostics;
mod facts;
mod launcher;
mod remove;
mod rootfs;
mod sandbox;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::FlockOperation;
use rustix::process::Signal;

use crate::frame::{Incoming, Outgoing};
use crate::protocol::{Job, Order, Outcome};
use crate::types::RuntimeError;

/// The `supervisor-worker` verb: does the one job it is sent, then ends. To be called before anything
/// starts a thread.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("worker: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // A supervisor that dies takes its workers with it, so that its successor finds nothing half done.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = take_stdin()?;
    let Some(frame) = Incoming::default().receive(&socket)? else { return Ok(()) };
    let Order { lock, job }: Order<Job> = frame.decode()?;
    let _at_work = hold(&lock)?;
    if !is_parents(&socket)? {
        return Err(io::Error::other("the supervisor that wanted this is gone"));
    }
    let (outcome, fds) = match perform(job, frame.fds) {
        Ok((outcome, fd)) => (outcome, fd.into_iter().collect()),
        Err(e) => (Outcome::Failed(e), Vec::new()),
    };
    Outgoing::new(&outcome, fds)?.send(&socket)
}

/// Does a job; beside the outcome, a terminal's outer end where the job made one.
fn perform(job: Job, fds: Vec<OwnedFd>) -> Result<(Outcome, Option<OwnedFd>), RuntimeError> {
    match job {
        Job::CreateSandbox { dir, spec } => sandbox::create(&dir, &spec).map(|()| (Outcome::Done, None)),
        Job::RemoveSandbox { dir, spec } => sandbox::remove(&dir, &spec).map(|()| (Outcome::Done, None)),
        Job::Start { dir, spec, sandbox, sandbox_dir } => {
            let started = container::start(&dir, &spec, &sandbox, &sandbox_dir)?;
            Ok((Outcome::Started { pid: started.pid }, started.terminal))
        }
        Job::Exec { dir, container, spec, stdio } => {
            let pid = container::exec(&dir, &container, &spec, container::Stdio::from_frame(stdio, fds))?;
            Ok((Outcome::Started { pid }, None))
        }
        Job::Remove { dir, cgroups } => remove::container(&dir, &cgroups).map(|()| (Outcome::Done, None)),
    }
}

/// Says that a worker is at work, until this process ends.
fn hold(lock: &Path) -> io::Result<File> {
    let file = File::open(lock)?;
    rustix::fs::fcntl_lock(&file, FlockOperation::LockShared)?;
    Ok(file)
}

/// Whether the process that made the socket is our parent: one that died before its death could be signalled
/// is not, and its successor, who has waited for its end and for our lock, must not find us at work.
fn is_parents(socket: &OwnedFd) -> io::Result<bool> {
    let maker = rustix::net::sockopt::socket_peercred(socket)?.pid;
    Ok(rustix::process::getppid() == Some(maker))
}

/// Moves the supervisor's socket away from descriptor 0, where a container's own standard input goes.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

/// An error of a phase that happens before anything of the image runs.
fn create_error(what: &str) -> impl Fn(io::Error) -> RuntimeError {
    move |e| RuntimeError::Create(format!("{what}: {e}"))
}
