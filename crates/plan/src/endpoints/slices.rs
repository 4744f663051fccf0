//! EndpointSlices of one Service (contract 3B): which endpoints there should be, and the fewest writes
//! that make the existing slices show them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::members::{self, Family, Port};
use super::{
    Observed, SERVICE_NAME_LABEL, SLICE_ENDPOINTS_MAX, SLICE_MANAGED_BY_LABEL, SLICE_MANAGER, SliceAction, labels_of,
    stamp,
};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Endpoints that share a port list, by the pod they lead to.
type Wanted = BTreeMap<EndpointKey, Endpoint>;

/// What makes two endpoints the same one: where it leads, and to which pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EndpointKey {
    addresses: Vec<String>,
    pod_uid: Option<String>,
}

impl EndpointKey {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            addresses: endpoint.addresses.clone(),
            pod_uid: endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()),
        }
    }
}

/// Changes collected over all groups of one address family.
#[derive(Default)]
struct Changes {
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    delete: Vec<Arc<EndpointSlice>>,
}

/// Plans the slices; also names the pods left out for want of their node object.
pub(super) fn plan(observed: &Observed<'_>, pods: &[&Pod]) -> (Vec<SliceAction>, Vec<String>) {
    let families = super::families(observed.service);
    let mut actions = Vec::new();
    let mut pods_without_node = Vec::new();
    for family in &families {
        let existing: Vec<Arc<EndpointSlice>> = of_family(observed.slices, *family);
        let wanted = wanted(observed, pods, *family, &mut pods_without_node);
        actions.extend(reconcile(observed, *family, existing, wanted));
    }
    let dropped = observed.slices.iter().filter(|slice| !families.iter().any(|f| f.as_str() == slice.address_type));
    actions.extend(dropped.map(|slice| delete(slice)));
    pods_without_node.sort();
    pods_without_node.dedup();
    (actions, pods_without_node)
}

fn of_family(slices: &[Arc<EndpointSlice>], family: Family) -> Vec<Arc<EndpointSlice>> {
    slices.iter().filter(|slice| slice.address_type == family.as_str()).cloned().collect()
}

fn wanted(
    observed: &Observed<'_>,
    pods: &[&Pod],
    family: Family,
    without_node: &mut Vec<String>,
) -> BTreeMap<Vec<Port>, Wanted> {
    let mut groups: BTreeMap<Vec<Port>, Wanted> = BTreeMap::new();
    let mut nodes: HashMap<&str, Option<Arc<Node>>> = HashMap::new();
    for pod in pods.iter().filter(|pod| !members::is_terminal(pod)) {
        let addresses = members::addresses(pod, family);
        if addresses.is_empty() {
            continue;
        }
        let node = members::node_name(pod).map(|name| &*nodes.entry(name).or_insert_with(|| (observed.node)(name)));
        if matches!(node, Some(None)) && !super::publishes_not_ready(observed.service) {
            without_node.extend(pod.metadata.name.clone());
            continue;
        }
        let labels = node.and_then(Option::as_ref).and_then(|node| node.metadata.labels.as_ref());
        let zone = labels.and_then(|labels| labels.get(ZONE_LABEL)).cloned();
        let endpoint = endpoint(observed.service, pod, addresses, zone);
        groups.entry(members::ports(pod, observed.service)).or_default().insert(EndpointKey::of(&endpoint), endpoint);
    }
    groups
}

fn endpoint(service: &Service, pod: &Pod, addresses: Vec<String>, zone: Option<String>) -> Endpoint {
    let serving = members::is_ready(pod);
    let terminating = members::is_terminating(pod);
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(super::publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: members::hostname(pod, service),
        node_name: members::node_name(pod).map(str::to_owned),
        target_ref: Some(members::target(pod)),
        zone,
        ..Endpoint::default()
    }
}

fn reconcile(
    observed: &Observed<'_>,
    family: Family,
    existing: Vec<Arc<EndpointSlice>>,
    wanted: BTreeMap<Vec<Port>, Wanted>,
) -> Vec<SliceAction> {
    let held = existing.len();
    let mut by_ports: BTreeMap<Vec<Port>, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    let mut changes = Changes::default();
    for slice in existing {
        if is_owned_by(&slice, observed.service) {
            by_ports.entry(ports_of(&slice)).or_default().push(slice);
        } else {
            // Left by a Service of the same name, and collected with it unless it is taken over.
            changes.delete.push(slice);
        }
    }
    for (ports, endpoints) in wanted {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        fit(observed, family, &ports, slices, endpoints, &mut changes);
    }
    changes.delete.extend(by_ports.into_values().flatten());
    keep_one(observed, family, held, &mut changes);
    reuse(&mut changes);
    let stamped = |mut slice: EndpointSlice| {
        let mut annotations = slice.metadata.annotations.take().unwrap_or_default();
        stamp(&mut annotations, observed.trigger);
        slice.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
        Box::new(slice)
    };
    let creates = changes.create.into_iter().map(|slice| SliceAction::Create(stamped(slice)));
    let updates = changes.update.into_iter().map(|slice| SliceAction::Update(stamped(slice)));
    creates.chain(updates).chain(changes.delete.iter().map(|slice| delete(slice))).collect()
}

/// Makes the slices of one port list show `wanted`: endpoints stay where they are, new ones go first
/// into slices that change anyway, then into the fullest slice that takes all the rest, then into new
/// slices (contract 3.8).
fn fit(
    observed: &Observed<'_>,
    family: Family,
    ports: &[Port],
    slices: Vec<Arc<EndpointSlice>>,
    mut wanted: Wanted,
    changes: &mut Changes,
) {
    let labels = slice_labels(observed.service);
    let mut changed: Vec<EndpointSlice> = Vec::new();
    let mut untouched: Vec<Arc<EndpointSlice>> = Vec::new();
    for slice in slices {
        let before = slice.endpoints.as_deref().unwrap_or_default();
        let kept: Vec<Endpoint> =
            before.iter().filter_map(|endpoint| wanted.remove(&EndpointKey::of(endpoint))).collect();
        if kept.is_empty() {
            changes.delete.push(slice);
        } else if kept != before || slice.metadata.labels.as_ref() != Some(&labels) {
            let mut slice = EndpointSlice::clone(&slice);
            slice.endpoints = Some(kept);
            slice.metadata.labels = Some(labels.clone());
            changed.push(slice);
        } else {
            untouched.push(slice);
        }
    }
    let mut left = wanted.into_values();
    changed.sort_by_key(|slice| std::cmp::Reverse(count(slice)));
    for slice in &mut changed {
        let room = SLICE_ENDPOINTS_MAX.saturating_sub(count(slice));
        slice.endpoints.get_or_insert_default().extend(left.by_ref().take(room));
    }
    if left.len() > 0 {
        let fullest = (0..untouched.len())
            .filter(|index| count(&untouched[*index]) + left.len() <= SLICE_ENDPOINTS_MAX)
            .max_by_key(|index| count(&untouched[*index]));
        if let Some(index) = fullest {
            let mut slice = EndpointSlice::clone(&untouched[index]);
            slice.endpoints.get_or_insert_default().extend(left.by_ref());
            changed.push(slice);
        }
    }
    while left.len() > 0 {
        let endpoints = left.by_ref().take(SLICE_ENDPOINTS_MAX).collect();
        changes.create.push(new_slice(observed.service, family, ports, endpoints));
    }
    changes.update.extend(changed);
}

/// A Service always has a slice per family, if only an empty one (contract 3.10).
fn keep_one(observed: &Observed<'_>, family: Family, held: usize, changes: &mut Changes) {
    if changes.delete.len() < held || !changes.create.is_empty() {
        return;
    }
    let placeholder = new_slice(observed.service, family, &[], Vec::new());
    match changes.delete.as_slice() {
        [only] if is_same(only, &placeholder) => changes.delete.clear(),
        _ => changes.create.push(placeholder),
    }
}

fn is_same(held: &EndpointSlice, placeholder: &EndpointSlice) -> bool {
    count(held) == 0
        && ports_of(held).is_empty()
        && held.metadata.labels == placeholder.metadata.labels
        && held.metadata.owner_references == placeholder.metadata.owner_references
}

/// Turns pairs of a creation and a deletion into one update in place.
fn reuse(changes: &mut Changes) {
    while !changes.create.is_empty()
        && let Some(old) = changes.delete.pop()
    {
        let mut new = changes.create.remove(0);
        new.metadata = ObjectMeta {
            labels: new.metadata.labels.take(),
            owner_references: new.metadata.owner_references.take(),
            ..old.metadata.clone()
        };
        changes.update.push(new);
    }
}

fn new_slice(service: &Service, family: Family, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    EndpointSlice {
        address_type: family.as_str().to_owned(),
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(slice_labels(service)),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name,
                uid: service.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        endpoints: Some(endpoints),
        ports: Some(ports.iter().map(wire_port).collect()),
    }
}

fn slice_labels(service: &Service) -> BTreeMap<String, String> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    labels_of(service, &[(SERVICE_NAME_LABEL, name), (SLICE_MANAGED_BY_LABEL, SLICE_MANAGER)])
}

fn is_owned_by(slice: &EndpointSlice, service: &Service) -> bool {
    let owners = slice.metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| service.metadata.uid.as_deref() == Some(&owner.uid))
}

fn wire_port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    }
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let mut ports: Vec<Port> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.port.unwrap_or(0),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    ports
}

fn count(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

fn delete(slice: &EndpointSlice) -> SliceAction {
    SliceAction::Delete {
        name: slice.metadata.name.clone().unwrap_or_default(),
        uid: slice.metadata.uid.clone().unwrap_or_default(),
        resource_version: slice.metadata.resource_version.clone().unwrap_or_default(),
    }
}
