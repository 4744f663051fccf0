//! Adding layers: each unpacked once, however many images share it and however many ask at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use crate::digest::Digest;
use crate::layout::{LayerRecord, Layout};
use crate::unpack::{LIMITS, unpack};
use crate::{LayerError, StoreError};

/// Pieces of a layer that wait to be unpacked; the network waits when they are too many.
const PIECES_WAITING_MAX: usize = 32;

/// Why a layer was not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Unpacks a layer and makes it visible, if it is what it is said to be. Blocks.
pub(crate) fn add(layout: &Layout, diff_id: &Digest, packed: impl Read) -> Result<(), AddError> {
    let draft = layout.draft()?;
    let directory = draft.path().join("fs");
    std::fs::create_dir(&directory).map_err(crate::layout::failed("make directory", &directory))?;
    let unpacked = unpack(packed, &directory, &LIMITS)?;
    if unpacked.diff_id != *diff_id {
        return Err(LayerError::Digest { expected: diff_id.to_string(), actual: unpacked.diff_id.to_string() }.into());
    }
    Ok(layout.commit_layer(draft, &LayerRecord { diff_id: unpacked.diff_id, bytes: unpacked.bytes })?)
}

/// The writing end of a pipe between the network and an unpacking thread.
pub(crate) struct PipeWriter(mpsc::Sender<Piece>);

/// The reading end, for the thread.
pub(crate) struct PipeReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

enum Piece {
    Bytes(Bytes),
    End,
    Failed(io::Error),
}

/// A bounded pipe. If the writer goes away before it has said that this is the end, reading fails.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
    (PipeWriter(sender), PipeReader { pieces, current: Bytes::new(), ended: false })
}

impl PipeWriter {
    /// Passes bytes on; false when nobody reads any more.
    pub(crate) async fn write(&self, bytes: Bytes) -> bool {
        self.0.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Says that everything has been written, or why not. A reader that has gone knows its own reason.
    pub(crate) async fn finish(self, outcome: io::Result<()>) {
        let last = outcome.map_or_else(Piece::Failed, |()| Piece::End);
        if self.0.send(last).await.is_err() {
            tracing::debug!("a layer's reader left before the end");
        }
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(error)) => return Err(error),
                None => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the transfer was given up"));
                }
            }
        }
        let read = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// One lock per key, made when first asked for and gone when nobody holds it. What it guards is handed from
/// one holder to the next.
pub(crate) struct Locks<K, V>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<V>>>>);

impl<K, V> Default for Locks<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Default> Locks<K, V> {
    pub(crate) fn of(&self, key: K) -> Arc<tokio::sync::Mutex<V>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(key, Arc::downgrade(&lock));
        lock
    }
}
