//! Between packets and the zone's own words. Reads requests, builds responses that keep the case of
//! the question, and cuts them to what the transport carries. Pure; hickory does the bit work.

use std::borrow::Cow;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};

use crate::records::{Answer, Code, Data, Kind, Question, Record, Soa};

const HEADER_BYTES: usize = 12;
/// What a UDP response may take when the client says nothing, and the least it may ask for.
const UDP_BYTES_MIN: usize = 512;
/// What a UDP response may take at most: fits any path without fragments.
const UDP_BYTES_MAX: u16 = 1232;

/// A record is never shorter: a reference to its name, type, class, time, length, and an IPv4 address.
const RECORD_BYTES_MIN: usize = 16;

/// How a request came, and its response goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A request that can be answered.
#[derive(Debug)]
pub(crate) struct Request {
    message: Message,
    asked: Name,
    pub(crate) question: Question,
    limit_bytes: usize,
}

/// Why a packet is not a request that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Not worth a word: too short, or itself a response.
    Ignore,
    /// To be told this.
    Tell(Vec<u8>),
}

impl Request {
    /// Reads a packet.
    pub(crate) fn parse(packet: &[u8], transport: Transport) -> Result<Self, Reject> {
        let [id_high, id_low, flags, ..] = *packet else { return Err(Reject::Ignore) };
        if packet.len() < HEADER_BYTES || flags & 0x80 != 0 {
            return Err(Reject::Ignore);
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        let Ok(message) = Message::from_vec(packet) else {
            return Err(tell(&Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)));
        };
        let reject = |code| Err(tell(&Message::error_msg(id, message.metadata.op_code, code)));
        if message.metadata.op_code != OpCode::Query {
            return reject(ResponseCode::NotImp);
        }
        let [query] = message.queries.as_slice() else { return reject(ResponseCode::FormErr) };
        if query.query_class() != DNSClass::IN {
            return reject(ResponseCode::Refused);
        }
        let asked = query.name().clone();
        let question = Question { name: text_of(&asked), kind: kind_of(query.query_type()) };
        let limit_bytes = match (transport, &message.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => UDP_BYTES_MIN,
            (Transport::Udp, Some(edns)) => UDP_BYTES_MIN.max(edns.max_payload().min(UDP_BYTES_MAX).into()),
        };
        Ok(Self { message, asked, question, limit_bytes })
    }

    /// The response with `answer`, followed by records another server `added`. `turn` rotates hosts,
    /// so that clients that take the first one spread.
    pub(crate) fn respond(&self, answer: &Answer, added: Vec<WireRecord>, recursive: bool, turn: usize) -> Vec<u8> {
        let mut response = Message::response(self.message.metadata.id, OpCode::Query);
        response.metadata.recursion_desired = self.message.metadata.recursion_desired;
        response.metadata.recursion_available = recursive;
        response.metadata.authoritative = answer.code != Code::Refused;
        response.metadata.response_code = code_of(answer.code);
        response.queries.clone_from(&self.message.queries);
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES_MAX);
            response.edns = Some(edns);
        }
        let section = |records: &[Record]| records.iter().filter_map(|record| self.record(record)).collect::<Vec<_>>();
        response.answers = section(&self.window(&answer.answers, turn));
        response.answers.extend(added);
        rotate(&mut response.answers, turn);
        response.authorities = section(&answer.authority);
        response.additionals = section(&answer.additional);
        within(response, self.limit_bytes)
    }

    /// The answers, or of very many, another part each turn, one more than can fit: the rest is not worth encoding.
    fn window<'a>(&self, answers: &'a [Record], turn: usize) -> Cow<'a, [Record]> {
        let most = self.limit_bytes / RECORD_BYTES_MIN + 1;
        let is_alias = |record: &Record| matches!(record.data, Data::Cname(_));
        if answers.len() <= most || answers.iter().any(is_alias) {
            return Cow::Borrowed(answers);
        }
        answers.iter().cycle().skip(turn % answers.len()).take(most).cloned().collect()
    }

    /// A packet that asks another server for `name` instead.
    pub(crate) fn for_name(&self, name: &str) -> Option<Vec<u8>> {
        let mut message = self.message.clone();
        message.queries.first_mut()?.set_name(name_of(name)?);
        message.metadata.recursion_desired = true;
        encode(&message)
    }

    fn record(&self, record: &Record) -> Option<WireRecord> {
        let owner = if *record.name == *self.question.name { self.asked.clone() } else { name_of(&record.name)? };
        Some(WireRecord::from_rdata(owner, record.ttl_s, data_of(&record.data)?))
    }
}

/// The answers in another server's response, and whether it could resolve the name.
pub(crate) fn answers_of(packet: &[u8]) -> Option<(Vec<WireRecord>, Code)> {
    let message = Message::from_vec(packet).ok()?;
    let code = match message.metadata.response_code {
        ResponseCode::NoError => Code::NoError,
        ResponseCode::NXDomain => Code::NxDomain,
        _ => Code::ServFail,
    };
    Some((message.answers, code))
}

/// Whether a response says that it was cut to what UDP carries.
pub(crate) fn is_truncated(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Where the first question of a packet ends; none when it has no well-formed one.
pub(crate) fn question_end(packet: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1 + length;
        match length {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    let end = at + 4;
    (end <= packet.len()).then_some(end)
}

fn kind_of(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::CNAME => Kind::Cname,
        RecordType::NS => Kind::Ns,
        RecordType::PTR => Kind::Ptr,
        RecordType::SOA => Kind::Soa,
        RecordType::SRV => Kind::Srv,
        RecordType::TXT => Kind::Txt,
        RecordType::ANY => Kind::Any,
        _ => Kind::Other,
    }
}

fn code_of(code: Code) -> ResponseCode {
    match code {
        Code::NoError => ResponseCode::NoError,
        Code::NxDomain => ResponseCode::NXDomain,
        Code::ServFail => ResponseCode::ServFail,
        Code::Refused => ResponseCode::Refused,
    }
}

fn data_of(data: &Data) -> Option<RData> {
    Some(match data {
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Cname(target) => RData::CNAME(CNAME(name_of(target)?)),
        Data::Ns(server) => RData::NS(NS(name_of(server)?)),
        Data::Ptr(target) => RData::PTR(PTR(name_of(target)?)),
        Data::Soa(Soa { server, mailbox, serial }) => RData::SOA(SOA::new(
            name_of(server)?,
            name_of(mailbox)?,
            *serial,
            Soa::REFRESH_S,
            Soa::RETRY_S,
            Soa::EXPIRE_S,
            crate::records::NEGATIVE_TTL_S,
        )),
        Data::Srv(srv) => RData::SRV(SRV::new(0, srv.weight, srv.port, name_of(&srv.target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![(*text).to_owned()])),
    })
}

/// A name as the zone writes it. A dot within a label is marked, so that it is no separator.
fn text_of(name: &Name) -> String {
    let label = |label: &[u8]| String::from_utf8_lossy(label).to_ascii_lowercase().replace('.', "\\.");
    name.iter().map(label).collect::<Vec<_>>().join(".")
}

/// None for what no packet can hold, such as a label of more than 63 bytes in an external name.
fn name_of(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Rotates the answers that are not aliases; those stay first.
fn rotate(answers: &mut [WireRecord], turn: usize) {
    let hosts = answers.iter().position(|record| record.record_type() != RecordType::CNAME);
    if let Some(hosts) = hosts.and_then(|first| answers.get_mut(first..))
        && hosts.iter().all(|record| record.record_type() != RecordType::CNAME)
    {
        hosts.rotate_left(turn % hosts.len());
    }
}

/// Encodes within `limit_bytes`: first without additional records, then with as many answers as fit and the
/// mark that there are more.
fn within(mut response: Message, limit_bytes: usize) -> Vec<u8> {
    loop {
        let Some(packet) = encode(&response) else {
            let (id, op_code) = (response.metadata.id, response.metadata.op_code);
            return encode(&Message::error_msg(id, op_code, ResponseCode::ServFail)).unwrap_or_default();
        };
        let fits = response.answers.len() * limit_bytes / packet.len().max(1);
        if packet.len() <= limit_bytes && !response.metadata.truncation {
            return packet;
        } else if !response.additionals.is_empty() {
            response.additionals.clear();
        } else if packet.len() <= limit_bytes || response.answers.is_empty() {
            return packet;
        } else {
            response.metadata.truncation = true;
            response.authorities.clear();
            response.answers.truncate(fits.min(response.answers.len() - 1));
        }
    }
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().inspect_err(|error| tracing::warn!(%error, "a response cannot be encoded")).ok()
}

fn tell(message: &Message) -> Reject {
    debug_assert_eq!(message.metadata.message_type, MessageType::Response);
    encode(message).map_or(Reject::Ignore, Reject::Tell)
}
