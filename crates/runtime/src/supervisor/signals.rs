//! Sending signals, also those beyond the named ones, which an image may ask to be stopped with.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::Pid;

/// Highest signal number there is.
const SIGNAL_MAX: i32 = 64;

/// Signals a process that is our child and not reaped. One that is gone is success.
pub(super) fn send(pid: i32, signal: i32) -> io::Result<()> {
    check(signal)?;
    // SAFETY: plain system call. A positive number names one process.
    #[allow(unsafe_code)]
    let result = if pid > 0 { unsafe { libc::kill(pid, signal) } } else { return Err(invalid("process")) };
    gone_is_success(result.into())
}

/// Whether there is a process of this number, be it one that waits to be reaped.
pub(super) fn exists(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Signals the process a descriptor refers to. One that is gone is success.
pub(super) fn send_by_descriptor(process: &OwnedFd, signal: i32) -> io::Result<()> {
    check(signal)?;
    // SAFETY: plain system call; the descriptor is open, no information structure is passed.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    gone_is_success(result)
}

fn check(signal: i32) -> io::Result<()> {
    if (1..=SIGNAL_MAX).contains(&signal) { Ok(()) } else { Err(invalid("signal")) }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("invalid {what} number"))
}

fn gone_is_success(result: libc::c_long) -> io::Result<()> {
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        e if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        e => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signals_and_processes_are_signalled() {
        for signal in [0, -1, 65] {
            assert!(send(std::process::id() as i32, signal).is_err(), "signal {signal}");
        }
        for pid in [0, -1] {
            assert!(send(pid, libc::SIGTERM).is_err(), "process {pid}");
        }
        assert!(send(i32::MAX, libc::SIGTERM).is_ok(), "a process that is gone");
    }

    #[test]
    fn a_process_exists_until_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(exists(pid), "running, or ended and not reaped");
        child.wait().unwrap();
        assert!(!exists(pid));
        assert!(!exists(0));
    }
}
