//! The kernel's memory of UDP flows: lists them and has it forget some. Knows the wire format of ctnetlink and
//! decides nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_NEW`, `_GET` and `_DELETE`.
const FLOW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// Attributes of a flow, and of the tuples in it.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_V4_SOURCE: u16 = 1;
const IP_V4_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
/// Bits of `STATUS`: `IPS_SRC_NAT` and `IPS_DST_NAT`.
const SOURCE_TRANSLATED: u32 = 1 << 4;
const DESTINATION_TRANSLATED: u32 = 1 << 5;

/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER_BYTES: usize = 16;
const FAMILY_BYTES: usize = 4;
/// Enough for any datagram of a dump.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// The kernel answers at once or never.
const ANSWER_S_MAX: i64 = 5;

/// A UDP flow that the kernel remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Where its first packet was sent to.
    pub(crate) destination: SocketAddrV4,
    /// Where answers come from: after translation, the endpoint.
    pub(crate) answered_by: SocketAddrV4,
    /// Its destination was translated.
    pub(crate) destination_translated: bool,
    /// Its source was translated.
    pub(crate) source_translated: bool,
    /// The attribute that names it to the kernel.
    name: Vec<u8>,
}

/// The flows of one network namespace.
pub(crate) struct Flows {
    socket: OwnedFd,
}

impl Flows {
    /// Opens the flows of the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_S_MAX, 0))?;
        Ok(Self { socket })
    }

    /// Forgets the UDP flows that `stale` picks; gives how many. Blocks.
    pub(crate) fn forget(&self, stale: impl Fn(&Flow) -> bool) -> io::Result<usize> {
        let flows: Vec<Flow> = self.list()?.into_iter().filter(stale).collect();
        for flow in &flows {
            self.delete(flow)?;
        }
        Ok(flows.len())
    }

    fn list(&self) -> io::Result<Vec<Flow>> {
        self.send(GET, libc::NLM_F_REQUEST | libc::NLM_F_DUMP, &[])?;
        let mut flows = Vec::new();
        loop {
            let datagram = self.receive()?;
            for message in messages(&datagram) {
                match message.kind {
                    FLOW => flows.extend(message.body.get(FAMILY_BYTES..).and_then(flow)),
                    kind if i32::from(kind) == libc::NLMSG_DONE => return Ok(flows),
                    kind if i32::from(kind) == libc::NLMSG_ERROR => outcome(message.body)?,
                    _ => {}
                }
            }
        }
    }

    fn delete(&self, flow: &Flow) -> io::Result<()> {
        self.send(DELETE, libc::NLM_F_REQUEST | libc::NLM_F_ACK, &flow.name)?;
        loop {
            let datagram = self.receive()?;
            let is_answer = |message: &Message<'_>| i32::from(message.kind) == libc::NLMSG_ERROR;
            let Some(answer) = messages(&datagram).find(is_answer) else { continue };
            return match outcome(answer.body) {
                // It came to its end by itself meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                outcome => outcome,
            };
        }
    }

    fn send(&self, kind: u16, flags: i32, attributes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(HEADER_BYTES + FAMILY_BYTES + attributes.len()).map_err(io::Error::other)?;
        let flags = u16::try_from(flags).map_err(io::Error::other)?;
        let family = [u8::try_from(libc::AF_INET).map_err(io::Error::other)?, 0, 0, 0];
        let message =
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], &family, attributes];
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.socket.as_raw_fd(), &message.concat(), &kernel, MsgFlags::empty())?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let length = recv(self.socket.as_raw_fd(), &mut datagram, MsgFlags::empty())?;
        datagram.truncate(length);
        Ok(datagram)
    }
}

struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

/// The messages of a datagram; what is cut off at its end is left out.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*datagram.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*datagram.get(4..)?.first_chunk()?);
        let body = datagram.get(HEADER_BYTES..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// The attributes in a run of them: type and payload.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Leaves the bits out that say how the payload is made.
    const TYPE: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & TYPE;
        let payload = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, payload)| (kind == wanted).then_some(payload))
}

/// What an error message says; zero is success.
fn outcome(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads the attributes of a flow; none when it is not of UDP over IPv4.
fn flow(bytes: &[u8]) -> Option<Flow> {
    let original = attribute(bytes, TUPLE_ORIGINAL)?;
    let status = attribute(bytes, STATUS).and_then(|payload| payload.first_chunk());
    let status = status.map_or(0, |bits| u32::from_be_bytes(*bits));
    let length = u16::try_from(original.len() + 4).ok()?;
    let kind = TUPLE_ORIGINAL | u16::try_from(libc::NLA_F_NESTED).ok()?;
    Some(Flow {
        destination: end(original, IP_V4_DESTINATION, PROTOCOL_DESTINATION_PORT)?,
        answered_by: end(attribute(bytes, TUPLE_REPLY)?, IP_V4_SOURCE, PROTOCOL_SOURCE_PORT)?,
        destination_translated: status & DESTINATION_TRANSLATED != 0,
        source_translated: status & SOURCE_TRANSLATED != 0,
        name: [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), original].concat(),
    })
}

/// One end of a tuple.
fn end(tuple: &[u8], ip: u16, port: u16) -> Option<SocketAddrV4> {
    let protocol = attribute(tuple, TUPLE_PROTOCOL)?;
    if i32::from(*attribute(protocol, PROTOCOL_NUMBER)?.first()?) != libc::IPPROTO_UDP {
        return None;
    }
    let ip: [u8; 4] = *attribute(attribute(tuple, TUPLE_IP)?, ip)?.first_chunk()?;
    let port = u16::from_be_bytes(*attribute(protocol, port)?.first_chunk()?);
    Some(SocketAddrV4::new(Ipv4Addr::from(ip), port))
}

#[cfg(test)]
impl Flow {
    /// A flow as far as those who judge it look at it.
    pub(crate) fn for_test(destination: SocketAddrV4, answered_by: SocketAddrV4, source_translated: bool) -> Self {
        let destination_translated = destination != answered_by;
        Self { destination, answered_by, destination_translated, source_translated, name: Vec::new() }
    }
}
