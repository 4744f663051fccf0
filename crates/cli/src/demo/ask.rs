//! Asking replicas over HTTP and the cluster's name server over UDP, as any client in the pod network
//! would.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::manifest::PORT;

const ANSWER_MAX: Duration = Duration::from_secs(5);
const DNS_PORT: u16 = 53;
const DATAGRAM_BYTES: usize = 4096;

/// Tells a replica something to keep.
pub(super) async fn post(ip: Ipv4Addr, note: &str) -> io::Result<String> {
    http(ip, &format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{note}", note.len())).await
}

/// What a replica keeps.
pub(super) async fn get(ip: Ipv4Addr) -> io::Result<String> {
    http(ip, "GET / HTTP/1.0\r\n\r\n").await
}

async fn http(ip: Ipv4Addr, request: &str) -> io::Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect((ip, PORT)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.contains(" 200 ") { Ok(body.to_owned()) } else { Err(io::Error::other(head.to_owned())) }
    };
    tokio::time::timeout(ANSWER_MAX, asked).await?
}

/// The first address of a name; none when there is no such name.
pub(super) async fn resolve(server: Ipv4Addr, name: &str) -> io::Result<Option<Ipv4Addr>> {
    let name = Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
    let mut query = Message::new(1, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(name, RecordType::A));
    let asked = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(SocketAddr::from((server, DNS_PORT))).await?;
        socket.send(&query.to_vec().map_err(io::Error::other)?).await?;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let length = socket.recv(&mut buffer).await?;
        let answer = Message::from_vec(&buffer[..length]).map_err(io::Error::other)?;
        Ok(answer.answers.iter().find_map(|record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        }))
    };
    tokio::time::timeout(ANSWER_MAX, asked).await?
}
