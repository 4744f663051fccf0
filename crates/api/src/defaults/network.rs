//! Defaults of Services, Endpoints and EndpointSlices (contract 5 and 6).

use k8s_openapi::api::core::v1::{ClientIPConfig, Endpoints, Service, ServicePort, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::fill;

/// How long a client sticks to one endpoint under `ClientIP` affinity.
const AFFINITY_S: i32 = 10_800;

/// A Service.
pub fn service(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    fill(&mut spec.type_, "ClusterIP");
    fill(&mut spec.session_affinity, "None");
    session_affinity(spec);
    spec.ports.iter_mut().flatten().for_each(service_port);
    let type_ = spec.type_.as_deref().unwrap_or_default();
    let external = match type_ {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()),
        _ => false,
    };
    if external {
        fill(&mut spec.external_traffic_policy, "Cluster");
    }
    if matches!(type_, "NodePort" | "LoadBalancer" | "ClusterIP") {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    let status = service.status.get_or_insert_default().load_balancer.get_or_insert_default();
    if spec.type_.as_deref() == Some("LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
        for ingress in status.ingress.iter_mut().flatten() {
            if ingress.ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
                ingress.ip_mode.get_or_insert_with(|| "VIP".to_owned());
            }
        }
    }
}

fn session_affinity(spec: &mut ServiceSpec) {
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
            let client_ip = config.client_ip.get_or_insert_with(ClientIPConfig::default);
            client_ip.timeout_seconds.get_or_insert(AFFINITY_S);
        }
        Some(_) | None => {}
    }
}

fn service_port(port: &mut ServicePort) {
    fill(&mut port.protocol, "TCP");
    let target_missing = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::Int(_)) => false,
        Some(IntOrString::String(name)) => name.is_empty(),
    };
    if target_missing {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

/// An Endpoints object.
pub fn endpoints(endpoints: &mut Endpoints) {
    let ports = endpoints.subsets.iter_mut().flatten().filter_map(|subset| subset.ports.as_mut());
    ports.flatten().for_each(|port| fill(&mut port.protocol, "TCP"));
}

/// An EndpointSlice.
pub fn endpoint_slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
        fill(&mut port.protocol, "TCP");
    }
}
