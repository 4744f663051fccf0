//! Asks other servers. Passes requests on as they came, with an identifier and a port of our own, and
//! takes only responses to exactly that question. Keeps nothing.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::wire::{Transport, question_end};

/// One server gets so long for one try.
const ATTEMPT_MAX: Duration = Duration::from_millis(1500);
/// A request gets so long in all; a stub resolver gives up after five seconds.
const REQUEST_MAX: Duration = Duration::from_millis(4500);
/// Every server is tried so many times.
const ROUNDS: usize = 2;
/// So many requests are under way at a time; one more is answered with SERVFAIL.
const REQUESTS_MAX: usize = 1024;

/// Responses over UDP are not longer; clients announce less.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Response codes after which another server may know better: SERVFAIL, NOTIMP, REFUSED.
const CODES_TO_RETRY: [u8; 3] = [2, 4, 5];

/// The servers that know the names outside the cluster.
pub(crate) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    identifiers: RandomState,
    asked: AtomicU64,
    permits: Semaphore,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("the request holds no well-formed question")]
    Malformed,
    #[error("too many requests are under way")]
    Busy,
    #[error("no upstream server answered in time")]
    Timeout,
    #[error("no upstream server can be reached")]
    Unreachable(#[source] io::Error),
}

impl Forwarder {
    /// A forwarder to these servers, in order of preference.
    pub(crate) fn new(upstreams: Vec<SocketAddr>) -> Self {
        let permits = Semaphore::new(REQUESTS_MAX);
        Self { upstreams, identifiers: RandomState::new(), asked: AtomicU64::new(0), permits }
    }

    /// The response to `request`, under the identifier of the request.
    pub(crate) async fn ask(&self, request: &[u8], transport: Transport) -> Result<Vec<u8>, ForwardError> {
        let _permit = self.permits.try_acquire().map_err(|_| ForwardError::Busy)?;
        let end = question_end(request).ok_or(ForwardError::Malformed)?;
        let asked = self.ask_in_turn(request, end, transport);
        let mut response = timeout(REQUEST_MAX, asked).await.map_err(|_| ForwardError::Timeout)??;
        response[..2].copy_from_slice(&request[..2]);
        Ok(response)
    }

    async fn ask_in_turn(&self, request: &[u8], end: usize, transport: Transport) -> Result<Vec<u8>, ForwardError> {
        let mut second_best = Err(ForwardError::Timeout);
        for upstream in self.upstreams.iter().cycle().take(self.upstreams.len() * ROUNDS) {
            let mut request = request.to_vec();
            request[..2].copy_from_slice(&self.identifier());
            let attempt = async {
                match transport {
                    Transport::Udp => over_udp(*upstream, &request, end).await,
                    Transport::Tcp => over_tcp(*upstream, &request, end).await,
                }
            };
            match timeout(ATTEMPT_MAX, attempt).await {
                Ok(Ok(response)) if CODES_TO_RETRY.contains(&(response[3] & 0x0f)) => second_best = Ok(response),
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    tracing::debug!(%upstream, %error, "an upstream server cannot be reached");
                    second_best = second_best.or(Err(ForwardError::Unreachable(error)));
                }
                Err(_) => tracing::debug!(%upstream, "an upstream server did not answer in time"),
            }
        }
        second_best
    }

    /// Nobody who does not see the packet can guess it.
    fn identifier(&self) -> [u8; 2] {
        let hash = self.identifiers.hash_one(self.asked.fetch_add(1, Ordering::Relaxed));
        [hash as u8, (hash >> 8) as u8]
    }
}

async fn over_udp(upstream: SocketAddr, request: &[u8], end: usize) -> io::Result<Vec<u8>> {
    let any: IpAddr = if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(request).await?;
    let mut response = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut response).await?;
        if is_response(&response[..length], request, end) {
            response.truncate(length);
            return Ok(response);
        }
    }
}

async fn over_tcp(upstream: SocketAddr, request: &[u8], end: usize) -> io::Result<Vec<u8>> {
    let length = u16::try_from(request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(&[&length.to_be_bytes(), request].concat()).await?;
    let mut response = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut response).await?;
    if is_response(&response, request, end) { Ok(response) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether the packet answers this question under this identifier.
fn is_response(packet: &[u8], request: &[u8], end: usize) -> bool {
    packet.len() >= end
        && packet[..2] == request[..2]
        && packet[2] & 0x80 != 0
        && packet[12..end].eq_ignore_ascii_case(&request[12..end])
}
