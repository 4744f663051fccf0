//! The agent's HTTP service, which the API server reaches through a byte stream: logs and commands in
//! containers, at the paths a kubelet has (contract `pods.md`, sections 7 and 8).

mod exec;
mod logs;
mod query;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use stead_net::Network;
use stead_runtime::Runtime;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::agent::Inner;
use crate::{Agent, worker::Worker};

type Body = BoxBody<Bytes, Infallible>;

impl<R: Runtime, N: Network> Agent<R, N> {
    /// Serves one connection until it ends. WebSocket upgrades are taken over.
    pub async fn serve_stream(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let inner = Arc::clone(self.inner());
        let service = hyper::service::service_fn(move |request| {
            let inner = Arc::clone(&inner);
            async move { Ok::<_, Infallible>(answer(&inner, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the agent ended early");
        }
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text.into())).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

async fn answer<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz"] => text(StatusCode::OK, "ok"),
        [verb @ ("containerLogs" | "exec"), namespace, name, container] => {
            let Some(worker) = inner.find(namespace, name) else {
                return text(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist"));
            };
            if *verb == "exec" {
                exec::answer(inner, &worker, container, request).await
            } else {
                logs::answer(inner, &worker, container, request.uri().query().unwrap_or_default()).await
            }
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// The newest incarnation of a container, running or not, as (id, attempt, running).
fn newest(worker: &Worker, container: &str) -> Option<(stead_runtime::ContainerId, u32, bool)> {
    let state = worker.state();
    let of_name = state.containers.values().filter(|known| known.spec.name == container);
    of_name.max_by_key(|known| known.spec.attempt).map(|known| {
        let running = matches!(known.state, stead_runtime::ContainerState::Running { .. });
        (known.spec.id.clone(), known.spec.attempt, running)
    })
}
