//! The server: what it is made of, and the way of a request from its head to a handler.
//! Handlers, admission and transport live in files of their own.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use stead_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::allocate::ServiceBook;
use crate::auth::{self, Identity};
use crate::limits::{BODY_BYTES_MAX, BODY_READ_MAX, CHANGES_MAX, WATCHES_MAX};
use crate::negotiate::{self, Offer};
use crate::query::Query;
use crate::respond::{self, Answer, Body, BoxError};
use crate::routes::{ResourcePath, Route};
use crate::status::StatusError;
use crate::streams::NodeDialer;
use crate::to_the_end::ToTheEnd;
use crate::world::{SystemWorld, World};
use crate::{discovery, health, openapi, reviews};

/// What a server is told when it starts.
#[derive(Clone)]
pub struct Config {
    /// Network address and prefix length of the service range.
    pub service_cidr: (Ipv4Addr, u8),
    /// Ports that NodePort services may take.
    pub node_ports: RangeInclusive<u16>,
    /// Time and randomness.
    pub world: Arc<dyn World>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 12),
            node_ports: 30_000..=32_767,
            world: Arc::new(SystemWorld::new()),
        }
    }
}

/// The API server over one store.
pub struct ApiServer<S> {
    pub(crate) store: Arc<S>,
    pub(crate) world: Arc<dyn World>,
    pub(crate) dialer: Arc<dyn NodeDialer>,
    pub(crate) services: ServiceBook,
    pub(crate) watches: Arc<Semaphore>,
    /// Places for changes under way, which their clients do not end by going away.
    changes: Arc<Semaphore>,
    /// Held from the look at a disruption budget to the deletion, so that two evictions do not share its room.
    pub(crate) evictions: tokio::sync::Mutex<()>,
    /// Cancelled when watches and streams should end.
    pub(crate) ending: CancellationToken,
}

/// The task in which a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// That of its connection or stream, where nothing else waits meanwhile.
    Own,
    /// One that may have many requests under way at the same time.
    Shared,
}

/// A request whose body has been read.
pub(crate) struct Call {
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl<S: Store> ApiServer<S> {
    /// A server over `store` that reaches nodes through `dialer`.
    pub fn new(config: Config, store: Arc<S>, dialer: Arc<dyn NodeDialer>) -> Arc<Self> {
        Arc::new(Self {
            store,
            services: ServiceBook::new(config.service_cidr, config.node_ports),
            world: config.world,
            dialer,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            evictions: tokio::sync::Mutex::default(),
            ending: CancellationToken::new(),
        })
    }

    /// Answers one request of `identity`; none is a client without a certificate. Every failure is
    /// an answer too, a panic included: it must cost neither the other requests of the connection
    /// nor, inside the process, the loop that asked.
    pub(crate) async fn answer<B>(
        self: &Arc<Self>,
        identity: Option<Identity>,
        request: Request<B>,
        task: Task,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let answer = AssertUnwindSafe(self.dispatch(identity, parts, body, task)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_panic| {
            tracing::error!(%method, path, "a request panicked");
            Err(StatusError::internal("the server panicked while it worked on this request"))
        });
        let response = answer.unwrap_or_else(|error| respond::error(&error));
        tracing::debug!(%method, path, code = response.status().as_u16(), "answered");
        response
    }

    async fn dispatch<B>(self: &Arc<Self>, identity: Option<Identity>, parts: Parts, body: B, task: Task) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let path = parts.uri.path();
        let route = Route::parse(path);
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        auth::authorize(identity.as_ref(), &parts.method, &route, path, query.flag("watch"))?;
        let identity = identity.unwrap_or_else(anonymous);
        match route {
            Route::Resource(path) if path.is_stream() => self.stream(&path, &query, parts).await,
            Route::Resource(path) => {
                let body = read_body(body).await?;
                let call = Call { query, headers: parts.headers, body };
                self.to_the_end(parts.method, call, path, task).await
            }
            Route::Review { kind, .. } if parts.method == Method::POST => {
                let body = read_body(body).await?;
                reviews::answer(kind, &identity, self.world.as_ref(), &parts.headers, &body)
            }
            Route::Review { .. } => Err(StatusError::method_not_allowed()),
            Route::UnknownResource => Err(StatusError::no_such_resource()),
            route => self.document(route, &parts, &query),
        }
    }

    /// Answers the read-only documents about the server itself.
    fn document(&self, route: Route, parts: &Parts, query: &Query) -> Answer {
        if matches!(route, Route::Nothing) {
            return Ok(not_found());
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(StatusError::method_not_allowed());
        }
        let headers = &parts.headers;
        match route {
            Route::Health { endpoint, check } => {
                Ok(health::check(endpoint, check.as_deref(), query, self.store.failure().as_deref()))
            }
            Route::Version => health::version(),
            Route::Root => {
                let form = negotiate::accepted(headers, Offer::Plain)?;
                respond::value(StatusCode::OK, &serde_json::json!({ "paths": discovery::paths() }), form)
            }
            Route::CoreVersions => discovery::core_versions(headers),
            Route::Groups => discovery::groups(headers),
            Route::Group(name) => discovery::group(headers, &name).unwrap_or_else(|| Ok(not_found())),
            Route::Resources { group, version } => discovery::resources(headers, &group, &version),
            Route::OpenApiV2 => openapi::v2(headers),
            Route::OpenApiV3(document) => openapi::v3(headers, &document).unwrap_or_else(|| Ok(not_found())),
            Route::Nothing => Ok(not_found()),
            Route::Resource(_) | Route::Review { .. } | Route::UnknownResource => Err(StatusError::no_such_resource()),
        }
    }

    /// Answers a request for a resource. A change that has begun is carried to its end even if the client
    /// goes away meanwhile: what it has set aside or still has to check does not hang on a connection.
    async fn to_the_end(self: &Arc<Self>, method: Method, call: Call, path: ResourcePath, task: Task) -> Answer {
        if matches!(method, Method::GET | Method::HEAD) {
            return self.resource(&method, &call, &path).await;
        }
        let permit = Arc::clone(&self.changes).acquire_owned().await.map_err(StatusError::internal)?;
        let server = Arc::clone(self);
        let change = async move {
            let answer = server.resource(&method, &call, &path).await;
            drop(permit);
            answer
        };
        match task {
            Task::Own => ToTheEnd::new(change).await,
            Task::Shared => match tokio::spawn(change).await {
                Ok(answer) => answer,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => Err(StatusError::internal(error)),
            },
        }
    }

    async fn resource(self: &Arc<Self>, method: &Method, call: &Call, path: &ResourcePath) -> Answer {
        if let Some(subresource) = &path.subresource {
            return self.subresource(method, call, path, subresource).await;
        }
        let verbs = path.kind.facts.verbs;
        let allowed = |verb: &str| match verbs.contains(&verb) {
            true => Ok(()),
            false => Err(StatusError::method_not_allowed()),
        };
        match (method.as_str(), &path.name) {
            ("GET" | "HEAD", _) if call.query.flag("watch") => {
                allowed("watch")?;
                self.watch(call, path).await
            }
            ("GET" | "HEAD", Some(_)) => self.get(call, path).await,
            ("GET" | "HEAD", None) => self.list(call, path).await,
            ("POST", None) if path.namespace.is_some() == path.is_namespaced() => {
                allowed("create")?;
                self.create(call, path).await
            }
            ("PUT", Some(_)) => {
                allowed("update")?;
                self.update(call, path).await
            }
            ("PATCH", Some(_)) => {
                allowed("patch")?;
                self.patch(call, path).await
            }
            ("DELETE", Some(_)) => {
                allowed("delete")?;
                self.delete(call, path).await
            }
            ("DELETE", None) if path.namespace.is_some() == path.is_namespaced() => {
                allowed("deletecollection")?;
                self.delete_collection(call, path).await
            }
            _ => Err(StatusError::method_not_allowed()),
        }
    }
}

async fn read_body<B>(body: B) -> Result<Bytes, StatusError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let collected = tokio::time::timeout(BODY_READ_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusError::body_too_large()),
        Ok(Err(error)) => Err(StatusError::bad_request(format!("error reading the body: {error}"))),
        Err(_) => Err(StatusError::timeout()),
    }
}

fn anonymous() -> Identity {
    Identity { user: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
}

fn not_found() -> Response<Body> {
    respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
}
