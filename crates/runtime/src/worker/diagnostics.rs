//! Why a container did not start: libcontainer logs the cause and returns only its outline, and the
//! process that knows it is a forked one. So everyone writes to one pipe, and the worker reads it once.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

use tracing::span;

use crate::stderr_log::Line;

/// Marks the line in which the launcher gives its final reason.
const FINAL: char = '\u{1}';
/// Most of the pipe that is read, in bytes: what a pipe holds.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Most causes quoted in one message.
const CAUSES_MAX: usize = 3;

/// The reading end, kept by the worker.
pub(super) struct Causes(io::PipeReader);

/// The writing end. Copied into the processes that libcontainer forks; executing the container's
/// program closes it, which is how the worker sees that the program has been executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporter {
    fd: i32,
}

/// Owns the writing end in the worker itself.
pub(super) struct Writer(io::PipeWriter);

/// Makes the pipe and sends libcontainer's error events of this process and its forks into it.
pub(super) fn open() -> io::Result<(Causes, Writer)> {
    let (reader, writer) = io::pipe()?;
    // Never wait for the reader: it reads only after the writers are gone.
    rustix::io::ioctl_fionbio(&writer, true)?;
    let reporter = Reporter { fd: writer.as_raw_fd() };
    if tracing::subscriber::set_global_default(Events(reporter)).is_err() {
        return Err(io::Error::other("a worker does one job"));
    }
    Ok((Causes(reader), Writer(writer)))
}

impl Writer {
    /// For the processes to be forked.
    pub(super) fn reporter(&self) -> Reporter {
        Reporter { fd: self.0.as_raw_fd() }
    }
}

impl Causes {
    /// Waits until every other process has closed the pipe. The final reason, if the launcher gave one;
    /// otherwise the first causes that were logged.
    pub(super) fn read(self, writer: Writer) -> (Option<String>, String) {
        drop(writer);
        let mut text = Vec::new();
        if let Err(e) = self.0.take(TEXT_BYTES_MAX).read_to_end(&mut text) {
            return (None, format!("cause unknown: {e}"));
        }
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().find_map(|line| line.strip_prefix(FINAL)).map(str::to_owned);
        (last, text.lines().take(CAUSES_MAX).collect::<Vec<_>>().join("; "))
    }
}

impl Reporter {
    /// The launcher's reason for not executing the program.
    pub(super) fn report(self, reason: &str) {
        self.write_line(&format!("{FINAL}{}\n", reason.replace('\n', " ")));
    }

    fn write_line(self, line: &str) {
        // SAFETY: the descriptor is the pipe's while this process is a worker or a fork of one; should it
        // be closed, writing fails and the line is lost.
        #[allow(unsafe_code)]
        let fd = unsafe { rustix::fd::BorrowedFd::borrow_raw(self.fd) };
        if rustix::io::write(fd, line.as_bytes()).is_err() {
            // A full pipe has enough causes in it already.
        }
    }
}

/// A subscriber that writes error events, one per line.
struct Events(Reporter);

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.write_line(&format!("{}\n", line.0.replace('\n', " ")));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Flushes what a process wants said before it ends, for the supervisor's log.
pub(super) fn complain(text: &str) {
    if writeln!(io::stderr(), "worker: {text}").is_err() {
        // Nowhere left to say it.
    }
}
