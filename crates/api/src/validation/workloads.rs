//! What StatefulSets, Deployments and ReplicaSets share: selectors, templates, counters, scale
//! (contract 9), and the last two kinds themselves.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, ReplicaSetSpec, RollingUpdateDeployment,
};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{self, NameRule};
use super::path::Path;
use super::{amounts, go, labels, pod_spec, pod_warnings};
use crate::errors::{FieldError, FieldErrors};
use crate::registry::Scope;
use crate::selectors::Selector;

const LABELS_MISMATCH: &str = "`selector` does not match template `labels`";

/// Everything wrong with a new Deployment.
pub fn deployment_create(deployment: &Deployment) -> FieldErrors {
    let mut errors = metadata::metadata_create(&deployment.metadata, NameRule::Subdomain, Scope::Namespaced);
    deployment_spec(&mut errors, deployment);
    errors
}

/// Everything wrong with a change to a Deployment.
pub fn deployment_update(new: &Deployment, old: &Deployment) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    deployment_spec(&mut errors, new);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        same_selector(&mut errors, &new.selector, &old.selector);
    }
    errors
}

/// Everything wrong with a change to the status of a Deployment.
pub fn deployment_status_update(new: &Deployment, old: &Deployment) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let Some(status) = &new.status else { return errors };
    let path = Path::new("status");
    amounts::not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
    counters(
        &mut errors,
        &path,
        &Counters {
            all: Count("replicas", status.replicas),
            bounded: &[
                Count("updatedReplicas", status.updated_replicas),
                Count("readyReplicas", status.ready_replicas),
                Count("availableReplicas", status.available_replicas),
            ],
            ready: status.ready_replicas,
            available: status.available_replicas,
        },
    );
    amounts::not_negative(&mut errors, &path.child("unavailableReplicas"), status.unavailable_replicas);
    let before = old.status.as_ref().and_then(|status| status.collision_count);
    collisions(&mut errors, &path.child("collisionCount"), status.collision_count, before);
    errors
}

/// Texts for `Warning:` headers.
pub fn deployment_warnings(deployment: &Deployment, old: Option<&Deployment>) -> Vec<String> {
    let template = |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.template.clone());
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    warnings(name, template(deployment).as_ref(), old.map(template).as_ref().map(Option::as_ref))
}

/// Everything wrong with a new ReplicaSet.
pub fn replica_set_create(set: &ReplicaSet) -> FieldErrors {
    let mut errors = metadata::metadata_create(&set.metadata, NameRule::Subdomain, Scope::Namespaced);
    replica_set_spec(&mut errors, set);
    errors
}

/// Everything wrong with a change to a ReplicaSet.
pub fn replica_set_update(new: &ReplicaSet, old: &ReplicaSet) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    replica_set_spec(&mut errors, new);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        same_selector(&mut errors, &new.selector, &old.selector);
    }
    errors
}

/// Everything wrong with a change to the status of a ReplicaSet.
pub fn replica_set_status_update(new: &ReplicaSet, old: &ReplicaSet) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let Some(status) = &new.status else { return errors };
    let path = Path::new("status");
    amounts::not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
    counters(
        &mut errors,
        &path,
        &Counters {
            all: Count("replicas", Some(status.replicas)),
            bounded: &[
                Count("fullyLabeledReplicas", status.fully_labeled_replicas),
                Count("readyReplicas", status.ready_replicas),
                Count("availableReplicas", status.available_replicas),
            ],
            ready: status.ready_replicas,
            available: status.available_replicas,
        },
    );
    errors
}

/// Texts for `Warning:` headers.
pub fn replica_set_warnings(set: &ReplicaSet, old: Option<&ReplicaSet>) -> Vec<String> {
    let template = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone());
    let name = set.metadata.name.as_deref().unwrap_or_default();
    warnings(name, template(set).as_ref(), old.map(template).as_ref().map(Option::as_ref))
}

/// Everything wrong with a Scale that a client sent.
pub fn scale(scale: &Scale) -> FieldErrors {
    let mut errors = metadata::metadata_create(&scale.metadata, NameRule::Subdomain, Scope::Namespaced);
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas);
    amounts::not_negative(&mut errors, &Path::new("spec.replicas"), replicas);
    errors
}

/// Warnings about the name (new objects) and the template (where it changed).
pub(super) fn warnings(
    name: &str,
    template: Option<&PodTemplateSpec>,
    old: Option<Option<&PodTemplateSpec>>,
) -> Vec<String> {
    let reason = "this is used in Pod names and hostnames, which can result in surprising behavior";
    let mut warnings = if old.is_none() { pod_warnings::name_not_a_label(name, reason) } else { Vec::new() };
    if let Some(template) = template.filter(|template| old.is_none_or(|old| old != Some(template))) {
        pod_warnings::template(&mut warnings, &Path::new("spec.template"), template);
    }
    warnings
}

/// A selector of pods. One that says nothing was not given at all: typed objects cannot tell `{}`
/// from an absent selector, and Kubernetes takes neither.
pub(super) fn selector(errors: &mut FieldErrors, path: &Path, selector: &LabelSelector) {
    if labels::is_empty(selector) {
        errors.push(FieldError::required(path, ""));
    } else {
        labels::selector(errors, path, selector);
    }
}

/// The selector of a workload keeps its first value.
fn same_selector(errors: &mut FieldErrors, new: &LabelSelector, old: &LabelSelector) {
    let (new, old) = (go::LabelSelector::from(new), go::LabelSelector::from(old));
    metadata::immutable(errors, &Path::new("spec.selector"), &new, &old);
}

/// Checks that the selector at `spec.selector` selects the pods of the template; a missing one
/// selects none. False when the selector cannot be read at all, which ends the work on the template:
/// `unreadable` is what Kubernetes then says, different per kind.
pub(super) fn selector_matches(
    errors: &mut FieldErrors,
    path: &Path,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    unreadable: &str,
) -> bool {
    let Ok(readable) = Selector::try_from(selector) else {
        errors.push(FieldError::invalid("spec.selector", go::LabelSelector::from(selector), unreadable));
        return false;
    };
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    if labels::is_empty(selector) || !readable.matches(labels) {
        errors.push(FieldError::invalid(path.child("metadata").child("labels"), labels, LABELS_MISMATCH));
    }
    true
}

/// Pods of a workload run forever.
pub(super) fn runs_forever(errors: &mut FieldErrors, path: &Path, template: &PodTemplateSpec, kind: &str) {
    let Some(spec) = &template.spec else { return };
    let path = path.child("spec");
    if let Some(policy) = spec.restart_policy.as_deref().filter(|policy| *policy != "Always") {
        errors.push(FieldError::not_supported(path.child("restartPolicy"), policy, &["Always"]));
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(path.child("activeDeadlineSeconds"), detail));
    }
}

/// A named counter of a status.
pub(super) struct Count(pub &'static str, pub Option<i32>);

/// The counters of a status and how they bound each other.
pub(super) struct Counters<'a> {
    /// The number nothing else may exceed.
    pub all: Count,
    /// The others.
    pub bounded: &'a [Count],
    /// Ready pods.
    pub ready: Option<i32>,
    /// Available pods, never more than are ready.
    pub available: Option<i32>,
}

/// Counters are not negative and none exceeds the whole.
pub(super) fn counters(errors: &mut FieldErrors, path: &Path, counters: &Counters<'_>) {
    amounts::not_negative(errors, &path.child(counters.all.0), counters.all.1);
    for count in counters.bounded {
        amounts::not_negative(errors, &path.child(count.0), count.1);
    }
    let all = counters.all.1.unwrap_or_default();
    for count in counters.bounded {
        if let Some(value) = count.1.filter(|value| *value > all) {
            let path = path.child(count.0);
            errors.push(FieldError::invalid(path, value, "cannot be greater than status.replicas"));
        }
    }
    if let Some(value) = counters.available.filter(|value| *value > counters.ready.unwrap_or_default()) {
        let path = path.child("availableReplicas");
        errors.push(FieldError::invalid(path, value, "cannot be greater than readyReplicas"));
    }
}

/// The collision counter only grows.
pub(super) fn collisions(errors: &mut FieldErrors, path: &Path, new: Option<i32>, old: Option<i32>) {
    amounts::not_negative(errors, path, new);
    if let Some(old) = old
        && new.unwrap_or_default() < old
    {
        errors.push(FieldError::invalid(path, new.unwrap_or_default(), "cannot be decremented"));
    }
}

fn deployment_spec(errors: &mut FieldErrors, deployment: &Deployment) {
    let empty = DeploymentSpec::default();
    let spec = deployment.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    amounts::not_negative(errors, &path.child("replicas"), spec.replicas);
    selector(errors, &path.child("selector"), &spec.selector);
    replicated_template(errors, &path.child("template"), &spec.selector, &spec.template);
    strategy(errors, &path.child("strategy"), spec.strategy.as_ref());
    amounts::not_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    amounts::not_negative(errors, &path.child("revisionHistoryLimit"), spec.revision_history_limit);
    if let Some(seconds) = spec.progress_deadline_seconds {
        let path = path.child("progressDeadlineSeconds");
        amounts::not_negative(errors, &path, Some(seconds));
        if seconds <= spec.min_ready_seconds.unwrap_or_default() {
            errors.push(FieldError::invalid(path, seconds, "must be greater than minReadySeconds"));
        }
    }
}

fn replica_set_spec(errors: &mut FieldErrors, set: &ReplicaSet) {
    let empty = ReplicaSetSpec::default();
    let spec = set.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    amounts::not_negative(errors, &path.child("replicas"), spec.replicas);
    amounts::not_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    selector(errors, &path.child("selector"), &spec.selector);
    match &spec.template {
        Some(template) => replicated_template(errors, &path.child("template"), &spec.selector, template),
        None => errors.push(FieldError::required(path.child("template"), "")),
    }
}

fn replicated_template(errors: &mut FieldErrors, path: &Path, selector: &LabelSelector, template: &PodTemplateSpec) {
    if !selector_matches(errors, path, selector, template, "invalid label selector") {
        return;
    }
    pod_spec::template(errors, path, template);
    runs_forever(errors, path, template, "ReplicaSet");
}

fn strategy(errors: &mut FieldErrors, path: &Path, strategy: Option<&DeploymentStrategy>) {
    let Some(strategy) = strategy else { return };
    match (strategy.type_.as_deref().unwrap_or_default(), &strategy.rolling_update) {
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(path.child("rollingUpdate"), detail));
        }
        ("Recreate", None) => {}
        ("RollingUpdate", Some(block)) => rolling_update(errors, &path.child("rollingUpdate"), block),
        ("RollingUpdate", None) => {
            let detail = "this should be defaulted and never be nil";
            errors.push(FieldError::required(path.child("rollingUpdate"), detail));
        }
        (type_, block) => {
            let value = go::Strategy { type_, rolling_update: block.as_ref().map(go::DeploymentRollingUpdate::from) };
            errors.push(FieldError::not_supported(path, value, &["Recreate", "RollingUpdate"]));
        }
    }
}

fn rolling_update(errors: &mut FieldErrors, path: &Path, block: &RollingUpdateDeployment) {
    let zero = IntOrString::Int(0);
    let unavailable = block.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = block.max_surge.as_ref().unwrap_or(&zero);
    let at = path.child("maxUnavailable");
    amounts::count_or_percent(errors, &at, unavailable);
    amounts::count_or_percent(errors, &path.child("maxSurge"), surge);
    if amounts::is_zero(unavailable) && amounts::is_zero(surge) {
        errors.push(FieldError::invalid(&at, unavailable, "may not be 0 when `maxSurge` is 0"));
    }
    amounts::at_most_all(errors, &at, unavailable);
}
