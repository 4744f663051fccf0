//! Endpoints and EndpointSlices (contract `defaults-validation.md`, 6).

use std::net::Ipv6Addr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::metadata::{self, NameRule};
use super::path::Path;
use super::pod_spec::{optional_choice, required_choice};
use super::volumes::require;
use super::{amounts, ip, names};
use crate::errors::{FieldError, FieldErrors};
use crate::registry::Scope;

const DEPRECATED: &str = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const HINTS_MAX: usize = 8;

/// Everything wrong with a new Endpoints object.
pub fn endpoints_create(endpoints: &Endpoints) -> FieldErrors {
    let mut errors = metadata::metadata_create(&endpoints.metadata, NameRule::Subdomain, Scope::Namespaced);
    subsets(&mut errors, endpoints.subsets.as_deref().unwrap_or_default());
    errors
}

/// Everything wrong with a change to an Endpoints object. Unchanged subsets are not judged again.
pub fn endpoints_update(new: &Endpoints, old: &Endpoints) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    if new.subsets != old.subsets {
        subsets(&mut errors, new.subsets.as_deref().unwrap_or_default());
    }
    errors
}

/// Texts for `Warning:` headers; every request for Endpoints gets this one.
pub fn endpoints_warnings(_endpoints: &Endpoints, _old: Option<&Endpoints>) -> Vec<String> {
    vec![DEPRECATED.to_owned()]
}

fn subsets(errors: &mut FieldErrors, subsets: &[EndpointSubset]) {
    for (index, subset) in subsets.iter().enumerate() {
        let path = Path::new("subsets").index(index);
        let ready = subset.addresses.as_deref().unwrap_or_default();
        let not_ready = subset.not_ready_addresses.as_deref().unwrap_or_default();
        if ready.is_empty() && not_ready.is_empty() {
            errors.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for (field, list) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
            for (index, address) in list.iter().enumerate() {
                one_address(errors, &path.child(field).index(index), address);
            }
        }
        let ports = subset.ports.as_deref().unwrap_or_default();
        for (index, port) in ports.iter().enumerate() {
            let path = path.child("ports").index(index);
            match port.name.as_deref().unwrap_or_default() {
                "" => require(errors, &path.child("name"), ports.len() > 1),
                name => names::check(errors, &path.child("name"), name, names::label),
            }
            amounts::port(errors, &path.child("port"), port.port);
            required_choice(errors, &path.child("protocol"), port.protocol.as_deref(), PROTOCOLS);
            if let Some(protocol) = &port.app_protocol {
                names::check(errors, &path.child("appProtocol"), protocol, names::qualified);
            }
        }
    }
}

fn one_address(errors: &mut FieldErrors, path: &Path, address: &EndpointAddress) {
    names::check(errors, &path.child("ip"), &address.ip, ip::address);
    ip::endpoint_address(errors, &path.child("ip"), &address.ip);
    names::check_optional(errors, &path.child("hostname"), address.hostname.as_ref(), names::label);
    if let Some(node) = &address.node_name {
        names::check(errors, &path.child("nodeName"), node, names::subdomain);
    }
}

/// Everything wrong with a new EndpointSlice.
pub fn endpoint_slice_create(slice: &EndpointSlice) -> FieldErrors {
    let mut errors = metadata::metadata_create(&slice.metadata, NameRule::Subdomain, Scope::Namespaced);
    required_choice(&mut errors, &Path::new("addressType"), Some(&slice.address_type), &["FQDN", "IPv4", "IPv6"]);
    slice_endpoints(&mut errors, slice, &[]);
    slice_ports(&mut errors, slice.ports.as_deref().unwrap_or_default());
    errors
}

/// Everything wrong with a change to an EndpointSlice. Unchanged endpoints are not judged again.
pub fn endpoint_slice_update(new: &EndpointSlice, old: &EndpointSlice) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    metadata::immutable(&mut errors, &Path::new("addressType"), &new.address_type, &old.address_type);
    slice_endpoints(&mut errors, new, &old.endpoints.clone().unwrap_or_default());
    slice_ports(&mut errors, new.ports.as_deref().unwrap_or_default());
    errors
}

/// Texts for `Warning:` headers.
pub fn endpoint_slice_warnings(slice: &EndpointSlice, old: Option<&EndpointSlice>) -> Vec<String> {
    let mut warnings = Vec::new();
    if slice.address_type == "FQDN" && old.is_none() {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    let managed_by =
        slice.metadata.labels.as_ref().and_then(|labels| labels.get("endpointslice.kubernetes.io/managed-by"));
    if managed_by.is_some_and(|by| by.ends_with(".k8s.io")) || slice.address_type == "FQDN" {
        return warnings;
    }
    for (i, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        for (j, address) in endpoint.addresses.iter().enumerate() {
            let path = Path::new("endpoints").index(i).child("addresses").index(j);
            warnings.extend(ip::address_warning(&path, address));
        }
    }
    warnings
}

fn slice_endpoints(errors: &mut FieldErrors, slice: &EndpointSlice, known: &[Endpoint]) {
    let path = Path::new("endpoints");
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(&path, endpoints.len(), ENDPOINTS_MAX));
        return;
    }
    for (index, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| !known.contains(endpoint)) {
        one_endpoint(errors, &path.index(index), endpoint, &slice.address_type);
    }
}

fn one_endpoint(errors: &mut FieldErrors, path: &Path, endpoint: &Endpoint, address_type: &str) {
    let at = path.child("addresses");
    match endpoint.addresses.len() {
        0 => errors.push(FieldError::required(&at, "must contain at least 1 address")),
        count if count > ADDRESSES_MAX => errors.push(FieldError::too_many(&at, count, ADDRESSES_MAX)),
        _ => {}
    }
    for (index, address) in endpoint.addresses.iter().enumerate() {
        slice_address(errors, &at.index(index), &at, address, address_type);
    }
    if let Some(node) = &endpoint.node_name {
        names::check(errors, &path.child("nodeName"), node, names::subdomain);
    }
    if let Some(zone) = &endpoint.zone {
        names::check(errors, &path.child("zone"), zone, names::label_value);
    }
    names::check_optional(errors, &path.child("hostname"), endpoint.hostname.as_ref(), names::label);
    if let Some(hints) = &endpoint.hints {
        let zones: Vec<&str> = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str()).collect();
        let nodes: Vec<&str> = hints.for_nodes.iter().flatten().map(|node| node.name.as_str()).collect();
        for (field, list) in [("forZones", zones), ("forNodes", nodes)] {
            hint_list(errors, &path.child("hints").child(field), &list);
        }
    }
}

fn slice_address(errors: &mut FieldErrors, path: &Path, list: &Path, address: &str, address_type: &str) {
    match address_type {
        "IPv4" => {
            names::check(errors, path, address, ip::address);
            if ip::family(address).is_some_and(|family| family != "IPv4") {
                errors.push(FieldError::invalid(list, address, "must be an IPv4 address"));
            }
            ip::endpoint_address(errors, path, address);
        }
        "IPv6" => {
            names::check(errors, path, address, ip::address);
            match address.parse::<Ipv6Addr>() {
                Ok(ip) if ip.to_string() != address => {
                    let detail = format!("must be in canonical form (\"{ip}\")");
                    errors.push(FieldError::invalid(path, address, detail));
                }
                Ok(_) => {}
                Err(_) => errors.push(FieldError::invalid(list, address, "must be an IPv6 address")),
            }
            ip::endpoint_address(errors, path, address);
        }
        "FQDN" => {
            let name = address.strip_suffix('.').unwrap_or(address);
            names::check(errors, path, name, names::subdomain);
            if !name.contains('.') {
                let detail = "should be a domain with at least two segments separated by dots";
                errors.push(FieldError::invalid(path, address, detail));
            }
        }
        _ => {}
    }
}

fn hint_list(errors: &mut FieldErrors, path: &Path, list: &[&str]) {
    if list.len() > HINTS_MAX {
        errors.push(FieldError::too_many(path, list.len(), HINTS_MAX));
        return;
    }
    for (index, name) in list.iter().enumerate() {
        let path = path.index(index).child("name");
        if list[..index].contains(name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        names::check(errors, &path, name, names::label_value);
    }
}

fn slice_ports(errors: &mut FieldErrors, ports: &[EndpointPort]) {
    let path = Path::new("ports");
    if ports.len() > PORTS_MAX {
        errors.push(FieldError::too_many(&path, ports.len(), PORTS_MAX));
        return;
    }
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            names::check(errors, &path.child("name"), name, names::label);
        }
        // Two ports without a name share the empty one.
        if ports[..index].iter().any(|other| other.name.as_deref().unwrap_or_default() == name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
        if let Some(number) = port.port {
            amounts::port(errors, &path.child("port"), number);
        }
        optional_choice(errors, &path.child("protocol"), port.protocol.as_deref(), PROTOCOLS);
        if let Some(protocol) = &port.app_protocol {
            names::check(errors, &path.child("appProtocol"), protocol, names::qualified);
        }
    }
}
