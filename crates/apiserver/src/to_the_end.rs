//! Work that is carried to its end though whoever waited for it goes away. It is done in the waiting task,
//! which costs nothing, and only what is left of it when that task gives up gets a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The outcome of some work. Dropped before that, the rest is done in the background.
pub(crate) struct ToTheEnd<T: Send + 'static> {
    /// None while it is worked on, so that work that panicked is not taken up again, and at the end.
    rest: Option<Work<T>>,
    has_begun: bool,
}

impl<T: Send + 'static> ToTheEnd<T> {
    /// Waits for `work`, which begins when this is first polled.
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { rest: Some(Box::pin(work)), has_begun: false }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.has_begun = true;
        let Some(mut work) = self.rest.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.rest = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take().filter(|_| self.has_begun) else { return };
        // Without a runtime the process is ending, and nothing could be carried on anyway.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_has_begun_goes_on_without_the_one_who_waited() {
        let ((begin, begun), (go_on, going), (end, ended)) =
            (oneshot::channel(), oneshot::channel(), oneshot::channel());
        let work = ToTheEnd::new(async move {
            begin.send(()).unwrap();
            let word: &str = going.await.unwrap();
            end.send(word).unwrap();
        });
        tokio::select! {
            biased;
            () = work => unreachable!("nobody has told it to go on"),
            told = begun => told.unwrap(),
        }
        go_on.send("to the end").unwrap();
        assert_eq!(ended.await, Ok("to the end"));
    }

    #[tokio::test]
    async fn what_has_not_begun_never_does() {
        let (end, ended) = oneshot::channel::<()>();
        drop(ToTheEnd::new(async move { drop(end) }));
        assert!(ended.await.is_err(), "it was dropped with all that it held");
        assert_eq!(ToTheEnd::new(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn work_that_panicked_is_not_taken_up_again() {
        let mut work = Box::pin(ToTheEnd::new(std::future::poll_fn(|_| -> Poll<()> { panic!("a fault") })));
        let poll = std::panic::AssertUnwindSafe(|| {
            work.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
        });
        assert!(std::panic::catch_unwind(poll).is_err());
    }
}
