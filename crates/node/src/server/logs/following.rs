//! Waiting for more of a log: told by the kernel when the directory of the log changes.

use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Room for some changes; what they are does not matter.
const CHANGES_BYTES: usize = 4096;
/// Where the kernel gives no more watches, a log is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What tells of changes.
pub(super) struct Following {
    inotify: Option<Receiver>,
}

impl Following {
    /// Begins to watch the directory of a log. Changes from now on are told.
    pub(super) fn of(log: &Path) -> Self {
        let watch = || -> std::io::Result<Receiver> {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, log.parent().unwrap_or(log), wanted)?;
            // Not a pipe, but something that is read when it has become readable.
            Receiver::from_owned_fd_unchecked(inotify)
        };
        let inotify = watch();
        if let Err(error) = &inotify {
            tracing::debug!(log = %log.display(), %error, "cannot watch a log; it is looked at now and then");
        }
        Self { inotify: inotify.ok() }
    }

    /// Waits for a change since the last one that was told.
    pub(super) async fn changed(&mut self) -> std::io::Result<()> {
        let Some(inotify) = &mut self.inotify else {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        };
        inotify.read(&mut [0; CHANGES_BYTES]).await.map(drop)
    }
}
