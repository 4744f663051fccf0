//! The server over loopback: both transports, the limits of datagrams, the case of names, and other
//! servers that answer, lie or stay silent.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::{endpoint, external, service, slice, zone};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use stead_dns::{Server, Sockets, Zone};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Running {
    address: SocketAddr,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn serve(zone: Zone, upstreams: Vec<SocketAddr>) -> Running {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let server = Server::new(Arc::new(ArcSwap::from_pointee(zone)), upstreams, tasks.clone(), shutdown.clone());
    let sockets = Sockets::bind(LOOPBACK).unwrap();
    let address = sockets.address();
    server.serve(sockets);
    tasks.close();
    Running { address, tasks, shutdown }
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn over_udp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    socket.send_to(packet, server).await.unwrap();
    let mut response = vec![0; 65_535];
    let length = socket.recv(&mut response).await.unwrap();
    response[..length].to_vec()
}

async fn ask_udp(server: SocketAddr, message: &Message) -> (usize, Message) {
    let response = over_udp(server, &message.to_vec().unwrap()).await;
    (response.len(), Message::from_vec(&response).unwrap())
}

async fn ask_tcp(stream: &mut TcpStream, message: &Message) -> Message {
    let packet = message.to_vec().unwrap();
    stream.write_u16(packet.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&packet).await.unwrap();
    let mut response = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut response).await.unwrap();
    Message::from_vec(&response).unwrap()
}

/// A headless Service with so many replicas.
fn replicas(count: u8) -> Zone {
    let endpoints = (0..count).map(|i| endpoint(&format!("web-{i}"), &format!("10.244.0.{i}"), Some(true))).collect();
    zone(
        vec![service("default/nginx", &["None"], &["web/TCP/80"])],
        vec![slice("default/nginx-1", "nginx", endpoints, &["web/TCP/80"])],
    )
}

fn hosts(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn a_question_is_answered_over_both_transports_in_its_own_case() {
    let dns = serve(replicas(3), vec![]);
    let asked = query("Web-1.NGINX.default.svc.Cluster.local.", RecordType::A);
    let mut stream = TcpStream::connect(dns.address).await.unwrap();
    for response in [ask_udp(dns.address, &asked).await.1, ask_tcp(&mut stream, &asked).await] {
        assert_eq!(response.metadata.id, 4711);
        assert!(response.metadata.authoritative && response.metadata.recursion_desired);
        assert!(!response.metadata.truncation && !response.metadata.recursion_available);
        assert_eq!(response.queries, asked.queries);
        let [record] = response.answers.as_slice() else { panic!("{response:?}") };
        assert!(record.name.eq_case(asked.queries[0].name()), "{}", record.name);
        assert_eq!((record.data.to_string().as_str(), record.ttl), ("10.244.0.1", 5));
    }
    let missing = ask_tcp(&mut stream, &query("web-9.nginx.default.svc.cluster.local.", RecordType::AAAA)).await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    let [authority] = missing.authorities.as_slice() else { panic!("{missing:?}") };
    let RData::SOA(soa) = &authority.data else { panic!("{authority:?}") };
    assert_eq!((authority.ttl, soa.minimum), (0, 1), "a replica that comes soon must not stay unknown");
    dns.stop().await;
}

#[tokio::test]
async fn the_first_host_is_another_one_each_time() {
    let dns = serve(replicas(3), vec![]);
    let asked = query("nginx.default.svc.cluster.local.", RecordType::A);
    let mut first = Vec::new();
    for _ in 0..3 {
        let (_, response) = ask_udp(dns.address, &asked).await;
        let mut all = hosts(&response);
        first.push(all[0].clone());
        all.sort();
        assert_eq!(all, ["10.244.0.0", "10.244.0.1", "10.244.0.2"]);
    }
    first.sort();
    assert_eq!(first, ["10.244.0.0", "10.244.0.1", "10.244.0.2"]);
    dns.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_marked_and_complete_over_tcp() {
    let dns = serve(replicas(200), vec![]);
    let mut asked = query("nginx.default.svc.cluster.local.", RecordType::A);
    let (length, plain) = ask_udp(dns.address, &asked).await;
    assert!(length <= 512 && plain.metadata.truncation && !plain.answers.is_empty(), "{length} bytes");

    asked.edns = Some(Edns::new());
    asked.edns.as_mut().unwrap().set_max_payload(4096);
    let (length, extended) = ask_udp(dns.address, &asked).await;
    assert!(length <= 1232 && extended.metadata.truncation && extended.edns.is_some(), "{length} bytes");
    assert!(extended.answers.len() > plain.answers.len());

    let mut stream = TcpStream::connect(dns.address).await.unwrap();
    let whole = ask_tcp(&mut stream, &asked).await;
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (200, false));

    // Addresses that come along are left out before answers are.
    let dns_of_few = serve(replicas(8), vec![]);
    let (length, few) = ask_udp(dns_of_few.address, &query("nginx.default.svc.cluster.local.", RecordType::SRV)).await;
    assert!(length <= 512 && !few.metadata.truncation, "{length} bytes");
    assert_eq!((few.answers.len(), few.additionals.len()), (8, 0));
    dns_of_few.stop().await;
    dns.stop().await;
}

#[tokio::test]
async fn what_is_no_question_is_told_so() {
    let dns = serve(replicas(1), vec![]);
    let code = |packet: Vec<u8>| async move {
        Message::from_vec(&over_udp(dns.address, &packet).await).unwrap().metadata.response_code
    };
    let good = query("nginx.default.svc.cluster.local.", RecordType::A);
    let mut two = good.clone();
    two.add_query(good.queries[0].clone());
    assert_eq!(code(two.to_vec().unwrap()).await, ResponseCode::FormErr);
    let mut notify = good.clone();
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(notify.to_vec().unwrap()).await, ResponseCode::NotImp);
    let mut cut = good.to_vec().unwrap();
    cut.truncate(20);
    assert_eq!(code(cut).await, ResponseCode::FormErr);
    assert_eq!(code(query("example.org.", RecordType::A).to_vec().unwrap()).await, ResponseCode::Refused);
    assert_eq!(code(query("1.2.0.192.in-addr.arpa.", RecordType::PTR).to_vec().unwrap()).await, ResponseCode::NXDomain);
    dns.stop().await;
}

/// A server that answers every address question with 192.0.2.1, over UDP and TCP, with a forged
/// response before each true one over UDP.
fn upstream() -> Running {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let answer = |packet: &[u8], id_offset: u16, host: [u8; 4]| {
        let request = Message::from_vec(packet).unwrap();
        let mut response = Message::response(request.metadata.id.wrapping_add(id_offset), OpCode::Query);
        response.queries.clone_from(&request.queries);
        let name = request.queries[0].name().clone();
        response.add_answer(Record::from_rdata(name, 60, RData::A(A(host.into()))));
        response.to_vec().unwrap()
    };
    let tcp = std::net::TcpListener::bind(LOOPBACK).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = std::net::UdpSocket::bind(address).unwrap();
    udp.set_nonblocking(true).unwrap();
    let udp = UdpSocket::from_std(udp).unwrap();
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
        let mut packet = vec![0; 4096];
        loop {
            let (length, client) = udp.recv_from(&mut packet).await.unwrap();
            for (id_offset, host) in [(1, [203, 0, 113, 66]), (0, [192, 0, 2, 1])] {
                udp.send_to(&answer(&packet[..length], id_offset, host), client).await.unwrap();
            }
        }
    }));
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut packet = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut packet).await.unwrap();
            let response = answer(&packet, 0, [192, 0, 2, 1]);
            stream.write_u16(response.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&response).await.unwrap();
        }
    }));
    tasks.close();
    Running { address, tasks, shutdown }
}

#[tokio::test]
async fn other_names_are_asked_of_the_next_server_that_answers() {
    let upstream = upstream();
    // Nobody listens at the first one any more.
    let gone = UdpSocket::bind(LOOPBACK).await.unwrap().local_addr().unwrap();
    let services = vec![external("default/out", "db.example.org")];
    let dns = serve(zone(services, vec![]), vec![gone, upstream.address]);
    let mut stream = TcpStream::connect(dns.address).await.unwrap();

    let asked = query("Example.ORG.", RecordType::A);
    for response in [ask_udp(dns.address, &asked).await.1, ask_tcp(&mut stream, &asked).await] {
        assert_eq!((response.metadata.id, hosts(&response)), (4711, vec!["192.0.2.1".to_owned()]));
        assert!(response.queries[0].name().eq_case(asked.queries[0].name()));
    }

    let alias = query("out.default.svc.cluster.local.", RecordType::A);
    let (_, response) = ask_udp(dns.address, &alias).await;
    let shown: Vec<_> = response.answers.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
    assert_eq!(shown, ["out.default.svc.cluster.local. db.example.org.", "db.example.org. 192.0.2.1"]);
    assert!(response.metadata.recursion_available);

    let (_, missing) = ask_udp(dns.address, &query("nobody.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain, "names of the domain are not passed on");
    dns.stop().await;
    upstream.stop().await;
}

#[tokio::test]
async fn when_no_other_server_can_be_reached_that_is_a_failure() {
    let gone = UdpSocket::bind(LOOPBACK).await.unwrap().local_addr().unwrap();
    let dns = serve(replicas(1), vec![gone]);
    let (_, response) = ask_udp(dns.address, &query("example.org.", RecordType::A)).await;
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    let (_, ours) = ask_udp(dns.address, &query("web-0.nginx.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(hosts(&ours), ["10.244.0.0"]);
    dns.stop().await;
}

/// Bursts come while the server does something else: here the test, which does not give way while it sends.
#[tokio::test]
async fn a_burst_of_ten_thousand_questions_is_answered() {
    const CLIENTS: usize = 50;
    const EACH: usize = 200;
    let dns = serve(replicas(3), vec![]);
    let asked = query("web-1.nginx.default.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let probe = UdpSocket::bind(LOOPBACK).await.unwrap();
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&probe, 8 << 20).is_err() {
        return eprintln!("only root can make room for a burst");
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        client.set_nonblocking(true).unwrap();
        (0..EACH).for_each(|_| assert_eq!(client.send_to(&asked, dns.address).unwrap(), asked.len()));
        clients.push(UdpSocket::from_std(client).unwrap());
    }
    let all = async {
        let mut response = [0; 512];
        for client in &clients {
            for _ in 0..EACH {
                assert!(client.recv(&mut response).await.unwrap() > asked.len());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("every question has its answer");
    dns.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_gives_its_place_up() {
    let dns = serve(replicas(200), vec![]);
    let loops = dns.tasks.len();
    let mut asked = query("nginx.default.svc.cluster.local.", RecordType::SRV).to_vec().unwrap();
    let length = u16::try_from(asked.len()).unwrap();
    asked.splice(0..0, length.to_be_bytes());
    let stream = TcpStream::connect(dns.address).await.unwrap();
    // Until neither side can send any more, so does the server not.
    while tokio::time::timeout(Duration::from_millis(500), stream.writable()).await.is_ok() {
        while stream.try_write(&asked).is_ok() {}
    }
    assert_eq!(dns.tasks.len(), loops + 1, "one connection is open");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(dns.tasks.len(), loops);
    dns.stop().await;
}
