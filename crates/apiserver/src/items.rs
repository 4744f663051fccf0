//! The body of a list: head, items and tail written frame by frame from shared entries, so that no
//! answer is ever held in memory as a whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use stead_store::Entry;

use crate::limits::FRAME_BYTES;
use crate::respond::BoxError;

/// Writes one item to the end of a buffer.
pub(crate) type Render = Box<dyn FnMut(&Entry, &mut Vec<u8>) + Send>;

/// A list on its way out.
pub(crate) struct Items {
    head: Option<Vec<u8>>,
    entries: std::vec::IntoIter<Arc<Entry>>,
    render: Render,
    first: bool,
    tail: Option<&'static [u8]>,
    length: Option<u64>,
}

impl Items {
    /// A list that starts with `head`, ends with `tail` and holds `entries`, each written by `render`.
    pub(crate) fn new(head: Vec<u8>, entries: Vec<Arc<Entry>>, tail: &'static [u8], render: Render) -> Self {
        Self { head: Some(head), entries: entries.into_iter(), render, first: true, tail: Some(tail), length: None }
    }

    /// A list of the stored bytes themselves, each without its first `prefix_bytes` (its
    /// `apiVersion` and `kind`, which items of a list leave out). Its length is known.
    pub(crate) fn stored(head: Vec<u8>, entries: Vec<Arc<Entry>>, tail: &'static [u8], prefix: String) -> Self {
        let item = move |entry: &Entry| match entry.bytes.strip_prefix(prefix.as_bytes()) {
            Some(_) => entry.bytes.slice(prefix.len()..),
            None => entry.bytes.slice(1..),
        };
        let items_bytes: usize = entries.iter().map(|entry| 1 + item(entry).len()).sum();
        let commas = entries.len().saturating_sub(1);
        let length = (head.len() + items_bytes + commas + tail.len()) as u64;
        let render = Box::new(move |entry: &Entry, buffer: &mut Vec<u8>| {
            buffer.push(b'{');
            buffer.extend_from_slice(&item(entry));
        });
        Self { length: Some(length), ..Self::new(head, entries, tail, render) }
    }

    /// The whole body at once, for encodings that need it.
    pub(crate) fn collect(mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(frame) = self.next_frame() {
            whole.extend_from_slice(&frame);
        }
        whole
    }

    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let mut buffer = self.head.take().unwrap_or_default();
        while buffer.len() < FRAME_BYTES {
            let Some(entry) = self.entries.next() else {
                buffer.extend_from_slice(self.tail.take().unwrap_or_default());
                break;
            };
            if !self.first {
                buffer.push(b',');
            }
            self.first = false;
            (self.render)(&entry, &mut buffer);
        }
        (!buffer.is_empty()).then_some(buffer)
    }
}

impl Body for Items {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.get_mut().next_frame().map(|frame| Ok(Frame::data(frame.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame only; later the transport counts by itself.
        match (self.length, &self.head) {
            (Some(length), Some(_)) => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}
