//! Where pods may and may not run: affinity, tolerations, spreading (contract 4.4).

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec,
    Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::path::Path;
use super::pod_spec::{optional_choice, required_choice};
use super::{amounts, labels, names};
use crate::errors::{FieldError, FieldErrors};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const WEIGHT_RULE: &str = "must be in the range 1-100";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// All three sorts of affinity.
pub(super) fn affinity(errors: &mut FieldErrors, path: &Path, affinity: Option<&Affinity>) {
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        node_affinity(errors, &path.child("nodeAffinity"), node);
    }
    if let Some(pod) = &affinity.pod_affinity {
        let required = pod.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pod.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_terms(errors, &path.child("podAffinity"), required, preferred);
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let required = pod.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pod.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_terms(errors, &path.child("podAntiAffinity"), required, preferred);
    }
}

fn node_affinity(errors: &mut FieldErrors, path: &Path, affinity: &NodeAffinity) {
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        node_selector(errors, &path.child(REQUIRED), selector);
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (index, term) in preferred.enumerate() {
        let path = path.child(PREFERRED).index(index);
        weight(errors, &path, term.weight);
        node_term(errors, &path.child("preference"), &term.preference, false);
    }
}

/// A required selection of nodes, in a pod or on a volume.
pub(super) fn node_selector(errors: &mut FieldErrors, path: &Path, selector: &NodeSelector) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        node_term(errors, &path.index(index), term, true);
    }
}

/// Values must be labels only where the term is required; preferred ones merely warn.
fn node_term(errors: &mut FieldErrors, path: &Path, term: &NodeSelectorTerm, required: bool) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        node_requirement(errors, &path.child("matchExpressions").index(index), requirement, required);
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field(errors, &path.child("matchFields").index(index), requirement);
    }
}

fn node_requirement(errors: &mut FieldErrors, path: &Path, requirement: &NodeSelectorRequirement, required: bool) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(at, labels::VALUES_NEEDED)),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.push(FieldError::forbidden(at, labels::VALUES_FORBIDDEN));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(at, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(path.child("operator"), other, labels::OPERATOR_UNKNOWN)),
    }
    names::check(errors, &path.child("key"), &requirement.key, names::qualified);
    if required {
        for (index, value) in values.iter().enumerate() {
            names::check(errors, &path.child("values").index(index), value, names::label_value);
        }
    }
}

fn node_field(errors: &mut FieldErrors, path: &Path, requirement: &NodeSelectorRequirement) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(path.child("values"), detail));
        }
        "In" | "NotIn" => {}
        other => errors.push(FieldError::invalid(path.child("operator"), other, labels::OPERATOR_UNKNOWN)),
    }
    if requirement.key != "metadata.name" {
        errors.push(FieldError::invalid(path.child("key"), &requirement.key, "not a valid field selector key"));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        names::check(errors, &path.child("values").index(index), value, names::subdomain);
    }
}

fn weight(errors: &mut FieldErrors, path: &Path, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(path.child("weight"), weight, WEIGHT_RULE));
    }
}

fn pod_terms(
    errors: &mut FieldErrors,
    path: &Path,
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
) {
    for (index, term) in required.into_iter().flatten().enumerate() {
        pod_term(errors, &path.child(REQUIRED).index(index), term);
    }
    for (index, term) in preferred.into_iter().flatten().enumerate() {
        let path = path.child(PREFERRED).index(index);
        weight(errors, &path, term.weight);
        pod_term(errors, &path.child("podAffinityTerm"), &term.pod_affinity_term);
    }
}

fn pod_term(errors: &mut FieldErrors, path: &Path, term: &PodAffinityTerm) {
    if let Some(selector) = &term.label_selector {
        labels::selector(errors, &path.child("labelSelector"), selector);
    }
    if let Some(selector) = &term.namespace_selector {
        labels::selector(errors, &path.child("namespaceSelector"), selector);
    }
    for namespace in term.namespaces.iter().flatten() {
        names::check(errors, &path.child("namespace"), namespace, names::label);
    }
    let selector = term.label_selector.as_ref();
    let matching = term.match_label_keys.as_deref().unwrap_or_default();
    let mismatching = term.mismatch_label_keys.as_deref().unwrap_or_default();
    label_keys(errors, path, "matchLabelKeys", matching, selector);
    label_keys(errors, path, "mismatchLabelKeys", mismatching, selector);
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(FieldError::invalid(path.child("matchLabelKeys").index(index), key, detail));
    }
    topology_key(errors, &path.child("topologyKey"), &term.topology_key);
}

fn topology_key(errors: &mut FieldErrors, path: &Path, key: &str) {
    if key.is_empty() {
        errors.push(FieldError::required(path, "can not be empty"));
    }
    names::check(errors, path, key, names::qualified);
}

/// Keys whose values are taken from the pod itself. On create they have been merged into the
/// selector, so only repeats the author wrote are refused; the path then names the term, not the list.
fn label_keys(errors: &mut FieldErrors, path: &Path, field: &str, keys: &[String], selector: Option<&LabelSelector>) {
    if !keys.is_empty() && selector.is_none() {
        let detail = "must not be specified when labelSelector is not set";
        errors.push(FieldError::forbidden(path.child(field), detail));
    }
    let in_labels = |key: &String| {
        selector.and_then(|selector| selector.match_labels.as_ref()).is_some_and(|labels| labels.contains_key(key))
    };
    for (index, key) in keys.iter().enumerate() {
        names::check(errors, &path.child(field).index(index), key, names::qualified);
        if in_labels(key) {
            let detail = format!("exists in both {field} and labelSelector");
            errors.push(FieldError::invalid(path.index(index), key, detail));
        }
    }
}

/// The taints a pod puts up with.
pub(super) fn tolerations(errors: &mut FieldErrors, path: &Path, tolerations: &[Toleration]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        one_toleration(errors, &path.index(index), toleration);
    }
}

fn one_toleration(errors: &mut FieldErrors, path: &Path, toleration: &Toleration) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (key, operator, value, effect) =
        (text(&toleration.key), text(&toleration.operator), text(&toleration.value), text(&toleration.effect));
    if !key.is_empty() {
        names::check(errors, &path.child("key"), &key, names::qualified);
    }
    if key.is_empty() && operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(path.child("operator"), &operator, detail));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(path.child("effect"), &effect, detail));
    }
    match operator.as_str() {
        "" | "Equal" => names::check(errors, &path.child("value"), &value, names::label_value),
        "Exists" if !value.is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(path.child("operator"), &value, detail));
        }
        "Exists" => {}
        "Lt" | "Gt" => {
            let supported = &["Equal", "Exists", "Lt", "Gt"];
            errors.push(FieldError::not_supported(path.child("operator"), &operator, supported));
        }
        other => errors.push(FieldError::not_supported(path.child("operator"), other, &["Equal", "Exists"])),
    }
    if !effect.is_empty() {
        optional_choice(errors, &path.child("effect"), Some(&effect), EFFECTS);
    }
}

/// How evenly pods must be spread.
pub(super) fn topology_spread(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        one_spread(errors, &path, constraint);
        let same = |other: &TopologySpreadConstraint| {
            (&other.topology_key, &other.when_unsatisfiable)
                == (&constraint.topology_key, &constraint.when_unsatisfiable)
        };
        if constraints[..index].iter().any(same) {
            let value = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            errors.push(FieldError::duplicate(path.child("{topologyKey, whenUnsatisfiable}"), value));
        }
    }
}

fn one_spread(errors: &mut FieldErrors, path: &Path, constraint: &TopologySpreadConstraint) {
    if constraint.max_skew <= 0 {
        errors.push(FieldError::invalid(path.child("maxSkew"), constraint.max_skew, amounts::POSITIVE));
    }
    if constraint.topology_key.is_empty() {
        errors.push(FieldError::required(path.child("topologyKey"), "can not be empty"));
    } else {
        names::check(errors, &path.child("topologyKey"), &constraint.topology_key, names::qualified);
    }
    let when = constraint.when_unsatisfiable.as_str();
    required_choice(errors, &path.child("whenUnsatisfiable"), Some(when), &["DoNotSchedule", "ScheduleAnyway"]);
    if let Some(domains) = constraint.min_domains {
        let path = path.child("minDomains");
        if domains <= 0 {
            errors.push(FieldError::invalid(&path, domains, amounts::POSITIVE));
        }
        if when != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
            errors.push(FieldError::invalid(&path, domains, detail));
        }
    }
    for (field, policy) in
        [("nodeAffinityPolicy", &constraint.node_affinity_policy), ("nodeTaintsPolicy", &constraint.node_taints_policy)]
    {
        optional_choice(errors, &path.child(field), policy.as_deref(), &["Honor", "Ignore"]);
    }
    if let Some(selector) = &constraint.label_selector {
        labels::selector(errors, &path.child("labelSelector"), selector);
    }
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    label_keys(errors, path, "matchLabelKeys", keys, constraint.label_selector.as_ref());
}
