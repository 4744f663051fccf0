//! How the supervisor becomes the process it must be: nobody's child, executed from a sealed copy of
//! the binary, alone in its directory.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::ForkResult;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, MemfdFlags, SealFlags};

use super::records;
use crate::layout::{LOCK, LOG};

/// How long a supervisor that was killed may take to be gone.
const END_LIMIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// What the supervisor calls itself.
const NAME: &std::ffi::CStr = c"stead-supervisor";
/// Seals that make a memory file a program nobody can change.
const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);
/// How often sealing is tried, and the pause between two tries: in all longer than the kernel holds pages for its
/// own ends.
const SEAL_TRIES: u32 = 200;
const SEAL_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Whether this process runs from a sealed copy already.
pub(super) fn is_sealed() -> io::Result<bool> {
    let exe = File::open("/proc/self/exe")?;
    // Only memory files have seals to ask for.
    Ok(rustix::fs::fcntl_get_seals(&exe).is_ok_and(|seals| seals.contains(SEALS)))
}

/// Leaves the caller behind: the process that was called ends at once, and a grandchild of nobody in a
/// session of its own executes a sealed copy of the binary with `supervisor --dir`.
///
/// Containers see the path of the program that made them as `/proc/<pid>/exe`; being a sealed memory
/// file, it cannot be overwritten from inside (CVE-2019-5736), and upgrading the binary on disk does
/// not disturb the supervisor. Returns only on failure, or in the process to end.
pub(super) fn detach_and_seal(dir: &Path) -> io::Result<()> {
    nix::unistd::setsid()
        .or_else(|e| if e == nix::errno::Errno::EPERM { Ok(nix::unistd::getpid()) } else { Err(e) })?;
    // SAFETY: the process has one thread: this verb is answered before anything could start another.
    #[allow(unsafe_code)]
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => match execute_sealed(dir)? {},
    }
}

fn execute_sealed(dir: &Path) -> io::Result<std::convert::Infallible> {
    let copy = sealed_copy()?;
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::from);
    let program = CString::new(format!("/proc/self/fd/{}", copy.as_raw_fd()))?;
    let args = [NAME.to_owned(), c"supervisor".to_owned(), c"--dir".to_owned(), text(dir)?];
    Ok(nix::unistd::execve(&program, &args, &[] as &[CString])?)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag, and there every memory file may be executed.
    let memory =
        rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC).or_else(|_| rustix::fs::memfd_create(NAME, flags))?;
    let mut memory = File::from(memory);
    io::copy(&mut File::open("/proc/self/exe")?, &mut memory)?;
    seal(|| rustix::fs::fcntl_add_seals(&memory, SEALS), || rustix::event::poll(&mut [], Some(&SEAL_PAUSE)).map(drop))?;
    Ok(memory.into())
}

/// Seals a memory file that nobody has mapped. It is busy all the same while the kernel moves or ages one of its
/// pages, as under memory pressure; the kernel waits for that itself, but not for long.
fn seal(
    mut add: impl FnMut() -> rustix::io::Result<()>,
    mut pause: impl FnMut() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    for _ in 1..SEAL_TRIES {
        match add() {
            Err(rustix::io::Errno::BUSY) => pause()?,
            sealed => return sealed,
        }
    }
    add()
}

/// Locks the directory for as long as the file is open; none when another supervisor has it. The one before is
/// dead then: a process gives its locks back a moment before that, while its children do not know of it yet.
pub(super) fn lock(dir: &Path) -> io::Result<Option<File>> {
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(dir.join(LOCK))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            wait_for_predecessor(&mut file)?;
            Ok(Some(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Waits until the process that the lock file names has ended, then names this one.
fn wait_for_predecessor(file: &mut File) -> io::Result<()> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if let Some((pid, start_ticks)) = text.trim().split_once(' ')
        && let (Ok(pid), Ok(start_ticks)) = (pid.parse(), start_ticks.parse())
        && let Some(process) = records::find(pid, start_ticks)?
    {
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        if rustix::event::poll(&mut ended, Some(&END_LIMIT))? == 0 {
            return Err(io::Error::other("the supervisor before this one does not end"));
        }
    }
    let pid = std::process::id() as i32;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{pid} {}", records::start_ticks(pid).unwrap_or(0))
}

/// Says on standard output that the socket is there, then leaves the caller's descriptors for the log.
pub(super) fn announce_and_redirect(dir: &Path) -> io::Result<()> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(LOG))?;
    let null = File::open("/dev/null")?;
    rustix::io::write(rustix::stdio::stdout(), b"ready\n")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    std::env::set_current_dir("/")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_busy_file_is_sealed_once_it_is_free_and_other_failures_are_told_at_once() {
        let sealed = |outcomes: &[Result<(), Errno>]| {
            let (tries, pauses) = (Cell::new(0), Cell::new(0));
            let add = || outcomes[tries.replace(tries.get() + 1).min(outcomes.len() - 1)];
            let pause = || {
                pauses.set(pauses.get() + 1);
                Ok(())
            };
            let outcome = seal(add, pause);
            (outcome, pauses.get())
        };
        assert_eq!(sealed(&[Ok(())]), (Ok(()), 0));
        assert_eq!(sealed(&[Err(Errno::BUSY), Err(Errno::BUSY), Ok(())]), (Ok(()), 2));
        assert_eq!(sealed(&[Err(Errno::BUSY), Err(Errno::PERM)]), (Err(Errno::PERM), 1));
        assert_eq!(sealed(&[Err(Errno::BUSY)]), (Err(Errno::BUSY), SEAL_TRIES - 1));
    }
}
