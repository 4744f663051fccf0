//! A small cluster for the tests of names: builders of typed objects and the zone made of them.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_client::Change;
use stead_dns::{Code, Feed, Kind, Question, Reply, Zone};

pub(crate) fn meta(path: &str) -> ObjectMeta {
    let (namespace, name) = path.split_once('/').unwrap();
    ObjectMeta { namespace: Some(namespace.into()), name: Some(name.into()), ..ObjectMeta::default() }
}

pub(crate) fn namespace(name: &str) -> Namespace {
    let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    Namespace { metadata, ..Namespace::default() }
}

/// A Service at these cluster IPs, or headless for `None`. Ports are `name/PROTOCOL/number`.
pub(crate) fn service(path: &str, cluster_ips: &[&str], ports: &[&str]) -> Service {
    let ports = ports.iter().map(|port| {
        let [name, protocol, number] = split(port);
        ServicePort {
            name: Some(name).filter(|name| !name.is_empty()),
            protocol: Some(protocol),
            port: number.parse().unwrap(),
            ..ServicePort::default()
        }
    });
    let spec = ServiceSpec {
        cluster_ip: cluster_ips.first().map(|ip| (*ip).to_owned()),
        cluster_ips: Some(cluster_ips.iter().map(|ip| (*ip).to_owned()).collect()),
        ports: Some(ports.collect()),
        ..ServiceSpec::default()
    };
    Service { metadata: meta(path), spec: Some(spec), ..Service::default() }
}

pub(crate) fn external(path: &str, name: &str) -> Service {
    let spec =
        ServiceSpec { type_: Some("ExternalName".into()), external_name: Some(name.into()), ..ServiceSpec::default() };
    Service { metadata: meta(path), spec: Some(spec), ..Service::default() }
}

/// A slice of `service`, in its namespace.
pub(crate) fn slice(path: &str, service: &str, endpoints: Vec<Endpoint>, ports: &[&str]) -> EndpointSlice {
    let ports = ports.iter().map(|port| {
        let [name, protocol, number] = split(port);
        EndpointPort {
            name: Some(name),
            protocol: Some(protocol),
            port: Some(number.parse().unwrap()),
            ..EndpointPort::default()
        }
    });
    let labels = BTreeMap::from([("kubernetes.io/service-name".to_owned(), service.to_owned())]);
    EndpointSlice {
        address_type: "IPv4".into(),
        metadata: ObjectMeta { labels: Some(labels), ..meta(path) },
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

/// An endpoint; without a hostname for an empty one.
pub(crate) fn endpoint(hostname: &str, address: &str, ready: Option<bool>) -> Endpoint {
    Endpoint {
        addresses: vec![address.into()],
        hostname: Some(hostname.to_owned()).filter(|name| !name.is_empty()),
        conditions: Some(EndpointConditions { ready, ..EndpointConditions::default() }),
        ..Endpoint::default()
    }
}

fn split<const N: usize>(text: &str) -> [String; N] {
    text.split('/').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

pub(crate) fn applied<K>(new: K) -> Change<K> {
    Change::Applied { old: None, new: Arc::new(new) }
}

/// The zone of these objects in the namespaces `default` and `other`.
pub(crate) fn zone(services: Vec<Service>, slices: Vec<EndpointSlice>) -> Zone {
    let feed = Feed::default();
    for name in ["default", "other"] {
        feed.namespace(&applied(namespace(name)));
    }
    services.into_iter().for_each(|service| feed.service(&applied(service)));
    slices.into_iter().for_each(|slice| feed.slice(&applied(slice)));
    let server: IpAddr = "10.96.0.10".parse().unwrap();
    feed.bring_up_to_date(&Zone::new("cluster.local", [server]))
}

/// Asks `KIND name` and tells what comes back, one record to a line.
pub(crate) fn ask(zone: &Zone, question: &str) -> String {
    let (kind, name) = question.split_once(' ').unwrap();
    let kind = match kind {
        "A" => Kind::A,
        "AAAA" => Kind::Aaaa,
        "CNAME" => Kind::Cname,
        "NS" => Kind::Ns,
        "PTR" => Kind::Ptr,
        "SOA" => Kind::Soa,
        "SRV" => Kind::Srv,
        "TXT" => Kind::Txt,
        "ANY" => Kind::Any,
        _ => Kind::Other,
    };
    let name = if name.contains('.') { name.to_owned() } else { format!("{name}.cluster.local") };
    let name = name.replace(".~", ".svc.cluster.local");
    let mut told = format!("? {question}\n");
    match zone.reply(&Question { name, kind }) {
        Reply::Answer(answer) => {
            let what = match answer.code {
                Code::NoError if answer.answers.is_empty() => "no data",
                Code::NoError => "",
                Code::NxDomain => "no such name",
                Code::ServFail => "failure",
                Code::Refused => "refused",
            };
            let sections =
                [("  ", &answer.answers), ("  authority: ", &answer.authority), ("  also: ", &answer.additional)];
            told += &if what.is_empty() { String::new() } else { format!("  {what}\n") };
            for (mark, records) in sections {
                records.iter().for_each(|record| told += &format!("{mark}{record}\n"));
            }
        }
        Reply::Alias { chain, target } => {
            chain.iter().for_each(|record| told += &format!("  {record}\n"));
            told += &format!("  look up {target}\n");
        }
        Reply::Elsewhere { without } => told += &format!("  elsewhere, or {without:?}\n"),
    }
    told
}

/// Asks each line of `questions`.
pub(crate) fn ask_all(zone: &Zone, questions: &str) -> String {
    questions.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| ask(zone, line)).collect()
}
