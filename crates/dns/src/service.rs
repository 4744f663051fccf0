//! The records of one Service, prepared from the Service and its EndpointSlices. Pure.
//! Behaviour: contract/controllers.md, sections 5.3 to 5.9 and 5.14 to 5.16.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

const EXTERNAL_NAME: &str = "ExternalName";
const HEADLESS: &str = "None";

/// Everything the zone says about one Service, ready to be looked up.
#[derive(Debug, Default)]
pub struct ServiceRecords {
    /// `<service>.<namespace>.svc.<domain>`.
    pub(crate) name: Arc<str>,
    /// What the bare name stands for.
    pub(crate) bare: Bare,
    /// Endpoint name to its records.
    pub(crate) endpoints: BTreeMap<Box<str>, EndpointRecords>,
    /// One per port and host that serves it.
    pub(crate) ports: Vec<PortRecord>,
    /// Address to the full name of the endpoint that has it.
    pub(crate) endpoint_of: HashMap<IpAddr, Arc<str>>,
}

/// What the bare name of a Service stands for.
#[derive(Debug, Default)]
pub(crate) enum Bare {
    /// Nothing: an external name that is no name, or a headless Service without ready endpoints.
    #[default]
    Nothing,
    /// Another name.
    Alias(Arc<str>),
    /// The Service's own addresses.
    Cluster(Vec<IpAddr>),
    /// The addresses of its ready endpoints.
    Endpoints(Vec<IpAddr>),
}

/// An endpoint, or several of the same name.
#[derive(Debug)]
pub(crate) struct EndpointRecords {
    /// `<endpoint>.<service>.<namespace>.svc.<domain>`.
    pub(crate) name: Arc<str>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// A port as SRV records show it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PortRecord {
    /// Name of the port, or empty.
    pub(crate) name: Box<str>,
    /// Protocol in lower case.
    pub(crate) protocol: Box<str>,
    pub(crate) number: u16,
    /// Full name of the host.
    pub(crate) target: Arc<str>,
}

impl ServiceRecords {
    /// The records of `service`, whose slices are `slices`, below `domain`.
    pub fn new<'a>(domain: &str, service: &Service, slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Self {
        let meta = &service.metadata;
        let [namespace, name] = [&meta.namespace, &meta.name].map(|part| part.as_deref().unwrap_or_default());
        let spec = service.spec.clone().unwrap_or_default();
        let mut records = Self { name: format!("{name}.{namespace}.svc.{domain}").into(), ..Self::default() };
        if spec.type_.as_deref() == Some(EXTERNAL_NAME) {
            records.bare = external(spec.external_name.as_deref().unwrap_or_default());
            return records;
        }
        let headless = spec.cluster_ip.as_deref() == Some(HEADLESS);
        for slice in slices {
            records.add_slice(slice, spec.publish_not_ready_addresses == Some(true), headless);
        }
        if headless {
            let addresses =
                distinct(records.endpoints.values().flat_map(|endpoint| endpoint.addresses.iter().copied()));
            records.bare = if addresses.is_empty() { Bare::Nothing } else { Bare::Endpoints(addresses) };
        } else {
            let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
            records.bare = Bare::Cluster(distinct(listed.filter_map(|address| address.parse().ok())));
            records.ports = cluster_ports(&records.name, &spec);
        }
        records
    }

    /// Whether a port of this protocol has a name.
    pub(crate) fn has_named_port(&self, protocol: &str) -> bool {
        self.ports.iter().any(|port| *port.protocol == *protocol && !port.name.is_empty())
    }

    fn add_slice(&mut self, slice: &EndpointSlice, publish_not_ready: bool, headless: bool) {
        for endpoint in slice.endpoints.iter().flatten() {
            let addresses: Vec<IpAddr> = endpoint.addresses.iter().filter_map(|text| text.parse().ok()).collect();
            let Some(first) = addresses.first().filter(|_| publish_not_ready || is_ready(endpoint)) else { continue };
            let label = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
            let label = label.map_or_else(|| dashed(*first), str::to_ascii_lowercase);
            let (full, is_new) = self.add_endpoint(label, &addresses);
            // Of an endpoint met before, the other family of a dual stack, some ports may be there already.
            let own_ports = if is_new { self.ports.len() } else { 0 };
            for port in slice.ports.iter().flatten().filter(|_| headless) {
                let Some(number) = port.port.and_then(|number| u16::try_from(number).ok()) else { continue };
                let record = PortRecord {
                    name: port.name.as_deref().unwrap_or_default().to_ascii_lowercase().into(),
                    protocol: protocol(port.protocol.as_deref()),
                    number,
                    target: Arc::clone(&full),
                };
                if !self.ports[own_ports..].contains(&record) {
                    self.ports.push(record);
                }
            }
        }
    }

    /// The full name of the endpoint, and whether it was not there before.
    fn add_endpoint(&mut self, label: String, addresses: &[IpAddr]) -> (Arc<str>, bool) {
        let full: Arc<str> = format!("{label}.{}", self.name).into();
        let known = self.endpoints.len();
        let records =
            self.endpoints.entry(label.into()).or_insert_with(|| EndpointRecords { name: full, addresses: Vec::new() });
        for address in addresses {
            if !records.addresses.contains(address) {
                records.addresses.push(*address);
            }
            self.endpoint_of.entry(*address).or_insert_with(|| Arc::clone(&records.name));
        }
        let full = Arc::clone(&records.name);
        (full, self.endpoints.len() > known)
    }
}

/// An external name that is an address stands for nothing (5.9).
fn external(name: &str) -> Bare {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() || name.parse::<IpAddr>().is_ok() { Bare::Nothing } else { Bare::Alias(name.into()) }
}

fn cluster_ports(name: &Arc<str>, spec: &k8s_openapi::api::core::v1::ServiceSpec) -> Vec<PortRecord> {
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            Some(PortRecord {
                name: port.name.as_deref().unwrap_or_default().to_ascii_lowercase().into(),
                protocol: protocol(port.protocol.as_deref()),
                number: u16::try_from(port.port).ok()?,
                target: Arc::clone(name),
            })
        })
        .collect()
}

/// Ready unless the slice says otherwise (5.5).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn protocol(given: Option<&str>) -> Box<str> {
    given.unwrap_or("TCP").to_ascii_lowercase().into()
}

/// The name of an endpoint without a hostname (5.6).
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn distinct(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut seen = std::collections::HashSet::new();
    addresses.filter(|address| seen.insert(*address)).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceSpec;
    use k8s_openapi::api::discovery::v1::EndpointPort;

    use super::*;

    #[test]
    fn both_families_of_an_endpoint_share_its_ports_and_other_endpoints_have_their_own() {
        let endpoint = |host: &str, address: &str| Endpoint {
            hostname: Some(host.to_owned()),
            addresses: vec![address.to_owned()],
            ..Endpoint::default()
        };
        let slice = |endpoints: Vec<Endpoint>| {
            let port = |number| EndpointPort { port: Some(number), ..EndpointPort::default() };
            EndpointSlice {
                endpoints: Some(endpoints),
                ports: Some(vec![port(1), port(2)]),
                ..EndpointSlice::default()
            }
        };
        let four = slice(vec![endpoint("a", "10.0.0.1"), endpoint("b", "10.0.0.2"), endpoint("a", "10.0.0.3")]);
        let six = slice(vec![endpoint("b", "fd00::2"), endpoint("c", "fd00::3")]);
        let spec = ServiceSpec { cluster_ip: Some(HEADLESS.to_owned()), ..ServiceSpec::default() };
        let service = Service { spec: Some(spec), ..Service::default() };
        let records = ServiceRecords::new("cluster.local", &service, [&four, &six]);
        let ports: Vec<_> = records.ports.iter().map(|port| (&port.target[..1], port.number)).collect();
        assert_eq!(ports, [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]);
    }
}
