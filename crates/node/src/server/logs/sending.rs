//! Sending a log to a client: what there is, and with `follow` what comes, over rotations, until the
//! container has ended.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use super::Wanted;
use super::entries::{Renderer, keep_tail};
use super::following::Following;

/// So much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A log that is being read.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    following: Option<Following>,
}

impl Log {
    /// Opens the log at `path`.
    pub(super) async fn open(path: &Path, follow: bool) -> io::Result<Self> {
        // Before the first look, so that nothing is missed after it.
        let following = follow.then(|| Following::of(path));
        Ok(Self { path: path.to_owned(), file: File::open(path).await?, following })
    }

    /// Sends what is wanted of it; `running` tells whether the container may still write.
    pub(super) async fn send(
        mut self,
        wanted: &Wanted,
        running: impl Fn() -> bool,
        mut changes: watch::Receiver<()>,
        frames: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    ) -> io::Result<()> {
        let mut renderer = Renderer::new(wanted);
        let mut read = Vec::with_capacity(CHUNK_BYTES);
        if let Some(lines) = wanted.tail_lines {
            // The tail is only known at the end.
            self.file.read_to_end(&mut read).await?;
            keep_tail(&mut read, lines);
        }
        let mut last_look = false;
        loop {
            let at_end = self.read_on(&mut read).await?;
            let out = renderer.take(&mut read);
            if !out.is_empty() && frames.send(Ok(Frame::data(out.into()))).await.is_err() {
                return Ok(());
            }
            if renderer.is_full() || at_end && (self.following.is_none() || last_look) {
                return Ok(());
            }
            if at_end {
                // One more look after the end, so that the last lines are not missed.
                last_look = !running();
                if !last_look {
                    tokio::select! {
                        () = frames.closed() => return Ok(()),
                        more = self.wait(&mut changes) => more?,
                    }
                }
                self.go_over(&mut read).await?;
            }
        }
    }

    /// Reads a chunk, or what there is; whether that was all.
    async fn read_on(&mut self, read: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            if self.file.read_buf(read).await? == 0 {
                return Ok(true);
            }
            // Who follows a log sees at once what comes.
            if read.len() >= CHUNK_BYTES || self.following.is_some() {
                return Ok(false);
            }
        }
    }

    /// Waits for a change of the log or of the pod's state.
    async fn wait(&mut self, changes: &mut watch::Receiver<()>) -> io::Result<()> {
        let log = async {
            match &mut self.following {
                Some(following) => following.changed().await,
                None => std::future::pending().await,
            }
        };
        let state = async {
            if changes.changed().await.is_err() {
                // Nobody is left who could tell.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = log => changed,
            () = state => Ok(()),
        }
    }

    /// Goes over to the next file once this one was put aside; what was written before comes first.
    async fn go_over(&mut self, read: &mut Vec<u8>) -> io::Result<()> {
        let next = match File::open(&self.path).await {
            // Between the two steps of a rotation there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            next => next?,
        };
        if next.metadata().await?.ino() != self.file.metadata().await?.ino() {
            self.file.read_to_end(read).await?;
            self.file = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_followed_log_goes_on_over_a_rotation_and_ends_with_its_container() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("0.log");
        let line = |text: &str| format!("2026-01-01T00:00:01Z stdout F {text}\n");
        std::fs::write(&path, line("one")).expect("written");
        let (state, changes) = watch::channel(());
        let ended = Arc::new(AtomicBool::new(false));
        let (frames, mut receiver) = mpsc::channel(super::super::FRAMES_MAX);
        let (log, over) = (Log::open(&path, true).await.expect("there"), Arc::clone(&ended));
        let following = tokio::spawn(async move {
            let running = || !over.load(Ordering::SeqCst);
            log.send(&Wanted { follow: true, ..Wanted::default() }, running, changes, frames).await
        });
        let mut told = async || {
            let frame = receiver.recv().await.map(|Ok(frame)| frame.into_data().expect("data"));
            frame.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        assert_eq!(told().await.as_deref(), Some("one\n"));
        let mut old = std::fs::File::options().append(true).open(&path).expect("open");
        std::fs::rename(&path, dir.path().join("0.log.20260101-000002")).expect("put aside");
        std::io::Write::write_all(&mut old, line("two").as_bytes()).expect("written");
        std::fs::write(&path, line("three")).expect("written");
        let mut rest = String::new();
        while !rest.contains("three") {
            rest += &told().await.expect("more");
        }
        assert_eq!(rest, "two\nthree\n");
        ended.store(true, Ordering::SeqCst);
        state.send_replace(());
        assert_eq!(told().await, None);
        following.await.expect("no panic").expect("readable");
    }
}
