//! What happens to a pod spec, in a pod or a template, before it is judged: fields whose gates are off
//! are dropped, label keys become selectors (contract `defaults-validation.md`, 4.2).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Lifecycle, PodAffinityTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Drops, without a word, the fields that Kubernetes v1.36 drops with its default gates.
pub(super) fn drop_disabled(spec: &mut PodSpec) {
    spec.scheduling_group = None;
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        drop_stop_signal(&mut container.lifecycle);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        drop_stop_signal(&mut container.lifecycle);
    }
    let projected = spec.volumes.iter_mut().flatten().filter_map(|volume| volume.projected.as_mut());
    for source in projected.filter_map(|projected| projected.sources.as_mut()).flatten() {
        source.cluster_trust_bundle = None;
        source.pod_certificate = None;
    }
}

fn drop_stop_signal(lifecycle: &mut Option<Lifecycle>) {
    if let Some(lifecycle) = lifecycle {
        lifecycle.stop_signal = None;
    }
}

/// Writes `matchLabelKeys` and `mismatchLabelKeys` out as expressions on the pod's own label values,
/// for affinity terms and spread constraints. Keys the pod does not carry are left alone.
pub(super) fn expand_label_keys(spec: &mut PodSpec, labels: &BTreeMap<String, String>) {
    let affinity = spec.affinity.as_mut();
    let (required, preferred) = affinity
        .map(|affinity| {
            let attract = affinity.pod_affinity.as_mut();
            let repel = affinity.pod_anti_affinity.as_mut();
            let mut required = Vec::new();
            let mut preferred = Vec::new();
            if let Some(attract) = attract {
                required.extend(attract.required_during_scheduling_ignored_during_execution.iter_mut().flatten());
                preferred.extend(attract.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten());
            }
            if let Some(repel) = repel {
                required.extend(repel.required_during_scheduling_ignored_during_execution.iter_mut().flatten());
                preferred.extend(repel.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten());
            }
            (required, preferred)
        })
        .unwrap_or_default();
    for term in required.into_iter().chain(preferred.into_iter().map(|weighted| &mut weighted.pod_affinity_term)) {
        expand_term(term, labels);
    }
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        let keys = constraint.match_label_keys.clone();
        expand(&mut constraint.label_selector, keys.as_deref(), "In", labels);
    }
}

fn expand_term(term: &mut PodAffinityTerm, labels: &BTreeMap<String, String>) {
    let PodAffinityTerm { label_selector, match_label_keys, mismatch_label_keys, .. } = term;
    expand(label_selector, match_label_keys.as_deref(), "In", labels);
    expand(label_selector, mismatch_label_keys.as_deref(), "NotIn", labels);
}

fn expand(
    selector: &mut Option<LabelSelector>,
    keys: Option<&[String]>,
    operator: &str,
    labels: &BTreeMap<String, String>,
) {
    // Without a selector nothing matches, and validation says so.
    let Some(selector) = selector else { return };
    for (key, value) in keys.into_iter().flatten().filter_map(|key| labels.get_key_value(key)) {
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Affinity, PodAntiAffinity};

    #[test]
    fn label_keys_become_expressions_once_the_pod_has_the_label() {
        let term = PodAffinityTerm {
            label_selector: Some(LabelSelector::default()),
            match_label_keys: Some(vec!["app".into(), "missing".into()]),
            mismatch_label_keys: Some(vec!["tenant".into()]),
            ..PodAffinityTerm::default()
        };
        let mut spec = PodSpec {
            affinity: Some(Affinity {
                pod_anti_affinity: Some(PodAntiAffinity {
                    required_during_scheduling_ignored_during_execution: Some(vec![term]),
                    ..PodAntiAffinity::default()
                }),
                ..Affinity::default()
            }),
            ..PodSpec::default()
        };
        let labels = [("app", "web"), ("tenant", "a")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        expand_label_keys(&mut spec, &labels);
        let terms =
            spec.affinity.unwrap().pod_anti_affinity.unwrap().required_during_scheduling_ignored_during_execution;
        let selector = terms.unwrap().remove(0).label_selector.unwrap();
        let text = crate::selectors::Selector::try_from(&selector).unwrap().to_string();
        assert_eq!(text, "app in (web),tenant notin (a)");
    }
}
