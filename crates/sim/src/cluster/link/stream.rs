//! A watch on its way to the client: tapped where it leaves the server, then delayed, stalled or cut.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use stead_apiserver::BoxError;
use tokio_util::sync::CancellationToken;

use super::weather::STALL_S_MAX;
use super::{Inner, NoAnswer, lock};
use crate::cluster::observer::Tap;

/// See the module.
pub(super) struct Stream {
    pub(super) link: Arc<Inner>,
    /// What the server sends; none when it has ended.
    pub(super) source: Option<(stead_apiserver::Body, Tap)>,
    pub(super) died: CancellationToken,
    pub(super) cut: CancellationToken,
}

impl Stream {
    pub(super) async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        let (mut body, tap) = self.source.take()?;
        tap.taken();
        let link = Arc::clone(&self.link);
        let frame = tokio::select! {
            biased;
            () = link.dead.cancelled() => None,
            () = self.died.cancelled() => return Some(Err(NoAnswer("connection reset by peer").into())),
            () = self.cut.cancelled() => return Some(Err(NoAnswer("connection timed out").into())),
            frame = chunk(&link, &mut body, &tap) => Some(frame?),
        };
        match frame {
            Some(Ok(frame)) => {
                self.source = Some((body, tap));
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                drop((body, tap));
                std::future::pending().await
            }
        }
    }
}

async fn chunk(link: &Inner, body: &mut stead_apiserver::Body, tap: &Tap) -> Option<Result<Frame<Bytes>, BoxError>> {
    let frame = match body.frame().await? {
        Ok(frame) => frame,
        Err(error) => return Some(Err(error)),
    };
    let weather = *lock(&link.weather);
    let frame = match weather.lie {
        Some(lie) => lie.of_watch(frame),
        None => frame,
    };
    if let Some(bytes) = frame.data_ref() {
        tap.saw(bytes);
    }
    tokio::time::sleep(link.dice.ms(0, weather.watch_delay_ms_max)).await;
    if link.dice.permille(weather.stalled) {
        tokio::time::sleep(link.dice.ms(0, STALL_S_MAX * 1000)).await;
    }
    if link.dice.permille(weather.cut) {
        return Some(Err(NoAnswer("connection reset by peer").into()));
    }
    Some(Ok(frame))
}
