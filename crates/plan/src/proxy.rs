//! Where connections to a Service lead on one node (contract 4.17-4.19, 4.27, 4.28): from Services and their
//! EndpointSlices to one row per Service port. Pure. IPv4 only, as the pod network is.
//!
//! It reads what slices say and never looks at pods: that not-ready addresses are published, for one, is
//! already in their conditions.

mod endpoints;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::endpoints::{HEADLESS_LABEL, SERVICE_NAME_LABEL};
use endpoints::Candidates;

/// Label of Services that another proxy serves.
pub const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// What a plan depends on.
pub struct Observed<'a> {
    /// Every Service.
    pub services: &'a [Arc<Service>],
    /// Every EndpointSlice.
    pub slices: &'a [Arc<EndpointSlice>],
    /// Name of the node that the rows are for.
    pub node: &'a str,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Reads the API's spelling; nothing is TCP.
    fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backends {
    /// To one of these, never none; ascending, each once.
    Endpoints(Vec<SocketAddrV4>),
    /// Nowhere, and the caller is told: nothing serves the port.
    Refused,
    /// Nowhere, in silence: others serve the port, and the Service's policy keeps this caller from them.
    Dropped,
}

/// A port on the node's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePort {
    /// Its number.
    pub port: u16,
    /// For callers on the node and in its pods.
    pub from_here: Backends,
    /// For everybody else.
    pub from_outside: Backends,
}

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `namespace/name`, and `:port` where the port has a name. For people.
    pub label: String,
    /// The Service's own address.
    pub cluster_ip: Ipv4Addr,
    /// Protocol of the port.
    pub protocol: Protocol,
    /// The Service's port.
    pub port: u16,
    /// A client stays with its endpoint for so long after its last connection began, in seconds.
    pub affinity_s: Option<u32>,
    /// Where connections to the Service's own address lead.
    pub backends: Backends,
    /// The port on the node's own addresses, where the Service has one.
    pub node_port: Option<NodePort>,
}

/// The rows of every Service with an address of its own, in the order of the Services and their ports.
pub fn plan(observed: &Observed<'_>) -> Vec<Row> {
    let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in observed.slices {
        if let Some(service) = service_of(slice) {
            slices.entry(service).or_default().push(slice);
        }
    }
    let mut rows = Vec::new();
    for service in observed.services {
        let (Some(spec), Some(cluster_ip)) = (&service.spec, address_of(service)) else { continue };
        let key = (text(&service.metadata.namespace), text(&service.metadata.name));
        let of_service = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
        for port in spec.ports.iter().flatten() {
            rows.extend(row(key, spec, cluster_ip, port, of_service, observed.node));
        }
    }
    rows
}

/// The Service a slice belongs to; none for slices that no proxy serves (contract 4.27).
fn service_of(slice: &EndpointSlice) -> Option<(&str, &str)> {
    let labels = slice.metadata.labels.as_ref()?;
    let served = slice.address_type == "IPv4" && !labels.contains_key(HEADLESS_LABEL);
    let name = labels.get(SERVICE_NAME_LABEL).filter(|_| served)?;
    Some((text(&slice.metadata.namespace), name))
}

/// The Service's own address; none where it has none or is not ours to serve.
fn address_of(service: &Service) -> Option<Ipv4Addr> {
    let spec = service.spec.as_ref()?;
    let foreign = service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL));
    if foreign || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    // "None", the address of headless Services, is no address.
    spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).find_map(|address| address.parse().ok())
}

fn row(
    (namespace, name): (&str, &str),
    spec: &ServiceSpec,
    cluster_ip: Ipv4Addr,
    port: &ServicePort,
    slices: &[&EndpointSlice],
    node: &str,
) -> Option<Row> {
    let protocol = Protocol::parse(port.protocol.as_deref())?;
    let number = u16::try_from(port.port).ok()?;
    let candidates = Candidates::collect(slices, text(&port.name), protocol, node);
    let node_port = port.node_port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0);
    Some(Row {
        label: if text(&port.name).is_empty() {
            format!("{namespace}/{name}")
        } else {
            format!("{namespace}/{name}:{}", text(&port.name))
        },
        cluster_ip,
        protocol,
        port: number,
        affinity_s: affinity_s(spec),
        backends: candidates.backends(is_local(&spec.internal_traffic_policy)),
        node_port: node_port.map(|port| NodePort {
            port,
            from_here: candidates.backends(false),
            from_outside: candidates.backends(is_local(&spec.external_traffic_policy)),
        }),
    })
}

fn affinity_s(spec: &ServiceSpec) -> Option<u32> {
    /// What the API fills in where nothing is said (contract 4.1).
    const DEFAULT_S: i32 = 10_800;
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|client| client.timeout_seconds).unwrap_or(DEFAULT_S);
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

fn is_local(policy: &Option<String>) -> bool {
    policy.as_deref() == Some("Local")
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
