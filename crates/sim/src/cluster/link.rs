//! The way from one client to the server, and everything that can go wrong on it: requests delayed, lost
//! before or after they took effect, watches cut, stalled or expired, both ends killed. Watches are tapped
//! where they leave the server, before any fault can touch them.

mod stream;
mod weather;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use stead_apiserver::{BoxError, Identity};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::entropy::Dice;
use super::lies::Memory;
use super::observer::{Observer, Tap};
use super::server::{Running, Server};
use stream::Stream;
pub(crate) use weather::Weather;

/// How long a client tries to reach a server that does not answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct NoAnswer(&'static str);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NoAnswer {}

/// The body of an answer on the client's side.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

struct Inner {
    name: Arc<str>,
    server: Server,
    dice: Dice,
    observer: Observer,
    weather: Mutex<Weather>,
    memory: Memory,
    /// Replaced, and the old one cancelled, when every open stream is to be cut.
    streams: Mutex<CancellationToken>,
    /// Cancelled when the client's process is killed.
    dead: CancellationToken,
}

/// A client's link. Clones are the same link.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

impl Link {
    /// A link for the client `name`.
    pub(crate) fn new(name: &str, server: &Server, dice: Dice, observer: &Observer, weather: Weather) -> Self {
        let inner = Inner {
            name: name.into(),
            server: server.clone(),
            dice,
            observer: observer.clone(),
            weather: Mutex::new(weather),
            memory: Memory::default(),
            streams: Mutex::default(),
            dead: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A client on this link.
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// Changes the weather; a partition also cuts what is open.
    pub(crate) fn set_weather(&self, weather: Weather) {
        *lock(&self.inner.weather) = weather;
        if weather.partitioned {
            self.cut();
        }
    }

    /// The weather now.
    pub(crate) fn weather(&self) -> Weather {
        *lock(&self.inner.weather)
    }

    /// Cuts every open stream.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *lock(&self.inner.streams)).cancel();
    }

    /// The client's process is gone: whatever of it is left over never hears or does anything again.
    pub(crate) fn kill(&self) {
        self.inner.dead.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Service<Request<B>> for Link
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let dead = inner.dead.clone();
            tokio::select! {
                biased;
                () = dead.cancelled() => std::future::pending().await,
                answer = inner.pass(request) => answer,
            }
        })
    }
}

impl Inner {
    async fn pass<B>(self: Arc<Self>, request: Request<B>) -> Result<Response<Body>, BoxError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let weather = *lock(&self.weather);
        tokio::time::sleep(self.dice.ms(0, weather.delay_ms_max)).await;
        if lock(&self.weather).partitioned || self.dice.permille(weather.lost) {
            tokio::time::sleep(self.dice.ms(0, 1000).min(CONNECT_MAX)).await;
            return Err(NoAnswer("connection timed out").into());
        }
        let Some(running) = self.server.running() else {
            return Err(NoAnswer("connection refused").into());
        };
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(Into::into)?.to_bytes();
        let accept = parts.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let tap = Tap::of(&self.observer, &self.name, &parts.uri, accept.unwrap_or_default());
        let begins_later = parts.uri.query().is_some_and(|query| query.contains("resourceVersion="));
        if tap.is_some() && begins_later && self.dice.permille(weather.expired) {
            return Ok(expired());
        }
        let streams = lock(&self.streams).clone();
        let path = parts.uri.path().to_owned();
        let question = self.observer.asked(&self.name, &parts.method, &parts.uri, &body);
        let body = match weather.lie {
            Some(lie) => lie.of_request(body),
            None => body,
        };
        let request = Request::from_parts(parts, http_body_util::Full::new(body));
        let response = self.serve(&running, request).await?;
        let (is_watch, status) = (tap.is_some(), response.status());
        match tap {
            Some(tap) if status == StatusCode::OK => return Ok(self.stream(response, tap, running, streams)),
            Some(tap) => tap.refused(status),
            None => {}
        }
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = match weather.lie {
            Some(lie) => lie.of_answer(&path, body, &self.memory),
            None => body,
        };
        if let Some(question) = question.filter(|_| !is_watch) {
            self.observer.answered(&question, head.status, &body);
        }
        tokio::time::sleep(self.dice.ms(0, weather.delay_ms_max)).await;
        if lock(&self.weather).partitioned || self.dice.permille(weather.unanswered) {
            return Err(NoAnswer("connection reset by peer").into());
        }
        Ok(Response::from_parts(head, full(body)))
    }

    async fn serve<B>(
        &self,
        running: &Running,
        request: Request<B>,
    ) -> Result<Response<stead_apiserver::Body>, BoxError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut service = running.door(&self.name).local_service(Identity::component(&self.name));
        tokio::select! {
            biased;
            () = running.died.cancelled() => Err(NoAnswer("connection reset by peer").into()),
            answer = service.call(request) => {
                answer.map_err(|never: Infallible| -> BoxError { match never {} })
            }
        }
    }

    /// The stream of a watch on its way to the client.
    fn stream(
        self: &Arc<Self>,
        response: Response<stead_apiserver::Body>,
        tap: Tap,
        running: Running,
        cut: CancellationToken,
    ) -> Response<Body> {
        let (head, body) = response.into_parts();
        let stream = Stream { link: Arc::clone(self), source: Some((body, tap)), died: running.died, cut };
        let frames = futures::stream::unfold(stream, |mut stream| async move {
            let frame = stream.next().await?;
            Some((frame, stream))
        });
        Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// What a server answers whose history begins later.
fn expired() -> Response<Body> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
        "reason": "Expired", "message": "too old resource version (simulated)",
    });
    let mut response = Response::new(full(status.to_string().into()));
    *response.status_mut() = StatusCode::GONE;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
