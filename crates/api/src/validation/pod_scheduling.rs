//! What may change on a pod while scheduling gates hold it back (contract 4.3).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, PodSpec};

use super::path::Path;
use crate::errors::{FieldError, FieldErrors};

const ADDITIONS: &str = "only additions are allowed (no mutations or deletions)";

/// Gates may only go; while one is left, node selectors may be narrowed. What is permitted is put
/// back to its old value in `allowed`, so that a comparison finds only what is not.
pub(super) fn gated_changes(
    errors: &mut FieldErrors,
    path: &Path,
    allowed: &mut PodSpec,
    new: &PodSpec,
    old: &PodSpec,
) {
    let known: Vec<&str> = old.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str()).collect();
    for (index, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        if !known.contains(&gate.name.as_str()) {
            let path = path.child("schedulingGates").index(index).child("name");
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.push(FieldError::forbidden(path, detail));
        }
    }
    allowed.scheduling_gates.clone_from(&old.scheduling_gates);
    if known.is_empty() {
        return;
    }
    let empty = BTreeMap::new();
    let selector = new.node_selector.as_ref().unwrap_or(&empty);
    if old.node_selector.iter().flatten().any(|(key, value)| selector.get(key) != Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(path.child("nodeSelector"), selector, detail));
    }
    allowed.node_selector.clone_from(&old.node_selector);
    node_affinity(errors, &path.child("affinity").child("nodeAffinity"), new, old);
    if let Some(affinity) = &mut allowed.affinity {
        affinity.node_affinity = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
        if old.affinity.is_none() && *affinity == Default::default() {
            allowed.affinity = None;
        }
    }
}

fn node_affinity(errors: &mut FieldErrors, path: &Path, new: &PodSpec, old: &PodSpec) {
    let old = required_terms(old);
    let new = required_terms(new);
    if old.is_empty() {
        return;
    }
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    if old.len() != new.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(path, new, detail));
        return;
    }
    for (index, (old, new)) in old.iter().zip(new).enumerate() {
        if !narrows(old, new) {
            errors.push(FieldError::invalid(path.index(index), new, ADDITIONS));
        }
    }
}

fn required_terms(spec: &PodSpec) -> &[NodeSelectorTerm] {
    spec.affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
        .map(|selector| selector.node_selector_terms.as_slice())
        .unwrap_or_default()
}

/// Whether a term still begins with all it demanded before.
fn narrows(old: &NodeSelectorTerm, new: &NodeSelectorTerm) -> bool {
    let begins = |old: &Option<Vec<_>>, new: &Option<Vec<_>>| {
        new.as_deref().unwrap_or_default().starts_with(old.as_deref().unwrap_or_default())
    };
    begins(&old.match_expressions, &new.match_expressions) && begins(&old.match_fields, &new.match_fields)
}
