//! Namespaces and Nodes (contract `defaults-validation.md`, 2 and 3).

use k8s_openapi::api::core::v1::{Namespace, Node, NodeSpec, Taint};

use super::metadata::{self, NameRule};
use super::path::Path;
use super::pod_spec::required_choice;
use super::{amounts, go, ip, names};
use crate::errors::{FieldError, FieldErrors};
use crate::registry::Scope;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Everything wrong with a new Namespace.
pub fn namespace_create(namespace: &Namespace) -> FieldErrors {
    let mut errors = metadata::metadata_create(&namespace.metadata, NameRule::Label, Scope::Cluster);
    finalizers(&mut errors, namespace);
    errors
}

/// Everything wrong with a change to a Namespace.
pub fn namespace_update(new: &Namespace, old: &Namespace) -> FieldErrors {
    metadata::metadata_update(&new.metadata, &old.metadata)
}

/// Everything wrong with a change to the status of a Namespace.
pub fn namespace_status_update(new: &Namespace, old: &Namespace) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let phase = new.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let (wanted, detail) = match new.metadata.deletion_timestamp {
        None => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
        Some(_) => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
    };
    if phase != wanted {
        // Kubernetes writes this path with a capital letter.
        errors.push(FieldError::invalid("status.Phase", phase, detail));
    }
    errors
}

/// Everything wrong with a change through `/finalize`.
pub fn namespace_finalize_update(new: &Namespace, old: &Namespace) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    finalizers(&mut errors, new);
    errors
}

/// Namespaces never warn.
pub fn namespace_warnings(_new: &Namespace, _old: Option<&Namespace>) -> Vec<String> {
    Vec::new()
}

fn finalizers(errors: &mut FieldErrors, namespace: &Namespace) {
    let list = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    let path = Path::new("spec.finalizers");
    for finalizer in list {
        names::check(errors, &path, finalizer, names::qualified);
        metadata::standard_finalizer(errors, &path, finalizer);
    }
}

/// Everything wrong with a new Node.
pub fn node_create(node: &Node) -> FieldErrors {
    let mut errors = metadata::metadata_create(&node.metadata, NameRule::Subdomain, Scope::Cluster);
    node_rules(&mut errors, node);
    errors
}

/// Everything wrong with a change to a Node.
pub fn node_update(new: &Node, old: &Node) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    node_rules(&mut errors, new);
    addresses(&mut errors, new);
    let empty = NodeSpec::default();
    let (spec, before) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let cidrs = |spec: &NodeSpec| spec.pod_cidrs.clone().unwrap_or_default();
    if !cidrs(before).is_empty() && cidrs(spec) != cidrs(before) {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.podCIDRs", detail));
    }
    let provider = |spec: &NodeSpec| spec.provider_id.clone().unwrap_or_default();
    if !provider(before).is_empty() && provider(spec) != provider(before) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.providerID", detail));
    }
    if spec.external_id != before.external_id {
        errors.push(FieldError::forbidden("spec.externalID", "may not be updated"));
    }
    errors
}

/// Everything wrong with a change to the status of a Node; the same rules as for the rest.
pub fn node_status_update(new: &Node, old: &Node) -> FieldErrors {
    node_update(new, old)
}

/// Texts for `Warning:` headers.
pub fn node_warnings(node: &Node, _old: Option<&Node>) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(spec) = &node.spec else { return warnings };
    if spec.config_source.is_some() {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if spec.external_id.as_ref().is_some_and(|id| !id.is_empty()) {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    warnings
}

fn node_rules(errors: &mut FieldErrors, node: &Node) {
    if let Some(spec) = &node.spec {
        taints(errors, spec.taints.as_deref().unwrap_or_default());
        let cidrs = spec.pod_cidrs.as_deref().unwrap_or_default();
        let path = Path::new("spec.podCIDRs");
        for (index, cidr) in cidrs.iter().enumerate() {
            names::check(errors, &path.index(index), cidr, ip::range);
        }
        if ip::share_a_family(cidrs.iter().map(String::as_str)) {
            let detail = "may specify no more than one CIDR for each IP family";
            errors.push(FieldError::invalid(path, cidrs, detail));
        }
    }
    let Some(status) = &node.status else { return };
    for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (name, quantity) in list.iter().flatten() {
            let whole = name == "pods" || (name.contains('/') && !name.contains("kubernetes.io/"));
            let path = Path::new("status").child(field).child(name);
            amounts::resource_quantity(errors, &path, quantity, whole);
        }
    }
    let features = status.declared_features.as_deref().unwrap_or_default();
    if !features.is_sorted() {
        let path = Path::new("status.declaredFeatures");
        errors.push(FieldError::invalid(path, features, "list must be sorted alphabetically"));
    }
}

/// Kubernetes reports taints under `metadata`.
fn taints(errors: &mut FieldErrors, taints: &[Taint]) {
    for (index, taint) in taints.iter().enumerate() {
        let path = Path::new("metadata.taints").index(index);
        names::check(errors, &path.child("key"), &taint.key, names::qualified);
        let value = taint.value.as_deref().unwrap_or_default();
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(path.child("value"), value, wrong.join(";")));
        }
        required_choice(errors, &path.child("effect"), Some(&taint.effect), EFFECTS);
        let same = |other: &Taint| (&other.key, &other.effect) == (&taint.key, &taint.effect);
        if taints[..index].iter().any(same) {
            let detail = "taints must be unique by key and effect pair";
            errors.push(FieldError::duplicate(path, go::Taint::from(taint)).with_detail(detail));
        }
    }
}

fn addresses(errors: &mut FieldErrors, node: &Node) {
    let list = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    for (index, address) in list.iter().enumerate() {
        if list[..index].contains(address) {
            let path = Path::new("status.addresses").index(index);
            errors.push(FieldError::duplicate(path, go::NodeAddress::from(address)));
        }
    }
}
