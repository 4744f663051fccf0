//! Commands in containers over WebSocket (contract `pods.md` 8.6–8.10): taking the request.

mod conversation;
mod plumbing;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use stead_net::Network;
use stead_runtime::{ContainerId, ExecSpec, Runtime};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::query::Query;
use super::{Body, newest, text};
use crate::agent::Inner;
use crate::worker::Worker;
use conversation::Conversation;
use plumbing::{Streams, plumbing};

/// The subprotocols spoken, best first.
const PROTOCOLS: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];

/// Answers an upgrade request with a running command.
pub(super) async fn answer<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let streams = Streams::wanted(&query);
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let Some((id, _, true)) = newest(worker, container) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("container not found ({container:?})"));
    };
    let Some((protocol, accept)) = handshake(request.headers()) else {
        return text(StatusCode::BAD_REQUEST, "only WebSocket upgrades are supported for exec");
    };
    let spec = ExecSpec { args: query.all("command"), tty: streams.tty };
    tokio::spawn(run(Arc::clone(inner), id, spec, streams, protocol, request));
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Full::new(Bytes::new()).boxed());
    response.unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Runs the command once the connection has become a WebSocket; what goes wrong is told there.
async fn run<R: Runtime, N: Network>(
    inner: Arc<Inner<R, N>>,
    id: ContainerId,
    spec: ExecSpec,
    streams: Streams,
    protocol: &'static str,
    request: Request<Incoming>,
) {
    let upgraded = match hyper::upgrade::on(request).await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "exec upgrade failed");
            return;
        }
    };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let conversation = Conversation { protocol, streams };
    let held = match plumbing(streams) {
        Ok((ours, theirs)) => {
            let started = inner.runtime.exec(&id, spec, theirs).await;
            conversation.hold(socket, started.map(|handle| (ours, handle)).map_err(|error| error.to_string())).await
        }
        Err(error) => conversation.hold(socket, Err(format!("cannot make pipes: {error}"))).await,
    };
    if let Err(error) = held {
        tracing::debug!(%error, "exec conversation ended early");
    }
}

/// The subprotocol to speak and the accept key, if the client asks for a WebSocket.
fn handshake(headers: &HeaderMap) -> Option<(&'static str, String)> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let protocol = PROTOCOLS.into_iter().find(|protocol| offered.contains(protocol))?;
    Some((protocol, derive_accept_key(key.as_bytes())))
}
