//! The row of a Service: its addresses and ports in short.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::{NONE, UNKNOWN, age, map_text, name, or_none, text};
use crate::registry::Cell;

/// The cells of one Service.
pub fn cells(service: &Service, now: Timestamp) -> Vec<Cell> {
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    vec![
        name(&service.metadata),
        text(spec.type_.as_deref()),
        or_none(spec.cluster_ips.iter().flatten().next().map(String::as_str)),
        external_text(service, spec).into(),
        or_none(Some(&ports_text(spec.ports.as_deref().unwrap_or_default()))),
        age(&service.metadata, now),
        map_text(spec.selector.as_ref()),
    ]
}

fn external_text(service: &Service, spec: &ServiceSpec) -> String {
    let fixed = spec.external_ips.clone().unwrap_or_default();
    let (addresses, otherwise) = match spec.type_.as_deref() {
        Some("ClusterIP" | "NodePort") => (fixed, NONE),
        Some("LoadBalancer") => ([balancer_addresses(service), fixed].concat(), "<pending>"),
        Some("ExternalName") => return spec.external_name.clone().unwrap_or_default(),
        _ => return UNKNOWN.to_owned(),
    };
    if addresses.is_empty() { otherwise.to_owned() } else { addresses.join(",") }
}

/// Addresses the balancer gave, sorted, each once.
fn balancer_addresses(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let addresses: BTreeSet<String> = ingress
        .iter()
        .filter_map(|point| [&point.ip, &point.hostname].into_iter().flatten().find(|address| !address.is_empty()))
        .cloned()
        .collect();
    addresses.into_iter().collect()
}

fn ports_text(ports: &[ServicePort]) -> String {
    let texts: Vec<String> = ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or_default();
            match port.node_port {
                Some(node_port) if node_port > 0 => format!("{}:{node_port}/{protocol}", port.port),
                _ => format!("{}/{protocol}", port.port),
            }
        })
        .collect();
    texts.join(",")
}
