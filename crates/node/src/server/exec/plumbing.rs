//! The standard streams of a command: pipes, or a terminal.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use stead_runtime::ExecStdio;
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::server::query::Query;

/// Which streams the client wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Streams {
    /// What a request asks for; a terminal has no errors of their own.
    pub(super) fn wanted(query: &Query) -> Self {
        let tty = query.flag("tty");
        Self {
            stdin: query.flag("stdin") || query.flag("input"),
            stdout: query.flag("stdout") || query.flag("output"),
            stderr: (query.flag("stderr") || query.flag("error")) && !tty,
            tty,
        }
    }
}

/// The agent's ends of the process's standard streams.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) stdin: Option<Sender>,
    pub(super) stdout: Option<Receiver>,
    pub(super) stderr: Option<Receiver>,
    pub(super) terminal: Option<OwnedFd>,
}

/// Makes the streams: the agent's ends and the process's. No other process of the agent inherits any.
pub(super) fn plumbing(streams: Streams) -> io::Result<(Ours, ExecStdio)> {
    if streams.tty {
        return terminal(streams.stdin);
    }
    let mut ours = Ours { stdin: None, stdout: None, stderr: None, terminal: None };
    let mut theirs = ExecStdio::default();
    if streams.stdin {
        let (reader, writer) = io::pipe()?;
        ours.stdin = Some(Sender::from_owned_fd(writer.into())?);
        theirs.stdin = Some(reader.into());
    }
    let output = |wanted: bool| -> io::Result<(Option<Receiver>, Option<OwnedFd>)> {
        if !wanted {
            return Ok((None, None));
        }
        let (reader, writer) = io::pipe()?;
        Ok((Some(Receiver::from_owned_fd(reader.into())?), Some(writer.into())))
    };
    (ours.stdout, theirs.stdout) = output(streams.stdout)?;
    (ours.stderr, theirs.stderr) = output(streams.stderr)?;
    Ok((ours, theirs))
}

fn terminal(stdin: bool) -> io::Result<(Ours, ExecStdio)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let outer = posix_openpt(flags)?;
    grantpt(&outer)?;
    unlockpt(&outer)?;
    let inner = nix::fcntl::open(ptsname_r(&outer)?.as_str(), flags, Mode::empty())?;
    let outer = OwnedFd::from(outer);
    let ours = Ours {
        stdin: stdin.then(|| Sender::from_owned_fd_unchecked(outer.try_clone()?)).transpose()?,
        stdout: Some(Receiver::from_owned_fd_unchecked(outer.try_clone()?)?),
        stderr: None,
        terminal: Some(outer),
    };
    Ok((ours, ExecStdio { stdin: Some(inner), stdout: None, stderr: None }))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Gives a terminal the size that a client tells.
pub(super) fn resize(terminal: &OwnedFd, json: &[u8]) {
    let Ok(size) = serde_json::from_slice::<Size>(json) else { return };
    let size = rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    if let Err(error) = rustix::termios::tcsetwinsize(terminal, size) {
        tracing::debug!(%error, "cannot resize a terminal");
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::io::FdFlags;

    use super::*;

    #[tokio::test]
    async fn programs_that_the_agent_runs_inherit_no_stream() {
        for tty in [false, true] {
            let (ours, theirs) = plumbing(Streams { stdin: true, stdout: true, stderr: !tty, tty }).expect("streams");
            let theirs = [&theirs.stdin, &theirs.stdout, &theirs.stderr].map(|end| end.as_ref().map(AsFd::as_fd));
            let outputs = [&ours.stdout, &ours.stderr].map(|end| end.as_ref().map(AsFd::as_fd));
            let rest = [ours.stdin.as_ref().map(AsFd::as_fd), ours.terminal.as_ref().map(AsFd::as_fd)];
            let ends: Vec<_> = theirs.into_iter().chain(outputs).chain(rest).flatten().collect();
            assert_eq!(ends.len(), if tty { 4 } else { 6 });
            for end in ends {
                assert!(rustix::io::fcntl_getfd(end).expect("open").contains(FdFlags::CLOEXEC), "tty: {tty}");
            }
        }
    }
}
