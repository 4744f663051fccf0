//! Waiting for more of a log: told by the kernel when the directory of the log changes.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for some changes; what they are does not matter.
const CHANGES_BYTES: usize = 4096;
/// Where the kernel gives no more watches, a log is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What tells of changes.
pub(super) struct Following {
    inotify: Option<AsyncFd<OwnedFd>>,
}

impl Following {
    /// Begins to watch the directory of a log. Changes from now on are told.
    pub(super) fn of(log: &Path) -> Self {
        let watch = || -> std::io::Result<AsyncFd<OwnedFd>> {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, log.parent().unwrap_or(log), wanted)?;
            AsyncFd::with_interest(inotify, Interest::READABLE)
        };
        let inotify = watch();
        if let Err(error) = &inotify {
            tracing::debug!(log = %log.display(), %error, "cannot watch a log; it is looked at now and then");
        }
        Self { inotify: inotify.ok() }
    }

    /// Waits for a change since the last one that was told.
    pub(super) async fn changed(&self) -> std::io::Result<()> {
        let Some(inotify) = &self.inotify else {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        };
        loop {
            let mut ready = inotify.readable().await?;
            let read = ready.try_io(|inotify| {
                let mut changes = [0_u8; CHANGES_BYTES];
                Ok(rustix::io::read(inotify, &mut changes)?)
            });
            match read {
                Ok(read) => return read.map(drop),
                // Somebody else's readiness.
                Err(_) => {}
            }
        }
    }
}
