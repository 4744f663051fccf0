//! The words of the zone: questions, records and answers, free of any wire format.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Seconds a positive answer may be cached. Short, so that failover is quick.
pub const ANSWER_TTL_S: u32 = 5;
/// Seconds "there is no such name" may be cached.
pub const NEGATIVE_TTL_S: u32 = 1;
/// The same for names of a Service that exists: a replica that is about to come must not stay unknown.
pub const SERVICE_NEGATIVE_TTL_S: u32 = 0;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The full name in lower case, without the final dot.
    pub name: String,
    /// The type of record.
    pub kind: Kind,
}

/// The types of record that make a difference to the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Alias.
    Cname,
    /// Name server.
    Ns,
    /// Name of an address.
    Ptr,
    /// Start of authority.
    Soa,
    /// Port and host of a named port.
    Srv,
    /// Text.
    Txt,
    /// Whatever there is.
    Any,
    /// A type the zone has no records of.
    Other,
}

impl Kind {
    /// Whether a question of this type is answered with addresses of this family.
    pub(crate) fn wants(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::A => address.is_ipv4(),
            Self::Aaaa => address.is_ipv6(),
            Self::Cname | Self::Ns | Self::Ptr | Self::Soa | Self::Srv | Self::Txt | Self::Other => false,
        }
    }
}

/// One record. Names are in lower case, without the final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is.
    pub name: Arc<str>,
    /// Seconds it may be cached.
    pub ttl_s: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// Alias of this name.
    Cname(Arc<str>),
    /// Name server.
    Ns(Arc<str>),
    /// Name of the address.
    Ptr(Arc<str>),
    /// Start of authority.
    Soa(Soa),
    /// Port and host.
    Srv(Srv),
    /// Text.
    Txt(&'static str),
}

/// The start of authority of the cluster domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Name server.
    pub server: Arc<str>,
    /// Mailbox of whoever is responsible, as a name.
    pub mailbox: Arc<str>,
    /// Goes up with every change of the zone.
    pub serial: u32,
}

impl Soa {
    /// Seconds between a secondary's looks at the zone.
    pub const REFRESH_S: i32 = 7200;
    /// Seconds until it looks again when that failed.
    pub const RETRY_S: i32 = 1800;
    /// Seconds until it gives up.
    pub const EXPIRE_S: i32 = 86400;
}

/// Where a named port is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Share of the traffic among the records of one answer.
    pub weight: u16,
    /// Port number.
    pub port: u16,
    /// Host.
    pub target: Arc<str>,
}

impl Record {
    /// An address of `name`.
    pub(crate) fn address(name: &Arc<str>, address: IpAddr) -> Self {
        let data = match address {
            IpAddr::V4(address) => Data::A(address),
            IpAddr::V6(address) => Data::Aaaa(address),
        };
        Self { name: Arc::clone(name), ttl_s: ANSWER_TTL_S, data }
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The name exists; `answers` holds what there is of the type.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// The name cannot be resolved now.
    ServFail,
    /// The name is none of our business.
    Refused,
}

/// An answer of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ends.
    pub code: Code,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// The start of authority, when there is nothing to answer.
    pub authority: Vec<Record>,
    /// Addresses of the hosts in `answers`.
    pub additional: Vec<Record>,
}

/// What the zone has to say to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The zone knows.
    Answer(Answer),
    /// The name is an alias of a name that the zone does not hold; that one is to be looked up.
    Alias {
        /// The chain of CNAME records so far.
        chain: Vec<Record>,
        /// The name to look up.
        target: Arc<str>,
    },
    /// The question is for another server; `without` is the answer when there is none.
    Elsewhere {
        /// How to answer without another server.
        without: Code,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ttl_s, data } = self;
        write!(f, "{name} {ttl_s} ")?;
        match data {
            Data::A(address) => write!(f, "A {address}"),
            Data::Aaaa(address) => write!(f, "AAAA {address}"),
            Data::Cname(target) => write!(f, "CNAME {target}"),
            Data::Ns(server) => write!(f, "NS {server}"),
            Data::Ptr(target) => write!(f, "PTR {target}"),
            Data::Soa(Soa { server, mailbox, serial }) => write!(f, "SOA {server} {mailbox} {serial}"),
            Data::Srv(Srv { weight, port, target }) => write!(f, "SRV 0 {weight} {port} {target}"),
            Data::Txt(text) => write!(f, "TXT {text:?}"),
        }
    }
}
