//! Requests that are answered by the pod's node: logs, exec, attach and port-forward. The right pod
//! and container are found here; the bytes, WebSocket and SPDY upgrades included, pass through
//! unchanged (contract `pods.md`, 7.9, 8; `defaults-validation.md`, 4.2).

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HOST, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use stead_api::Kind;
use stead_store::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::limits::NODE_ANSWER_MAX;
use crate::query::Query;
use crate::respond::{self, Answer, BoxError};
use crate::routes::ResourcePath;
use crate::server::ApiServer;
use crate::status::StatusError;
use crate::storage;

/// A connection to a node's agent.
pub trait NodeStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> NodeStream for T {}

/// Opens connections to the agents of nodes.
pub trait NodeDialer: Send + Sync + 'static {
    /// Connects to the agent of a node by the node's name. What travels on the stream is plain HTTP/1.1.
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn NodeStream>>>;
}

/// Reaches no node.
pub struct NoNodes;

impl NodeDialer for NoNodes {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn NodeStream>>> {
        let error = io::Error::new(io::ErrorKind::NotConnected, format!("no way to node {node}"));
        Box::pin(async move { Err(error) })
    }
}

/// Longest text of a refusing node that is passed on.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

impl<S: Store> ApiServer<S> {
    /// Passes a request on to the node of its pod.
    pub(crate) async fn stream(&self, path: &ResourcePath, query: &Query, parts: Parts) -> Answer {
        if !matches!(parts.method, Method::GET | Method::POST) {
            return Err(StatusError::method_not_allowed());
        }
        let entry = self.fetch(path.kind, path.namespace(), path.name()).await?;
        let pod = storage::load_as(path.kind, &entry)?
            .into::<Pod>()
            .map_err(|_| StatusError::internal("only pods have streams"))?;
        let subresource = path.subresource.as_deref().unwrap_or_default();
        let name = path.name();
        let spec = pod.spec.unwrap_or_default();
        let container = match subresource {
            "portforward" => String::new(),
            _ => container_of(name, &spec, query.get("container").unwrap_or_default())?,
        };
        let node = spec.node_name.as_deref().unwrap_or_default();
        match (node, subresource) {
            // Nothing has run yet, so there is nothing to show.
            ("", "log") => return Ok(respond::text(StatusCode::OK, "")),
            ("", _) => return Err(StatusError::bad_request(format!("pod {name} does not have a host assigned"))),
            _ => {}
        }
        let uri = agent_uri(path, subresource, &container, query);
        let response = self.ask_node(node, &uri, parts).await?;
        match subresource {
            "log" if !response.status().is_success() => Err(refusal(path.kind, name, response).await),
            _ => Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync())),
        }
    }

    async fn ask_node(&self, node: &str, uri: &str, mut parts: Parts) -> Result<Response<Incoming>, StatusError> {
        let unreachable =
            |error: &dyn std::fmt::Display| StatusError::internal(format!("error dialing backend: {error}"));
        let client_upgrade = parts.extensions.remove::<OnUpgrade>();
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = parts.method;
        *request.uri_mut() =
            uri.parse().map_err(|error: http::uri::InvalidUri| StatusError::bad_request(error.to_string()))?;
        *request.headers_mut() = forwarded(parts.headers, node)?;
        let answered = async {
            let stream = self.dialer.dial(node).await.map_err(|error| unreachable(&error))?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
            let (node, ending) = (node.to_owned(), self.ending.clone());
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection.with_upgrades() => if let Err(error) = ended {
                        tracing::debug!(node, %error, "a proxied connection broke");
                    },
                    () = ending.cancelled() => {}
                }
            });
            sender.send_request(request).await.map_err(|error| unreachable(&error))
        };
        let mut response =
            tokio::time::timeout(NODE_ANSWER_MAX, answered).await.unwrap_or_else(|_| Err(StatusError::timeout()))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let client =
                client_upgrade.ok_or_else(|| StatusError::bad_request("this connection cannot be upgraded"))?;
            tokio::spawn(splice(client, hyper::upgrade::on(&mut response), self.ending.clone()));
        }
        Ok(response)
    }
}

/// Copies both ways until one side is done.
async fn splice(client: OnUpgrade, node: OnUpgrade, ending: CancellationToken) {
    let copied = async {
        let (client, node): (Upgraded, Upgraded) = tokio::try_join!(client, node).map_err(io::Error::other)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(node)).await
    };
    tokio::select! {
        result = copied => match result {
            Ok((sent, received)) => tracing::debug!(sent, received, "a stream ended"),
            Err(error) => tracing::debug!(%error, "a stream broke"),
        },
        () = ending.cancelled() => {}
    }
}

/// The container a request is about: the one named, or the only one.
fn container_of(pod: &str, spec: &PodSpec, asked: &str) -> Result<String, StatusError> {
    let regular: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    let init: Vec<&str> = spec.init_containers.iter().flatten().map(|container| container.name.as_str()).collect();
    let mut ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str());
    if asked.is_empty() {
        let [only] = regular.as_slice() else {
            let mut message =
                format!("a container name must be specified for pod {pod}, choose one of: [{}]", regular.join(" "));
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            return Err(StatusError::bad_request(message));
        };
        return Ok((*only).to_owned());
    }
    match regular.contains(&asked) || init.contains(&asked) || ephemeral.any(|name| name == asked) {
        true => Ok(asked.to_owned()),
        false => Err(StatusError::bad_request(format!("container {asked} is not valid for pod {pod}"))),
    }
}

/// The path and query of the agent's own endpoint.
fn agent_uri(path: &ResourcePath, subresource: &str, container: &str, query: &Query) -> String {
    let (namespace, pod) = (path.namespace(), path.name());
    let mut out = form_urlencoded::Serializer::new(String::new());
    let head = match subresource {
        "log" => {
            for (key, value) in query.pairs().filter(|(key, _)| *key != "container") {
                out.append_pair(key, value);
            }
            format!("/containerLogs/{namespace}/{pod}/{container}")
        }
        "portforward" => {
            for port in query.all("ports").chain(query.all("port")) {
                out.append_pair("port", port);
            }
            format!("/portForward/{namespace}/{pod}")
        }
        verb => {
            for (flag, agent_flag) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
                if query.flag(flag) {
                    out.append_pair(agent_flag, "1");
                }
            }
            for word in query.all("command") {
                out.append_pair("command", word);
            }
            format!("/{verb}/{namespace}/{pod}/{container}")
        }
    };
    let query = out.finish();
    if query.is_empty() { head } else { format!("{head}?{query}") }
}

/// The headers the agent is shown: the client's, without its credentials.
fn forwarded(mut headers: HeaderMap, node: &str) -> Result<HeaderMap, StatusError> {
    headers.remove(AUTHORIZATION);
    headers.remove(http::header::CONTENT_LENGTH);
    headers.remove(http::header::TRANSFER_ENCODING);
    headers.insert(HOST, node.parse().map_err(StatusError::internal)?);
    Ok(headers)
}

/// A node's refusal, which is plain text, as a Status.
async fn refusal(kind: &Kind, pod: &str, response: Response<Incoming>) -> StatusError {
    let code = response.status();
    let text = match Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(error) => format!("the answer of the node could not be read: {error}"),
    };
    match code {
        StatusCode::BAD_REQUEST => StatusError::bad_request(text),
        StatusCode::NOT_FOUND if text.is_empty() => StatusError::not_found(kind, pod),
        StatusCode::NOT_FOUND => StatusError::missing(&text),
        _ => StatusError::internal(text),
    }
}
