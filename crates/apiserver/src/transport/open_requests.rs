//! How many requests of one connection are open. A request is open until the last byte of its answer
//! has been handed to the connection, so that a watch keeps its connection busy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use crate::respond::{Body, BoxError};

/// The open requests of one connection. Clones count together.
#[derive(Clone, Default)]
pub(super) struct OpenRequests(Arc<watch::Sender<usize>>);

/// One open request; it counts until it is dropped.
pub(super) struct OpenRequest(Arc<watch::Sender<usize>>);

impl OpenRequests {
    /// Counts one more.
    pub(super) fn begin(&self) -> OpenRequest {
        self.0.send_modify(|open| *open += 1);
        OpenRequest(Arc::clone(&self.0))
    }

    /// Returns once no request has been open for so long.
    pub(super) async fn idle_for(&self, period: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender lives in `self`, so waiting cannot fail.
            let _open = count.wait_for(|open| *open == 0).await.is_ok();
            tokio::select! {
                () = tokio::time::sleep(period) => return,
                changed = count.changed() => debug_assert!(changed.is_ok(), "the sender lives"),
            }
        }
    }
}

impl OpenRequest {
    /// The body, which keeps its request open until it is dropped.
    pub(super) fn until_end_of(self, body: Body) -> Answered {
        Answered { body, _open: self }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The body of an answer whose request is still open.
pub(super) struct Answered {
    body: Body,
    _open: OpenRequest,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
