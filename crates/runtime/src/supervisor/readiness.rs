//! Waiting for a descriptor to become readable.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Has the runtime watch a descriptor it owns from now on.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `OwnedFd` gives the same open descriptor as long as it lives, and nobody else closes it.
    #[allow(unsafe_code)]
    unsafe {
        Ok(AsyncFd::register(fd)?)
    }
}
