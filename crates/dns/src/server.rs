//! The sockets: one loop per UDP socket, one task per TCP connection. Answers from the zone that is
//! current when the packet is read, and asks others for what the zone does not hold. Decides nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::forward::Forwarder;
use crate::records::{Answer, Code, Record, Reply};
use crate::wire::{Reject, Request, Transport, answers_of, is_truncated};
use crate::zone::Zone;

/// So many TCP connections are served at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// A TCP connection may be silent for so long.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(10);
/// After a failure to accept, for want of file descriptors as a rule, some get the time to be closed. What
/// fails to receive may go on failing.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);
/// Datagrams of requests are never longer; what is cut off makes the packet malformed.
const REQUEST_BYTES_MAX: usize = 4096;
/// Room for requests that wait, in the kernel's accounting: some 20,000. Used only while they do.
const RECEIVE_BYTES: usize = 8 << 20;
/// Tries to find a port that is free for UDP and for TCP.
const PORT_TRIES_MAX: usize = 8;

/// Both sockets of one address.
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl Sockets {
    /// Binds `address` for UDP and TCP; port 0 finds one that is free for both. Must be called
    /// within a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::bind_once(address) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < PORT_TRIES_MAX => {}
                result => return result,
            }
        }
    }

    fn bind_once(address: SocketAddr) -> io::Result<Self> {
        let tcp = std::net::TcpListener::bind(address)?;
        let address = tcp.local_addr()?;
        let udp = std::net::UdpSocket::bind(address)?;
        make_room(&udp);
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(Self { udp: UdpSocket::from_std(udp)?, tcp: TcpListener::from_std(tcp)?, address })
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Has the kernel keep a burst of requests, and not only the few hundred that it keeps by default.
fn make_room(udp: &std::net::UdpSocket) {
    let forced = sockopt::set_socket_recv_buffer_size_force(udp, RECEIVE_BYTES);
    // Without the right to exceed the machine's limit, up to that limit.
    if let Err(error) = forced.or_else(|_| sockopt::set_socket_recv_buffer_size(udp, RECEIVE_BYTES)) {
        tracing::warn!(%error, "bursts of requests may be lost");
    }
}

/// What all loops share.
pub struct Server {
    zone: Arc<ArcSwap<Zone>>,
    forwarder: Option<Forwarder>,
    /// Counts responses, to rotate the hosts in them.
    turn: AtomicUsize,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// What is to be done about a packet.
enum Step {
    Nothing,
    Send(Vec<u8>),
    /// Another server has to be asked this first.
    Ask {
        request: Box<Request>,
        packet: Vec<u8>,
        chain: Option<Vec<Record>>,
    },
}

impl Server {
    /// A server of the current zone. Names outside of it are asked of `upstreams`, in order. Every
    /// task it starts is in `tasks` and ends with `shutdown`.
    pub fn new(
        zone: Arc<ArcSwap<Zone>>,
        upstreams: Vec<SocketAddr>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let forwarder = (!upstreams.is_empty()).then(|| Forwarder::new(upstreams));
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Arc::new(Self { zone, forwarder, turn: AtomicUsize::new(0), connections, tasks, shutdown })
    }

    /// Starts to serve both sockets of an address.
    pub fn serve(self: &Arc<Self>, sockets: Sockets) {
        let Sockets { udp, tcp, .. } = sockets;
        self.spawn(Arc::clone(self).serve_udp(udp.into()));
        self.spawn(Arc::clone(self).serve_tcp(tcp));
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            // Whether the work or the server came to its end makes no difference here.
            let _finished = shutdown.run_until_cancelled(work).await;
        });
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; REQUEST_BYTES_MAX];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "cannot receive requests");
                    tokio::time::sleep(FAILURE_PAUSE).await;
                    continue;
                }
            };
            match self.step(&buffer[..length], Transport::Udp) {
                Step::Nothing => {}
                Step::Send(response) => send(&socket, &response, client).await,
                ask @ Step::Ask { .. } => {
                    let (server, socket) = (Arc::clone(&self), Arc::clone(&socket));
                    self.spawn(async move {
                        if let Some(response) = server.complete(ask, Transport::Udp).await {
                            send(&socket, &response, client).await;
                        }
                    });
                }
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        // A connection keeps its place until it ends; nothing is accepted without one.
        while let Ok(place) = Arc::clone(&self.connections).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, client)) => {
                    let server = Arc::clone(&self);
                    self.spawn(async move {
                        if let Err(error) = server.serve_connection(stream).await {
                            tracing::debug!(%client, %error, "connection lost");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }

    async fn serve_connection(&self, mut stream: TcpStream) -> io::Result<()> {
        while let Ok(packet) = timeout(CONNECTION_IDLE_MAX, read_packet(&mut stream)).await {
            let Some(packet) = packet? else { break };
            let step = self.step(&packet, Transport::Tcp);
            let Some(response) = self.complete(step, Transport::Tcp).await else { break };
            let length = u16::try_from(response.len()).map_err(|_| io::ErrorKind::InvalidData)?;
            let message = [&length.to_be_bytes(), &response[..]].concat();
            // A client that does not read gives its place up, as one that says nothing does.
            timeout(CONNECTION_IDLE_MAX, stream.write_all(&message)).await??;
        }
        Ok(())
    }

    fn step(&self, packet: &[u8], transport: Transport) -> Step {
        let request = match Request::parse(packet, transport) {
            Ok(request) => request,
            Err(Reject::Ignore) => return Step::Nothing,
            Err(Reject::Tell(response)) => return Step::Send(response),
        };
        match self.zone.load().reply(&request.question) {
            Reply::Answer(answer) => Step::Send(self.respond(&request, &answer)),
            Reply::Elsewhere { without } if self.forwarder.is_none() => {
                Step::Send(self.respond(&request, &bare(without, Vec::new())))
            }
            Reply::Elsewhere { .. } => Step::Ask { request: Box::new(request), packet: packet.to_vec(), chain: None },
            Reply::Alias { chain, target } => match request.for_name(&target).filter(|_| self.forwarder.is_some()) {
                Some(packet) => Step::Ask { request: Box::new(request), packet, chain: Some(chain) },
                None => Step::Send(self.respond(&request, &bare(Code::NoError, chain))),
            },
        }
    }

    /// The response a step leads to, if any.
    async fn complete(&self, step: Step, transport: Transport) -> Option<Vec<u8>> {
        let (request, packet, chain) = match step {
            Step::Nothing => return None,
            Step::Send(response) => return Some(response),
            Step::Ask { request, packet, chain } => (request, packet, chain),
        };
        let forwarder = self.forwarder.as_ref()?;
        let asked = match forwarder.ask(&packet, transport).await {
            // We build the response to an alias ourselves, so its parts must be whole.
            Ok(response) if chain.is_some() && is_truncated(&response) => forwarder.ask(&packet, Transport::Tcp).await,
            asked => asked,
        };
        let response = match asked {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(name = request.question.name, %error, "not resolved");
                return Some(self.respond(&request, &bare(Code::ServFail, Vec::new())));
            }
        };
        let Some(chain) = chain else { return Some(response) };
        let (added, code) = answers_of(&response).unwrap_or((Vec::new(), Code::ServFail));
        Some(request.respond(&bare(code, chain), added, true, self.next_turn()))
    }

    fn respond(&self, request: &Request, answer: &Answer) -> Vec<u8> {
        request.respond(answer, Vec::new(), self.forwarder.is_some(), self.next_turn())
    }

    fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

fn bare(code: Code, answers: Vec<Record>) -> Answer {
    Answer { code, answers, authority: Vec::new(), additional: Vec::new() }
}

async fn send(socket: &UdpSocket, response: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(response, client).await {
        tracing::debug!(%client, %error, "response not sent");
    }
}

/// One message of a TCP connection; none at its end.
async fn read_packet(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut packet = vec![0; length.into()];
    stream.read_exact(&mut packet).await?;
    Ok(Some(packet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_fails_for_good_leaves_the_processor_to_others() {
        // To receive on it is an error each time, at once: it is connected to nobody.
        let broken = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let broken = UdpSocket::from_std(broken.into()).expect("watched");
        let zone = Arc::new(ArcSwap::from_pointee(Zone::new("cluster.local", [])));
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let server = Server::new(zone, Vec::new(), tasks.clone(), shutdown.clone());
        server.spawn(Arc::clone(&server).serve_udp(Arc::new(broken)));
        // The clock stands still unless nothing is left to do: with a loop that spins it would for ever.
        tokio::time::sleep(FAILURE_PAUSE * 100).await;
        shutdown.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
