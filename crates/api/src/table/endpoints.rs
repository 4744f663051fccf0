//! The rows of Endpoints and EndpointSlice: the first few addresses, and how many more there are.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{NONE, UNSET, age, clipped, name, or};
use crate::registry::Cell;

const SHOWN_MAX: usize = 3;

/// The cells of one Endpoints object.
pub fn cells(endpoints: &Endpoints, now: Timestamp) -> Vec<Cell> {
    let shown = match endpoints.subsets.as_deref().unwrap_or_default() {
        [] => NONE.to_owned(),
        subsets => clipped(&subsets.iter().flat_map(addresses).collect::<Vec<_>>(), SHOWN_MAX),
    };
    vec![name(&endpoints.metadata), shown.into(), age(&endpoints.metadata, now)]
}

/// The cells of one EndpointSlice.
pub fn slice_cells(slice: &EndpointSlice, now: Timestamp) -> Vec<Cell> {
    let ports: Vec<String> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| match (port.port, &port.name) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) if !name.is_empty() => name.clone(),
            (None, _) => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> =
        slice.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.iter().cloned()).collect();
    vec![
        name(&slice.metadata),
        slice.address_type.clone().into(),
        or(Some(&clipped(&ports, SHOWN_MAX)), UNSET),
        or(Some(&clipped(&addresses, SHOWN_MAX)), UNSET),
        age(&slice.metadata, now),
    ]
}

/// Every ready address of a subset, once per port.
fn addresses(subset: &EndpointSubset) -> Vec<String> {
    let addresses = subset.addresses.iter().flatten();
    match subset.ports.as_deref().unwrap_or_default() {
        [] => addresses.map(|address| address.ip.clone()).collect(),
        ports => {
            ports.iter().flat_map(|port| addresses.clone().map(|address| with_port(&address.ip, port.port))).collect()
        }
    }
}

fn with_port(address: &str, port: i32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
