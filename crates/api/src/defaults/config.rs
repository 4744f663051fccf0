//! Defaults of namespaces, nodes, configuration and the small kinds (contract 2, 3, 7, 10).

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, NodeSpec, Secret, ServiceAccount};

use super::{fill, quantities};

/// The label every namespace carries: its own name.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A Namespace. The label waits until the name is known.
pub fn namespace(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAMESPACE_NAME_LABEL.to_owned(), name);
    }
    fill(&mut namespace.status.get_or_insert_default().phase, "Active");
}

/// A Node.
pub fn node(node: &mut Node) {
    if let Some(spec) = &mut node.spec {
        mirror_pod_cidr(spec);
    }
    if let Some(status) = &mut node.status {
        quantities::resources(&mut status.capacity);
        quantities::resources(&mut status.allocatable);
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
    }
}

/// The first entry of the list mirrors the single field, which wins.
fn mirror_pod_cidr(spec: &mut NodeSpec) {
    let single = spec.pod_cidr.clone().filter(|cidr| !cidr.is_empty());
    let first = spec.pod_cidrs.as_ref().and_then(|list| list.first()).cloned();
    match (single, first) {
        (Some(single), first) if first.as_ref() != Some(&single) => spec.pod_cidrs = Some(vec![single]),
        (None, Some(first)) => spec.pod_cidr = Some(first),
        (Some(_), _) | (None, None) => {}
    }
}

/// A ConfigMap: empty maps do not appear on the wire.
pub fn config_map(config_map: &mut ConfigMap) {
    config_map.data = config_map.data.take().filter(|data| !data.is_empty());
    config_map.binary_data = config_map.binary_data.take().filter(|data| !data.is_empty());
}

/// A Secret. What was written as text moves over to the encoded data.
pub fn secret(secret: &mut Secret) {
    fill(&mut secret.type_, "Opaque");
    for (key, text) in secret.string_data.take().into_iter().flatten() {
        secret.data.get_or_insert_default().insert(key, k8s_openapi::ByteString(text.into_bytes()));
    }
    secret.data = secret.data.take().filter(|data| !data.is_empty());
}

/// A ServiceAccount has no defaults.
pub fn service_account(_account: &mut ServiceAccount) {}

/// An Event has no defaults.
pub fn event(_event: &mut Event) {}

/// A Lease has no defaults.
pub fn lease(_lease: &mut Lease) {}
