//! The server as a service inside the process: the same handlers, admission and answers as over
//! TLS, without the sockets.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use stead_store::Store;

use crate::auth::Identity;
use crate::respond::{Body, BoxError};
use crate::server::{ApiServer, Task};

/// Requests on behalf of one identity. Cheap to clone; never fails, refusals are answers.
pub struct LocalService<S> {
    server: Arc<ApiServer<S>>,
    identity: Identity,
}

impl<S: Store> ApiServer<S> {
    /// A service whose requests come from `identity`.
    pub fn local_service(self: &Arc<Self>, identity: Identity) -> LocalService<S> {
        LocalService { server: Arc::clone(self), identity }
    }
}

impl<S> Clone for LocalService<S> {
    fn clone(&self) -> Self {
        Self { server: Arc::clone(&self.server), identity: self.identity.clone() }
    }
}

impl<S, B> tower::Service<Request<B>> for LocalService<S>
where
    S: Store,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (server, identity) = (Arc::clone(&self.server), self.identity.clone());
        Box::pin(async move { Ok(server.answer(Some(identity), request, Task::Shared).await) })
    }
}
