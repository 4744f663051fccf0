//! Reaching the supervisor of a directory: its socket if it answers, otherwise a new supervisor.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;
use tokio::net::UnixStream;

use crate::layout::{SOCKET, START_LOCK, short_path};

/// How to run the `supervisor` verb.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program that answers `supervisor --dir DIR` and `supervisor-worker`.
    pub program: PathBuf,
    /// Arguments before the verb.
    pub args: Vec<OsString>,
}

impl Default for Launch {
    /// The running program.
    fn default() -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), args: Vec::new() }
    }
}

/// Connects to the supervisor of `dir`; starts one when none answers.
pub(super) async fn reach(dir: &Path, launch: &Launch) -> io::Result<UnixStream> {
    match connect(dir).await {
        Err(e) if nobody_answers(&e) => {}
        result => return result,
    }
    let (dir_for_thread, launch) = (dir.to_path_buf(), launch.clone());
    tokio::task::spawn_blocking(move || start(&dir_for_thread, &launch)).await.map_err(io::Error::other)??;
    connect(dir).await
}

async fn connect(dir: &Path) -> io::Result<UnixStream> {
    let directory = File::open(dir)?;
    UnixStream::connect(short_path(&directory, SOCKET)).await
}

fn nobody_answers(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Starts a supervisor and waits until it listens. Clients take turns, so that only the first starts one.
fn start(dir: &Path, launch: &Launch) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let dir = fs::canonicalize(dir)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join(START_LOCK))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let directory = File::open(&dir)?;
    match std::os::unix::net::UnixStream::connect(short_path(&directory, SOCKET)) {
        Err(e) if nobody_answers(&e) => {}
        result => return result.map(drop),
    }
    let mut child = Command::new(&launch.program)
        .args(&launch.args)
        .args(["supervisor", "--dir"])
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said == "ready\n" {
        // The process that was called has left the supervisor behind and ends at once.
        return child.wait().map(drop);
    }
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("supervisor did not start: {}", complaint.trim())))
}
