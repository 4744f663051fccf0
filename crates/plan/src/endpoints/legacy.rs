//! The Endpoints object of one Service (contract 3C).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::members::{self, Port};
use super::{
    ENDPOINTS_ADDRESSES_MAX, ENDPOINTS_MANAGED_BY_LABEL, ENDPOINTS_MANAGER, EndpointsAction, OVER_CAPACITY_ANNOTATION,
    Observed, labels_of, stamp,
};

/// One pod's address, with everything canonical order looks at first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    ip: Option<IpAddr>,
    uid: String,
    ready: bool,
}

/// The addresses behind one port list.
#[derive(Default)]
struct Subset {
    ready: BTreeMap<Member, EndpointAddress>,
    not_ready: BTreeMap<Member, EndpointAddress>,
}

/// Plans the change to the Endpoints object, if it differs from what it should be.
pub(super) fn plan(observed: &Observed<'_>, pods: &[&Pod]) -> Option<EndpointsAction> {
    let service = observed.service;
    let mut subsets = subsets(service, pods);
    let truncated = truncate(&mut subsets);
    let labels = labels_of(service, &[(ENDPOINTS_MANAGED_BY_LABEL, ENDPOINTS_MANAGER)]);
    let mut wanted = match observed.endpoints {
        Some(held) if is_current(held, &subsets, &labels, truncated) => return None,
        Some(held) => held.clone(),
        None => Endpoints {
            metadata: ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                ..ObjectMeta::default()
            },
            subsets: None,
        },
    };
    wanted.subsets = (!subsets.is_empty()).then_some(subsets);
    wanted.metadata.labels = Some(labels);
    let mut annotations = wanted.metadata.annotations.take().unwrap_or_default();
    stamp(&mut annotations, observed.trigger);
    if truncated {
        annotations.insert(OVER_CAPACITY_ANNOTATION.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY_ANNOTATION);
    }
    wanted.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let wanted = Box::new(wanted);
    Some(if observed.endpoints.is_some() { EndpointsAction::Update(wanted) } else { EndpointsAction::Create(wanted) })
}

fn is_current(
    held: &Endpoints,
    subsets: &[EndpointSubset],
    labels: &BTreeMap<String, String>,
    truncated: bool,
) -> bool {
    let marked = held.metadata.annotations.as_ref().and_then(|a| a.get(OVER_CAPACITY_ANNOTATION));
    held.subsets.as_deref().unwrap_or_default() == subsets
        && held.metadata.labels.as_ref() == Some(labels)
        && marked.map(String::as_str) == truncated.then_some("truncated")
}

/// Groups addresses by the ports they share, everything sorted (contract 3.18).
fn subsets(service: &Service, pods: &[&Pod]) -> Vec<EndpointSubset> {
    let publish = super::publishes_not_ready(service);
    let has_ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| !ports.is_empty());
    let Some(family) = super::families(service).first().copied() else { return Vec::new() };
    let mut groups: BTreeMap<BTreeSet<Port>, Subset> = BTreeMap::new();
    for pod in pods {
        if members::is_terminal(pod) || (members::is_terminating(pod) && !publish) {
            continue;
        }
        let ports: BTreeSet<Port> = members::ports(pod, service).into_iter().collect();
        if ports.is_empty() && (has_ports || !super::is_headless(service)) {
            continue;
        }
        let Some(ip) = members::addresses(pod, family).into_iter().next() else { continue };
        let ready = publish || members::is_ready(pod);
        let key = Member { ip: ip.parse().ok(), uid: pod.metadata.uid.clone().unwrap_or_default(), ready };
        let address = EndpointAddress {
            ip,
            hostname: members::hostname(pod, service),
            node_name: members::node_name(pod).map(str::to_owned),
            target_ref: Some(members::target(pod)),
        };
        let group = groups.entry(ports).or_default();
        if ready {
            group.ready.insert(key, address)
        } else {
            group.not_ready.insert(key, address)
        };
    }
    groups.into_iter().map(|(ports, group)| wire_subset(&ports, group)).collect()
}

fn wire_subset(ports: &BTreeSet<Port>, group: Subset) -> EndpointSubset {
    let some = |addresses: BTreeMap<Member, EndpointAddress>| {
        let addresses: Vec<EndpointAddress> = addresses.into_values().collect();
        (!addresses.is_empty()).then_some(addresses)
    };
    let ports: Vec<EndpointPort> = ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()).filter(|name| !name.is_empty()),
            protocol: Some(port.protocol.clone()),
            port: port.port,
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    EndpointSubset {
        addresses: some(group.ready),
        not_ready_addresses: some(group.not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// Cuts down to the maximum, ready addresses first and each subset by its share; says whether
/// anything was cut (contract 3.19).
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let total = |pick: fn(&mut EndpointSubset) -> &mut Option<Vec<EndpointAddress>>, subsets: &mut [EndpointSubset]| {
        subsets.iter_mut().map(|subset| pick(subset).as_ref().map_or(0, Vec::len)).sum::<usize>()
    };
    let ready = total(|subset| &mut subset.addresses, subsets);
    let not_ready = total(|subset| &mut subset.not_ready_addresses, subsets);
    if ready + not_ready <= ENDPOINTS_ADDRESSES_MAX {
        return false;
    }
    if ready > ENDPOINTS_ADDRESSES_MAX {
        subsets.iter_mut().for_each(|subset| subset.not_ready_addresses = None);
        cut(subsets, |subset| &mut subset.addresses, ready, ENDPOINTS_ADDRESSES_MAX);
    } else {
        cut(subsets, |subset| &mut subset.not_ready_addresses, not_ready, ENDPOINTS_ADDRESSES_MAX - ready);
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    true
}

fn cut(
    subsets: &mut [EndpointSubset],
    pick: fn(&mut EndpointSubset) -> &mut Option<Vec<EndpointAddress>>,
    total: usize,
    room: usize,
) {
    let last = subsets.len().saturating_sub(1);
    let mut left = room;
    for (index, subset) in subsets.iter_mut().enumerate() {
        let list = pick(subset);
        let share = if index == last { left } else { list.as_ref().map_or(0, Vec::len) * room / total.max(1) };
        left -= share.min(left);
        if let Some(addresses) = list {
            addresses.truncate(share);
            if addresses.is_empty() {
                *list = None;
            }
        }
    }
}
