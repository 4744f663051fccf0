//! The TLS listener: connections in, requests with an identity out. Serves HTTP/1.1 with upgrades
//! and HTTP/2; on shutdown watches end, open requests finish, and what remains is cut off.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use stead_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Identity;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_MAX, HANDSHAKE_MAX};
use crate::server::ApiServer;

impl<S: Store> ApiServer<S> {
    /// Serves until `shutdown` is cancelled, then drains. Fails only when the listener does.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let acceptor = TlsAcceptor::from(tls);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        let served = self.accept(&listener, &acceptor, &places, &connections, &shutdown).await;
        self.ending.cancel();
        connections.close();
        if tokio::time::timeout(DRAIN_MAX, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections were cut off at shutdown");
        }
        served
    }

    async fn accept(
        self: &Arc<Self>,
        listener: &TcpListener,
        acceptor: &TlsAcceptor,
        places: &Arc<Semaphore>,
        connections: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        loop {
            let place = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                place = Arc::clone(places).acquire_owned() => place.map_err(io::Error::other)?,
            };
            let socket = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => socket,
                    Err(error) if is_about_one_connection(&error) => {
                        tracing::debug!(%error, "a connection was not accepted");
                        continue;
                    }
                    Err(error) if is_exhaustion(&error) => {
                        tracing::warn!(%error, "no connection can be accepted for want of resources");
                        // What is wanting comes back when others let go; the client waits meanwhile.
                        tokio::select! {
                            () = shutdown.cancelled() => return Ok(()),
                            () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                        }
                    }
                    Err(error) => return Err(error),
                },
            };
            let (server, acceptor, shutdown) = (Arc::clone(self), acceptor.clone(), shutdown.clone());
            connections.spawn(async move {
                server.converse(socket, acceptor, shutdown).await;
                drop(place);
            });
        }
    }

    /// Serves one connection to its end.
    async fn converse(self: Arc<Self>, socket: TcpStream, acceptor: TlsAcceptor, shutdown: CancellationToken) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delays");
        }
        let stream = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(|certificate| Identity::of_certificate(certificate));
        let service = service_fn(move |request| {
            let (server, identity) = (Arc::clone(&self), identity.clone());
            async move { Ok::<_, Infallible>(server.answer(identity, request).await) }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// Errors of the connection that was to be accepted; the next one is another matter.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Whether the process or the machine has run out of descriptors or memory for now.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let wanting = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| wanting.iter().any(|errno| errno.raw_os_error() == code))
}
