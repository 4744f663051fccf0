//! The variables that tell a pod where Services are.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};

use super::namespace;

/// Those of a pod (rules 6 and 7); `links` is whether it wants to know of the Services of its namespace.
pub(super) fn service_variables(pod: &Pod, services: &[Arc<Service>], links: bool) -> Vec<(String, String)> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let meta = &service.metadata;
        let (Some(name), Some(service_namespace)) = (meta.name.as_deref(), meta.namespace.as_deref()) else { continue };
        let master = service_namespace == "default" && name == "kubernetes";
        let own = service_namespace == namespace(pod);
        if (own && links) || (master && !chosen.contains_key("kubernetes")) || (own && master) {
            chosen.insert(name, service);
        }
    }
    chosen.into_iter().flat_map(|(name, service)| variables_of(name, service)).collect()
}

fn variables_of(name: &str, service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return Vec::new() };
    let Some(first) = spec.ports.iter().flatten().next() else { return Vec::new() };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let prefix = upper(name);
    let url = |protocol: &str, port: i32| format!("{}://{ip}:{port}", protocol.to_lowercase());
    let protocol_of = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let mut pairs = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in spec.ports.iter().flatten() {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            pairs.push((format!("{prefix}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string()));
        }
    }
    pairs.push((format!("{prefix}_PORT"), url(&protocol_of(&first.protocol), first.port)));
    for port in spec.ports.iter().flatten() {
        let protocol = protocol_of(&port.protocol);
        let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        pairs.push((base.clone(), url(&protocol, port.port)));
        pairs.push((format!("{base}_PROTO"), protocol.to_lowercase()));
        pairs.push((format!("{base}_PORT"), port.port.to_string()));
        pairs.push((format!("{base}_ADDR"), ip.to_owned()));
    }
    pairs
}
