//! Which addresses a Service publishes: its EndpointSlices and its Endpoints object (contract 3A-3C).
//!
//! Pure. It never allocates a name, never reads a clock, and plans nothing for Services without a
//! selector: those addresses belong to whoever wrote them.

mod legacy;
mod members;
mod slices;
mod trigger;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub use trigger::TriggerTimes;

/// Label of slices and Endpoints of Services without a cluster address.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Label that ties a slice to its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label that says who maintains a slice.
pub const SLICE_MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`SLICE_MANAGED_BY_LABEL`] on slices planned here.
pub const SLICE_MANAGER: &str = "endpointslice-controller.k8s.io";
/// Label that says who maintains an Endpoints object.
pub const ENDPOINTS_MANAGED_BY_LABEL: &str = "endpoints.kubernetes.io/managed-by";
/// The value of [`ENDPOINTS_MANAGED_BY_LABEL`] on Endpoints planned here.
pub const ENDPOINTS_MANAGER: &str = "endpoint-controller";
/// Annotation with the time of the oldest change an object shows for the first time (contract 3.13).
pub const TRIGGER_TIME_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Annotation of Endpoints that do not list every address (contract 3.19).
pub const OVER_CAPACITY_ANNOTATION: &str = "endpoints.kubernetes.io/over-capacity";
/// Annotation of Endpoints that serve leader election and belong to nobody here.
pub const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";
/// Endpoints in one slice (contract 3.8).
pub const SLICE_ENDPOINTS_MAX: usize = 100;
/// Addresses in one Endpoints object (contract 3.19).
pub const ENDPOINTS_ADDRESSES_MAX: usize = 1000;

/// Everything the plan for one Service depends on.
pub struct Observed<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Pods of its namespace; those its selector does not match are ignored.
    pub pods: &'a [Arc<Pod>],
    /// Looks up a node by name.
    pub node: &'a dyn Fn(&str) -> Option<Arc<Node>>,
    /// Slices that carry the Service's name and [`SLICE_MANAGER`].
    pub slices: &'a [Arc<EndpointSlice>],
    /// The Endpoints object of the Service's name.
    pub endpoints: Option<&'a Endpoints>,
    /// What [`TriggerTimes::advance`] gave for this look.
    pub trigger: Option<Timestamp>,
}

/// What to write. Updates carry the resourceVersion they were decided on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Changes to slices, in the order to be made.
    pub slices: Vec<SliceAction>,
    /// The change to the Endpoints object, if any.
    pub endpoints: Option<EndpointsAction>,
    /// Pods left out of the slices because their node object is missing (contract 3.11): plan again.
    pub pods_without_node: Vec<String>,
}

/// One change to a slice.
#[derive(Clone, Debug, PartialEq)]
pub enum SliceAction {
    /// Create it; the name is generated from its prefix.
    Create(Box<EndpointSlice>),
    /// Replace it.
    Update(Box<EndpointSlice>),
    /// Delete it, if it still is what was looked at.
    Delete {
        /// Name of the slice.
        name: String,
        /// Its UID.
        uid: String,
        /// The resourceVersion it was looked at.
        resource_version: String,
    },
}

/// One change to the Endpoints object.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointsAction {
    /// Create it.
    Create(Box<Endpoints>),
    /// Replace it.
    Update(Box<Endpoints>),
}

/// Whether addresses of this Service are planned at all (contract 3.1).
pub fn applies_to(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() != Some("ExternalName") && spec.selector.as_ref().is_some_and(|selector| !selector.is_empty())
}

/// Plans the slices and the Endpoints of one Service to which [`applies_to`] applies.
pub fn plan(observed: &Observed<'_>) -> Plan {
    if !applies_to(observed.service) {
        return Plan::default();
    }
    let pods: Vec<&Pod> = observed.pods.iter().map(Arc::as_ref).filter(|pod| selects(observed.service, pod)).collect();
    let (slices, pods_without_node) = slices::plan(observed, &pods);
    Plan { slices, endpoints: legacy::plan(observed, &pods), pods_without_node }
}

/// Whether the Service's selector matches the pod (contract 3.2). Namespaces are the caller's.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    let labels = pod.metadata.labels.as_ref();
    !selector.is_empty()
        && selector.iter().all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
}

/// Whether the difference between two states of a pod can change what a Service publishes: before, now, and none
/// where there is no pod. One without an address is as good as none.
pub fn is_relevant_change(before: Option<&Pod>, now: Option<&Pod>) -> bool {
    fn facts(pod: &Pod) -> Option<impl PartialEq + '_> {
        let addresses = [members::Family::V4, members::Family::V6].map(|family| members::addresses(pod, family));
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref().map(|spec| (&spec.node_name, &spec.hostname, &spec.subdomain));
        let is = [members::is_ready(pod), members::is_terminal(pod), members::is_terminating(pod)];
        let has_any = addresses.iter().any(|addresses| !addresses.is_empty());
        has_any.then_some((&meta.uid, &meta.labels, addresses, is, spec))
    }
    before.and_then(facts) != now.and_then(facts)
}

/// Whether an Endpoints object without a Service is to be deleted (contract 3.16).
pub fn is_abandoned(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let annotations = endpoints.metadata.annotations.as_ref();
    labels.and_then(|labels| labels.get(ENDPOINTS_MANAGED_BY_LABEL)).is_some_and(|by| by == ENDPOINTS_MANAGER)
        && !annotations.is_some_and(|annotations| annotations.contains_key(LEADER_ANNOTATION))
}

fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

fn is_headless(service: &Service) -> bool {
    match service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) {
        None | Some("" | "None") => true,
        Some(_) => false,
    }
}

fn families(service: &Service) -> Vec<members::Family> {
    let spec = service.spec.as_ref();
    let named: Vec<members::Family> = spec
        .and_then(|spec| spec.ip_families.as_deref())
        .unwrap_or_default()
        .iter()
        .filter_map(|family| members::Family::parse(family))
        .collect();
    if !named.is_empty() {
        return named;
    }
    match spec.and_then(|spec| spec.cluster_ip.as_deref()) {
        Some(address) if address.contains(':') => vec![members::Family::V6],
        _ => vec![members::Family::V4],
    }
}

/// The labels an object of the Service carries: the Service's own and the given ones on top.
fn labels_of(service: &Service, own: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    for (key, value) in own {
        labels.insert((*key).to_owned(), (*value).to_owned());
    }
    labels
}

fn stamp(annotations: &mut std::collections::BTreeMap<String, String>, trigger: Option<Timestamp>) {
    match trigger {
        Some(at) => annotations.insert(TRIGGER_TIME_ANNOTATION.to_owned(), at.to_string()),
        None => annotations.remove(TRIGGER_TIME_ANNOTATION),
    };
}

#[cfg(test)]
mod tests;
