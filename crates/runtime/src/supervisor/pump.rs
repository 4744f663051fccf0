//! Moving a container's output into its log.
//!
//! Output comes through named pipes in the container's directory. The container holds both ends of
//! them, so it neither fails nor loses anything while no supervisor is there: it waits once a pipe is
//! full, and the next supervisor reads on. A terminal cannot be handed over: its outer end dies with
//! the supervisor, and the kernel then hangs up the container's session.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use rustix::fs::{CWD, FileType, Mode};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::logs::{LogFile, Splitter, Stream};
use crate::types::ContainerSpec;

/// Bytes read at once; a container that writes without pause yields to the others after each.
const READ_BYTES: usize = 64 << 10;

/// The reading ends of a container's pipes.
#[derive(Debug)]
pub(super) struct Outputs {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Makes the pipes of a container, owned by its user so that it may open `/dev/stdout` anew.
pub(super) fn make_pipes(dir: &Path, spec: &ContainerSpec) -> io::Result<()> {
    for name in ["stdin", "stdout", "stderr"] {
        let path = dir.join(name);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        chown(&path, Some(spec.user.uid), Some(spec.user.gid))?;
    }
    Ok(())
}

/// Opens the reading ends. They see the end of output when the container's last process is gone.
pub(super) fn open(dir: &Path) -> io::Result<Outputs> {
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK).open(dir.join(name)).map(OwnedFd::from)
    };
    Ok(Outputs { stdout: open("stdout")?, stderr: open("stderr")? })
}

/// Starts moving output; the tasks end when the output does.
pub(super) fn start(outputs: Outputs, terminal: Option<OwnedFd>, log: LogFile) -> io::Result<Vec<JoinHandle<()>>> {
    let log = Rc::new(RefCell::new(log));
    let sources = match terminal {
        Some(terminal) => {
            rustix::io::ioctl_fionbio(&terminal, true)?;
            vec![(terminal, Stream::Stdout)]
        }
        None => vec![(outputs.stdout, Stream::Stdout), (outputs.stderr, Stream::Stderr)],
    };
    sources
        .into_iter()
        .map(|(source, stream)| {
            let source = super::readiness::watch(source)?;
            Ok(tokio::task::spawn_local(pump(source, stream, Rc::clone(&log))))
        })
        .collect()
}

async fn pump(source: AsyncFd<OwnedFd>, stream: Stream, log: Rc<RefCell<LogFile>>) {
    let mut splitter = Splitter::new(stream);
    let mut entries = Vec::new();
    loop {
        let read = source
            .async_io(tokio::io::Interest::READABLE, |fd| {
                let mut buffer = [0; READ_BYTES];
                let count = rustix::io::read(fd, &mut buffer)?;
                splitter.push(&buffer[..count], Timestamp::now(), &mut entries);
                Ok(count)
            })
            .await;
        let ended = match read {
            Ok(count) => count == 0,
            // What a terminal says when its last process is gone.
            Err(e) if e.raw_os_error() == Some(libc::EIO) => true,
            Err(e) => {
                tracing::error!(%e, "failed to read a container's output");
                true
            }
        };
        let now = Timestamp::now();
        if ended {
            splitter.finish(now, &mut entries);
        }
        log.borrow_mut().append(&entries, now);
        if ended {
            return;
        }
        entries.clear();
        entries.shrink_to(READ_BYTES);
        tokio::task::yield_now().await;
    }
}
