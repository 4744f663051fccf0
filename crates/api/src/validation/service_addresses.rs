//! The addresses of Services, inside and outside the cluster (contract 5).

use k8s_openapi::api::core::v1::ServiceSpec;

use super::path::Path;
use super::pod_spec::optional_choice;
use super::service::kind_of;
use super::{amounts, ip, names};
use crate::errors::{FieldError, FieldErrors};

const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];

/// The cluster addresses and their families. Whether they are free is the allocator's business.
pub(super) fn addresses(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    families(errors, path, spec);
    let at = path.child("clusterIPs");
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    let single = spec.cluster_ip.as_deref().unwrap_or_default();
    match (single, list.first()) {
        ("", Some(_)) => {
            errors.push(FieldError::invalid(&at, list, "must be empty when `clusterIP` is not specified"));
        }
        (single, Some(first)) if single != first => {
            errors.push(FieldError::invalid(&at, list, "first value must match `clusterIP`"));
        }
        (_, Some(_) | None) => {}
    }
    if list.len() > 2 {
        errors.push(FieldError::invalid(&at, list, "may only hold up to 2 values"));
        return;
    }
    if list.len() > 1 && list.iter().any(|value| value == "None") {
        errors.push(FieldError::invalid(&at, list, "'None' must be the first and only value"));
        return;
    }
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (index, value) in list.iter().enumerate().filter(|(_, value)| *value != "None") {
        names::check(errors, &at.index(index), value, ip::address);
        let (expected, found) = (families.get(index), ip::family(value));
        if let (Some(expected), Some(found)) = (expected, found)
            && expected != found
        {
            let detail = format!("expected an {expected} value as indicated by `ipFamilies[{index}]`");
            errors.push(FieldError::invalid(at.index(index), value, detail));
        }
    }
    if ip::share_a_family(list.iter().map(String::as_str)) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(&at, list, detail));
    }
}

fn families(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (index, family) in families.iter().enumerate() {
        let path = path.child("ipFamilies").index(index);
        if !FAMILIES.contains(&family.as_str()) {
            errors.push(FieldError::not_supported(&path, family, FAMILIES));
        }
        if families[..index].contains(family) {
            errors.push(FieldError::duplicate(&path, family));
        }
    }
    optional_choice(errors, &path.child("ipFamilyPolicy"), spec.ip_family_policy.as_deref(), FAMILY_POLICIES);
}

/// What concerns traffic from outside.
pub(super) fn external(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec) {
    let kind = kind_of(Some(spec));
    for (index, value) in spec.external_ips.iter().flatten().enumerate() {
        let path = path.child("externalIPs").index(index);
        names::check(errors, &path, value, ip::address);
        ip::endpoint_address(errors, &path, value);
    }
    load_balancer_fields(errors, path, spec, kind);
    traffic_policies(errors, path, spec, kind);
}

fn load_balancer_fields(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec, kind: &str) {
    let detail = "may only be used when `type` is 'LoadBalancer'";
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    // Kubernetes writes this path with a capital letter.
    let at = path.child("LoadBalancerSourceRanges");
    if kind != "LoadBalancer" {
        for (at, set) in [
            (at, !ranges.is_empty()),
            (path.child("allocateLoadBalancerNodePorts"), spec.allocate_load_balancer_node_ports.is_some()),
            (path.child("loadBalancerClass"), spec.load_balancer_class.is_some()),
        ] {
            if set {
                errors.push(FieldError::forbidden(at, detail));
            }
        }
        return;
    }
    for (index, range) in ranges.iter().enumerate() {
        names::check(errors, &at.index(index), range.trim(), ip::range);
    }
    if let Some(class) = &spec.load_balancer_class {
        names::check(errors, &path.child("loadBalancerClass"), class, names::qualified);
    }
}

fn traffic_policies(errors: &mut FieldErrors, path: &Path, spec: &ServiceSpec, kind: &str) {
    let external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let exposed = matches!(kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips);
    let policy = spec.external_traffic_policy.as_deref().filter(|policy| !policy.is_empty());
    let at = path.child("externalTrafficPolicy");
    match policy {
        Some(policy) if !exposed => {
            errors.push(FieldError::invalid(&at, policy, "may only be set for externally-accessible services"));
        }
        Some(_) | None => optional_choice(errors, &at, policy, &["Cluster", "Local"]),
    }
    let port = spec.health_check_node_port.unwrap_or_default();
    let at = path.child("healthCheckNodePort");
    if port != 0 {
        if kind == "LoadBalancer" && policy == Some("Local") {
            amounts::port(errors, &at, port);
        } else {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(&at, port, detail));
        }
    }
    let internal = spec.internal_traffic_policy.as_deref();
    optional_choice(errors, &path.child("internalTrafficPolicy"), internal, &["Cluster", "Local"]);
    let distribution = spec.traffic_distribution.as_deref();
    optional_choice(errors, &path.child("trafficDistribution"), distribution, DISTRIBUTIONS);
}

/// What may not change. Nothing is checked on the way to or from an external name.
pub(super) fn change(errors: &mut FieldErrors, path: &Path, new: &ServiceSpec, old: &ServiceSpec) {
    let (kind, before) = (kind_of(Some(new)), kind_of(Some(old)));
    if kind == "ExternalName" || before == "ExternalName" {
        return;
    }
    let list = |spec: &ServiceSpec| spec.cluster_ips.clone().unwrap_or_default();
    let (ips, old_ips) = (list(new), list(old));
    let at = path.child("clusterIPs").index(0);
    match (ips.first(), old_ips.first()) {
        (None, Some(_)) => errors.push(FieldError::invalid(at, &ips, "primary clusterIP can not be unset")),
        (Some(now), Some(then)) if now != then => {
            errors.push(FieldError::invalid(at, &ips, "may not change once set"));
        }
        (Some(_), Some(_)) | (_, None) => {}
    }
    release_of_second(errors, path, new, &ips, &old_ips);
    let family = |spec: &ServiceSpec| spec.ip_families.as_ref().and_then(|families| families.first().cloned());
    if let (Some(now), Some(then)) = (family(new), family(old))
        && now != then
    {
        let families = new.ip_families.clone().unwrap_or_default();
        errors.push(FieldError::invalid(path.child("ipFamilies").index(0), families, "may not change once set"));
    }
    if kind == "LoadBalancer" && before == "LoadBalancer" {
        let class = (&new.load_balancer_class, &old.load_balancer_class);
        if class.0 != class.1 && class.1.is_some() {
            let at = path.child("loadBalancerClass");
            errors.push(FieldError::invalid(at, class.0, "may not change once set"));
        }
        let port = (new.health_check_node_port, old.health_check_node_port);
        if port.0 != port.1 && port.1.unwrap_or_default() != 0 {
            errors.push(FieldError::forbidden(path.child("healthCheckNodePort"), "field is immutable"));
        }
    }
}

fn release_of_second(errors: &mut FieldErrors, path: &Path, new: &ServiceSpec, ips: &[String], old: &[String]) {
    let released = ips.len() == 1 && old.len() == 2;
    if released && new.ip_family_policy.as_deref() != Some("SingleStack") {
        let detail = "must be set to 'SingleStack' when releasing the secondary clusterIP";
        errors.push(FieldError::invalid(path.child("ipFamilyPolicy"), &new.ip_family_policy, detail));
    }
}
