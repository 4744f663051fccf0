//! The cluster's names as a pure function: a snapshot of prepared records and a question give a
//! reply. No I/O, no clock. Behaviour: contract/controllers.md, section 5.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::records::{
    ANSWER_TTL_S, Answer, Code, Data, Kind, NEGATIVE_TTL_S, Question, Record, Reply, SERVICE_NEGATIVE_TTL_S, Soa, Srv,
};
use crate::service::{Bare, PortRecord, ServiceRecords};

const SCHEMA_VERSION: &str = "1.1.0";
const SCHEMA_VERSION_TTL_S: u32 = 28_800;
/// Aliases within the zone are followed so many times.
const ALIAS_DEPTH_MAX: usize = 8;

/// One state of the cluster's names. Cheap to clone: namespaces are shared.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Arc<str>,
    server: Arc<str>,
    server_addresses: Arc<[IpAddr]>,
    serial: u32,
    namespaces: Arc<BTreeSet<Box<str>>>,
    services: HashMap<Box<str>, Arc<Services>>,
}

/// The Services of one namespace, by name.
type Services = HashMap<Box<str>, Arc<ServiceRecords>>;

impl Zone {
    /// The empty zone of `domain`, e.g. `cluster.local`, served at `server_addresses`.
    pub fn new(domain: &str, server_addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        Self {
            server: format!("ns.dns.{domain}").into(),
            domain: domain.into(),
            server_addresses: server_addresses.into_iter().collect(),
            serial: 1,
            namespaces: Arc::default(),
            services: HashMap::new(),
        }
    }

    /// The domain, in lower case and without the final dot.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The zone after this one: the namespaces that exist, if that has changed, and the Services
    /// that have changed, with none for those that are gone.
    pub fn next(
        &self,
        namespaces: Option<BTreeSet<Box<str>>>,
        services: impl IntoIterator<Item = (Box<str>, Box<str>, Option<ServiceRecords>)>,
    ) -> Self {
        let mut next = self.clone();
        next.serial = next.serial.wrapping_add(1);
        if let Some(namespaces) = namespaces {
            next.namespaces = Arc::new(namespaces);
        }
        for (namespace, name, records) in services {
            let of_namespace = Arc::make_mut(next.services.entry(namespace).or_default());
            match records {
                Some(records) => drop(of_namespace.insert(name, Arc::new(records))),
                None => drop(of_namespace.remove(&name)),
            }
        }
        next.services.retain(|_, of_namespace| !of_namespace.is_empty());
        next
    }

    /// What the zone has to say to a question.
    pub fn reply(&self, question: &Question) -> Reply {
        let mut chain = Vec::new();
        let mut name: Arc<str> = question.name.as_str().into();
        for _ in 0..ALIAS_DEPTH_MAX {
            let Some(below) = below(&name, &self.domain) else {
                return if chain.is_empty() {
                    self.outside(&name, question.kind)
                } else {
                    Reply::Alias { chain, target: name }
                };
            };
            let labels: Vec<&str> = below.rsplit('.').filter(|label| !label.is_empty()).collect();
            let Some(target) = self.alias(&labels) else {
                let mut answer = self.inside(&name, &labels, question.kind);
                answer.answers.splice(0..0, chain);
                return Reply::Answer(answer);
            };
            chain.push(Record { name, ttl_s: ANSWER_TTL_S, data: Data::Cname(Arc::clone(&target)) });
            if question.kind == Kind::Cname {
                return Reply::Answer(found(chain));
            }
            name = target;
        }
        Reply::Answer(Answer { code: Code::ServFail, ..found(Vec::new()) })
    }

    /// Where an alias of the zone points.
    fn alias(&self, labels: &[&str]) -> Option<Arc<str>> {
        let ["svc", namespace, service] = labels else { return None };
        match &self.service(namespace, service)?.bare {
            Bare::Alias(target) => Some(Arc::clone(target)),
            Bare::Nothing | Bare::Cluster(_) | Bare::Endpoints(_) => None,
        }
    }

    /// A name within the domain; `labels` are those below it, the highest first.
    fn inside(&self, name: &Arc<str>, labels: &[&str], kind: Kind) -> Answer {
        let found = match *labels {
            [] => return self.apex(name, kind),
            ["dns-version"] => Some(self.version(name, kind)),
            ["dns"] | ["svc"] | ["pod"] => Some(Vec::new()),
            ["dns", "ns"] => Some(addresses(name, &self.server_addresses, kind)),
            ["svc" | "pod", namespace] => self.namespaces.contains(namespace).then(Vec::new),
            ["pod", namespace, host] => self.namespaces.contains(namespace).then(|| pod(name, host, kind)).flatten(),
            ["svc", namespace, service, ref rest @ ..] => {
                let Some(service) = self.service(namespace, service) else { return self.nothing(Code::NxDomain) };
                return self.of_service(service, rest, name, kind);
            }
            _ => None,
        };
        self.conclude(found)
    }

    fn of_service(&self, service: &ServiceRecords, rest: &[&str], name: &Arc<str>, kind: Kind) -> Answer {
        match *rest {
            [] => match (&service.bare, kind) {
                (Bare::Nothing | Bare::Alias(_), _) => self.not_yet(),
                (Bare::Cluster(_) | Bare::Endpoints(_), Kind::Srv) => self.srv(service, name, |_| true),
                (Bare::Cluster(list) | Bare::Endpoints(list), _) => self.conclude(Some(addresses(name, list, kind))),
            },
            [label] => match service.endpoints.get(label) {
                Some(records) if kind == Kind::Srv => self.srv(service, name, |port| port.target == records.name),
                Some(records) => self.conclude(Some(addresses(name, &records.addresses, kind))),
                // It holds the names of ports, and a resolver that hears that it does not exist need not ask for those.
                None if label.strip_prefix('_').is_some_and(|protocol| service.has_named_port(protocol)) => {
                    self.nothing(Code::NoError)
                }
                None => self.not_yet(),
            },
            [protocol, port] => {
                let (Some(protocol), Some(port)) = (protocol.strip_prefix('_'), port.strip_prefix('_')) else {
                    return self.not_yet();
                };
                let asked = |record: &PortRecord| *record.name == *port && *record.protocol == *protocol;
                if port.is_empty() || !service.ports.iter().any(asked) {
                    self.not_yet()
                } else if matches!(kind, Kind::Srv | Kind::Any) {
                    self.srv(service, name, asked)
                } else {
                    self.nothing(Code::NoError)
                }
            }
            _ => self.not_yet(),
        }
    }

    /// The SRV records of the ports that `asked` picks, with the addresses of their hosts (5.4, 5.7, 5.14).
    fn srv(&self, service: &ServiceRecords, name: &Arc<str>, asked: impl Fn(&PortRecord) -> bool) -> Answer {
        let ports: Vec<&PortRecord> = service.ports.iter().filter(|port| asked(port)).collect();
        if ports.is_empty() {
            return self.nothing(Code::NoError);
        }
        let weight = u16::try_from(100 / ports.len()).unwrap_or(1).max(1);
        let mut answer = found(Vec::with_capacity(ports.len()));
        let mut hosts = BTreeSet::new();
        for port in ports {
            let data = Data::Srv(Srv { weight, port: port.number, target: Arc::clone(&port.target) });
            answer.answers.push(Record { name: Arc::clone(name), ttl_s: ANSWER_TTL_S, data });
            if hosts.insert(&port.target) {
                answer.additional.extend(host_addresses(service, &port.target));
            }
        }
        answer
    }

    fn apex(&self, name: &Arc<str>, kind: Kind) -> Answer {
        let record = |data| Record { name: Arc::clone(name), ttl_s: ANSWER_TTL_S, data };
        match kind {
            Kind::Soa => found(vec![record(Data::Soa(self.soa()))]),
            Kind::Ns | Kind::Any => Answer {
                additional: addresses(&self.server, &self.server_addresses, Kind::Any),
                ..found(vec![record(Data::Ns(Arc::clone(&self.server)))])
            },
            Kind::A | Kind::Aaaa | Kind::Cname | Kind::Ptr | Kind::Srv | Kind::Txt | Kind::Other => {
                self.nothing(Code::NoError)
            }
        }
    }

    fn version(&self, name: &Arc<str>, kind: Kind) -> Vec<Record> {
        let text = Record { name: Arc::clone(name), ttl_s: SCHEMA_VERSION_TTL_S, data: Data::Txt(SCHEMA_VERSION) };
        if matches!(kind, Kind::Txt | Kind::Any) { vec![text] } else { Vec::new() }
    }

    /// A name outside the domain: the address of something in the cluster, or another server's.
    fn outside(&self, name: &Arc<str>, kind: Kind) -> Reply {
        let Some(reverse) = below(name, "in-addr.arpa").map(reverse_v4).or(below(name, "ip6.arpa").map(reverse_v6))
        else {
            return Reply::Elsewhere { without: Code::Refused };
        };
        let names = reverse.map(|address| self.names_of(address)).unwrap_or_default();
        if names.is_empty() {
            return Reply::Elsewhere { without: Code::NxDomain };
        }
        let pointer = |target| Record { name: Arc::clone(name), ttl_s: ANSWER_TTL_S, data: Data::Ptr(target) };
        let pointers = names.into_iter().map(pointer).filter(|_| matches!(kind, Kind::Ptr | Kind::Any)).collect();
        Reply::Answer(self.conclude(Some(pointers)))
    }

    /// The names of an address: its Service's, else one for every Service it is an endpoint of (5.8).
    fn names_of(&self, address: IpAddr) -> Vec<Arc<str>> {
        let all = || self.services.values().flat_map(|services| services.values());
        let is_own =
            |service: &&Arc<ServiceRecords>| matches!(&service.bare, Bare::Cluster(own) if own.contains(&address));
        if let Some(service) = all().find(is_own) {
            return vec![Arc::clone(&service.name)];
        }
        let mut names: Vec<_> = all().filter_map(|service| service.endpoint_of.get(&address).cloned()).collect();
        names.sort_unstable();
        names
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&ServiceRecords> {
        Some(self.services.get(namespace)?.get(name)?)
    }

    /// Records of an existing name, or none because there is no such name.
    fn conclude(&self, records: Option<Vec<Record>>) -> Answer {
        match records {
            None => self.nothing(Code::NxDomain),
            Some(records) if records.is_empty() => self.nothing(Code::NoError),
            Some(records) => found(records),
        }
    }

    fn nothing(&self, code: Code) -> Answer {
        self.nothing_for(code, NEGATIVE_TTL_S)
    }

    /// There is no such name of a Service that exists, and there may be one the next moment.
    fn not_yet(&self) -> Answer {
        self.nothing_for(Code::NxDomain, SERVICE_NEGATIVE_TTL_S)
    }

    /// `ttl_s` is for how long this may be remembered: the less of the record's and of what is in it.
    fn nothing_for(&self, code: Code, ttl_s: u32) -> Answer {
        let soa = Record { name: Arc::clone(&self.domain), ttl_s, data: Data::Soa(self.soa()) };
        Answer { code, answers: Vec::new(), authority: vec![soa], additional: Vec::new() }
    }

    fn soa(&self) -> Soa {
        Soa {
            server: Arc::clone(&self.server),
            mailbox: format!("hostmaster.{}", self.domain).into(),
            serial: self.serial,
        }
    }
}

fn found(answers: Vec<Record>) -> Answer {
    Answer { code: Code::NoError, answers, authority: Vec::new(), additional: Vec::new() }
}

fn addresses(name: &Arc<str>, list: &[IpAddr], kind: Kind) -> Vec<Record> {
    list.iter().filter(|address| kind.wants(**address)).map(|address| Record::address(name, *address)).collect()
}

fn host_addresses(service: &ServiceRecords, host: &Arc<str>) -> Vec<Record> {
    let list = match &service.bare {
        Bare::Cluster(list) if *host == service.name => Some(list),
        Bare::Nothing | Bare::Alias(_) | Bare::Cluster(_) | Bare::Endpoints(_) => {
            host.split('.').next().and_then(|label| service.endpoints.get(label)).map(|endpoint| &endpoint.addresses)
        }
    };
    list.map(|list| addresses(host, list, Kind::Any)).unwrap_or_default()
}

/// The address in a pod's name; whether there is such a pod is not looked at (5.10).
fn pod(name: &Arc<str>, host: &str, kind: Kind) -> Option<Vec<Record>> {
    let v4 = host.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
    let address = v4.or_else(|_| host.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6)).ok()?;
    Some(addresses(name, &[address], kind))
}

/// What is left of `name` below `domain`; empty for the domain itself.
fn below<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let rest = name.strip_suffix(domain)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
}

fn reverse_v4(labels: &str) -> Option<IpAddr> {
    let octets: Vec<&str> = labels.rsplit('.').collect();
    octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn reverse_v6(labels: &str) -> Option<IpAddr> {
    let nibbles: Vec<&str> = labels.rsplit('.').collect();
    if nibbles.len() != 32 || nibbles.iter().any(|nibble| nibble.len() != 1) {
        return None;
    }
    let bits = u128::from_str_radix(&nibbles.concat(), 16).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
}
