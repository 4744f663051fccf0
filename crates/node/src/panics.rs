//! Work that panics has failed, and whoever waits for it is told: one pod's trouble is nobody else's.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// Work that panicked, with what it said.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
pub(crate) struct Panicked(String);

/// Carries work out to its end or its panic, which is logged as that of `what`. What the work shares must be in
/// order at every step: workers are, for they plan from what they find.
pub(crate) async fn caught<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|payload| {
        let panicked = Panicked(text(payload.as_ref()));
        tracing::error!(what, "{panicked}");
        panicked
    })
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word").to_owned()
}
