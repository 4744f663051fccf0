//! The TLS listener: connections in, requests with an identity out. Serves HTTP/1.1 with upgrades
//! and HTTP/2; on shutdown watches end, open requests finish, and what remains is cut off. A
//! connection without an open request is let go after a while, and so is one whose other end no
//! longer answers.

mod open_requests;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt;
use stead_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::open_requests::OpenRequests;
use crate::auth::Identity;
use crate::limits::{
    ACCEPT_PAUSE, CONNECTION_IDLE_MAX, CONNECTIONS_MAX, DRAIN_MAX, HANDSHAKE_MAX, PING_ANSWER_MAX, PING_PERIOD,
    PROBES_MAX, STREAMS_MAX,
};
use crate::server::{ApiServer, Task};

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
        if let Err(error) = prepare(&socket) {
            tracing::debug!(%error, "a connection stays as it is");
        }
        let stream = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(|certificate| Identity::of_certificate(certificate));
        let open = OpenRequests::default();
        let service = service_fn({
            let open = open.clone();
            move |request| {
                let (server, identity, request_open) = (Arc::clone(&self), identity.clone(), open.begin());
                async move {
                    let response = server.answer(identity, request, Task::Own).await;
                    Ok::<_, Infallible>(response.map(|body| request_open.until_end_of(body)))
                }
            }
        });
        let builder = connection_builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = open.idle_for(CONNECTION_IDLE_MAX) => {
                // A request that arrives at this very moment is still answered.
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(DRAIN_MAX, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// No delays, and a peer that has vanished without a word is noticed by the kernel: an upgraded connection,
/// such as a shell in a container that nobody types in, has nobody else to notice it.
fn prepare(socket: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PING_PERIOD)?;
    sockopt::set_tcp_keepintvl(socket, PING_PERIOD)?;
    sockopt::set_tcp_keepcnt(socket, PROBES_MAX)?;
    sockopt::set_socket_keepalive(socket, true)
}

/// How a connection is served. Of HTTP/1.1 no more need be said: it is idle until a head is complete.
fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_ANSWER_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    builder
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn the_kernel_watches_over_every_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        prepare(&socket).unwrap();
        assert!(sockopt::socket_keepalive(&socket).unwrap() && sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), PING_PERIOD);
    }
}
