//! Services (contract `defaults-validation.md`, 5). Their addresses are in `service_addresses`.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::metadata::{self, NameRule};
use super::path::Path;
use super::pod_spec::{optional_choice, required_choice};
use super::{amounts, go, ip, labels, names, service_addresses};
use crate::errors::{FieldError, FieldErrors};
use crate::registry::Scope;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITY_MAX_S: i32 = 86_400;

/// Everything wrong with a new Service.
pub fn service_create(service: &Service) -> FieldErrors {
    let mut errors = metadata::metadata_create(&service.metadata, NameRule::Label, Scope::Namespaced);
    spec(&mut errors, service);
    errors
}

/// Everything wrong with a change to a Service.
pub fn service_update(new: &Service, old: &Service) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let empty = ServiceSpec::default();
    let (after, before) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    service_addresses::change(&mut errors, &Path::new("spec"), after, before);
    spec(&mut errors, new);
    errors
}

/// Everything wrong with a change to the status of a Service.
pub fn service_status_update(new: &Service, old: &Service) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let path = Path::new("status.loadBalancer.ingress");
    let status = new.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    if !ingress.is_empty() && kind_of(new.spec.as_ref()) != "LoadBalancer" {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(&path, detail));
        return errors;
    }
    for (index, point) in ingress.iter().enumerate() {
        let path = path.index(index);
        let address = point.ip.as_deref().filter(|ip| !ip.is_empty());
        if let Some(address) = address {
            names::check(&mut errors, &path.child("ip"), address, ip::address);
        }
        match (address, point.ip_mode.as_deref()) {
            (Some(_), None) => {
                errors.push(FieldError::required(path.child("ipMode"), "must be specified when `ip` is set"));
            }
            (None, Some(_)) => {
                let detail = "may not be specified when `ip` is not set";
                errors.push(FieldError::forbidden(path.child("ipMode"), detail));
            }
            (Some(_), mode) => optional_choice(&mut errors, &path.child("ipMode"), mode, &["Proxy", "VIP"]),
            (None, None) => {}
        }
        if let Some(host) = point.hostname.as_deref().filter(|host| !host.is_empty()) {
            names::check(&mut errors, &path.child("hostname"), host, names::subdomain);
            if ip::family(host).is_some() {
                let detail = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(path.child("hostname"), host, detail));
            }
        }
    }
    errors
}

/// Texts for `Warning:` headers.
pub fn service_warnings(service: &Service, _old: Option<&Service>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut say = |text: &str| warnings.push(text.to_owned());
    let annotations = service.metadata.annotations.as_ref();
    if annotations.is_some_and(|map| map.contains_key("service.kubernetes.io/topology-aware-hints")) {
        say(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
        );
    }
    let Some(spec) = &service.spec else { return warnings };
    let externals = spec.external_ips.as_deref().unwrap_or_default();
    if !externals.is_empty() {
        say("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if is_headless(spec) {
        if spec.load_balancer_ip.as_ref().is_some_and(|ip| !ip.is_empty()) {
            say("spec.loadBalancerIP is ignored for headless services");
        }
        if !externals.is_empty() {
            say("spec.externalIPs is ignored for headless services");
        }
        if spec.session_affinity.as_deref().is_some_and(|affinity| affinity != "None") {
            say("spec.SessionAffinity is ignored for headless services");
        }
    }
    let named = spec.external_name.as_ref().is_some_and(|name| !name.is_empty());
    if named && kind_of(Some(spec)) != "ExternalName" {
        say("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if spec.traffic_distribution.as_deref() == Some("PreferClose") {
        say("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
    for (index, value) in externals.iter().enumerate() {
        warnings.extend(ip::address_warning(&Path::new("spec.externalIPs").index(index), value));
    }
    warnings
}

pub(super) fn kind_of(spec: Option<&ServiceSpec>) -> &str {
    spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default()
}

/// Whether the Service has no address of its own.
pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
        || spec.cluster_ips.as_ref().is_some_and(|ips| ips.first().is_some_and(|ip| ip == "None"))
}

fn spec(errors: &mut FieldErrors, service: &Service) {
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    let kind = kind_of(Some(spec));
    let ports_needed = !is_headless(spec) && kind != "ExternalName";
    let list = spec.ports.as_deref().unwrap_or_default();
    if list.is_empty() && ports_needed {
        errors.push(FieldError::required(path.child("ports"), ""));
    }
    by_type(errors, &path, spec, kind);
    ports(errors, &path.child("ports"), list, kind);
    labels::labels(errors, &path.child("selector"), spec.selector.as_ref());
    affinity(errors, &path, spec);
    service_addresses::addresses(errors, &path, spec);
    service_addresses::external(errors, &path, spec);
    required_choice(errors, &path.child("type"), spec.type_.as_deref(), TYPES);
    duplicate_ports(errors, &path.child("ports"), list);
}

fn by_type(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec, kind: &str) {
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(path.child("clusterIPs").index(0), "None", detail));
        }
        "ExternalName" => {
            for (field, set) in [
                ("clusterIPs", spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty())),
                ("ipFamilies", spec.ip_families.as_ref().is_some_and(|families| !families.is_empty())),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ] {
                if set {
                    let detail = "may not be set for ExternalName services";
                    errors.push(FieldError::forbidden(path.child(field), detail));
                }
            }
            let name = spec.external_name.as_deref().unwrap_or_default();
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.push(FieldError::required(path.child("externalName"), "")),
                name => names::check(errors, &path.child("externalName"), name, names::subdomain),
            }
        }
        _ => {}
    }
}

fn ports(errors: &mut FieldErrors, path: &Path, ports: &[ServicePort], kind: &str) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        match port.name.as_deref().unwrap_or_default() {
            "" if ports.len() > 1 => errors.push(FieldError::required(path.child("name"), "")),
            "" => {}
            name => {
                names::check(errors, &path.child("name"), name, names::label);
                if seen.contains(&name) {
                    errors.push(FieldError::duplicate(path.child("name"), name));
                }
                seen.push(name);
            }
        }
        amounts::port(errors, &path.child("port"), port.port);
        required_choice(errors, &path.child("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
        if let Some(target) = &port.target_port {
            amounts::port_or_name(errors, &path.child("targetPort"), target);
        }
        if let Some(protocol) = &port.app_protocol {
            names::check(errors, &path.child("appProtocol"), protocol, names::qualified);
        }
        if kind == "ClusterIP" && port.node_port.unwrap_or_default() != 0 {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(path.child("nodePort"), detail));
        }
    }
}

fn duplicate_ports(errors: &mut FieldErrors, path: &Path, ports: &[ServicePort]) {
    let node_port = |port: &ServicePort| port.node_port.unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let earlier = &ports[..index];
        if node_port(port) != 0
            && earlier.iter().any(|other| (node_port(other), &other.protocol) == (node_port(port), &port.protocol))
        {
            errors.push(FieldError::duplicate(path.index(index).child("nodePort"), node_port(port)));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        if ports[..index].iter().any(|other| (other.port, &other.protocol) == (port.port, &port.protocol)) {
            let value = go::ServicePort::of(port.protocol.as_deref().unwrap_or_default(), port.port);
            errors.push(FieldError::duplicate(path.index(index), value));
        }
    }
}

fn affinity(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    let affinity = spec.session_affinity.as_deref();
    required_choice(errors, &path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let seconds = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let at = path.child("sessionAffinityConfig");
    match (affinity, seconds) {
        (Some("ClientIP"), None) => {
            let detail = "must be set when `sessionAffinity` is 'ClientIP'";
            errors.push(FieldError::required(at, detail));
        }
        (Some("ClientIP"), Some(seconds)) if !(1..=AFFINITY_MAX_S).contains(&seconds) => {
            let detail = format!("must be greater than 0 and less than {AFFINITY_MAX_S}");
            errors.push(FieldError::invalid(at.child("clientIP").child("timeoutSeconds"), seconds, detail));
        }
        (Some("None"), _) if spec.session_affinity_config.is_some() => {
            errors.push(FieldError::forbidden(at, "must not be set when `sessionAffinity` is 'None'"));
        }
        (Some(_) | None, _) => {}
    }
}
