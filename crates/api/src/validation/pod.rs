//! Pods: new ones, and the few things that may change on existing ones (contract 4.3).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus, Toleration};

use super::metadata::{self, NameRule};
use super::path::Path;
use super::{containers, diff, ip, names, pod_scheduling, pod_spec};
use crate::errors::{FieldError, FieldErrors};
use crate::object::semantically_equal;
use crate::registry::Scope;

const MIRROR: &str = "kubernetes.io/config.mirror";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Everything wrong with a new Pod.
pub fn pod_create(pod: &Pod) -> FieldErrors {
    let mut errors = metadata::metadata_create(&pod.metadata, NameRule::Subdomain, Scope::Namespaced);
    pod_spec::pod(&mut errors, pod, true);
    errors
}

/// Everything wrong with a change to a Pod.
pub fn pod_update(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    pod_spec::pod(&mut errors, new, false);
    annotations(&mut errors, new, old);
    let empty = PodSpec::default();
    spec_update(&mut errors, new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    errors
}

/// Everything wrong with a change to the status of a Pod.
pub fn pod_status_update(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    annotations(&mut errors, new, old);
    let empty = PodStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&empty), old.status.as_ref().unwrap_or(&empty));
    let path = Path::new("status");
    if before.qos_class.is_some() {
        metadata::immutable(&mut errors, &path.child("qosClass"), &status.qos_class, &before.qos_class);
    }
    nominated_node(&mut errors, &path, new, old);
    let restarts = new.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    if restarts != "Always" {
        let restarts_on_failure = restarts == "OnFailure";
        let list = |status: &'_ PodStatus| status.container_statuses.clone().unwrap_or_default();
        let path = path.child("containerStatuses");
        no_resurrection(&mut errors, &path, &list(status), &list(before), restarts_on_failure);
    }
    for (index, condition) in status.conditions.iter().flatten().enumerate() {
        let path = path.child("conditions").index(index).child("Type");
        names::check(&mut errors, &path, &condition.type_, names::qualified);
    }
    addresses(&mut errors, &path, status);
    errors
}

fn annotations(errors: &mut FieldErrors, new: &Pod, old: &Pod) {
    let path = Path::new("metadata.annotations");
    let empty = BTreeMap::new();
    let new = new.metadata.annotations.as_ref().unwrap_or(&empty);
    let old = old.metadata.annotations.as_ref().unwrap_or(&empty);
    let guarded = |key: &str| key == MIRROR || key.starts_with(APP_ARMOR);
    let subject = |key: &str| if key == MIRROR { "mirror pod annotation" } else { "AppArmor annotations" };
    for (key, value) in old.iter().filter(|(key, _)| guarded(key)) {
        if new.get(key) != Some(value) {
            let detail = format!("may not remove or update {}", subject(key));
            errors.push(FieldError::forbidden(path.key(key), detail));
        }
    }
    for key in new.keys().filter(|key| guarded(key) && !old.contains_key(*key)) {
        errors.push(FieldError::forbidden(path.key(key), format!("may not add {}", subject(key))));
    }
}

fn spec_update(errors: &mut FieldErrors, new: &PodSpec, old: &PodSpec) {
    let path = Path::new("spec");
    let init = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    if images(errors, &path.child("containers"), &new.containers, &old.containers)
        || images(errors, &path.child("initContainers"), &init(new), &init(old))
    {
        return;
    }
    active_deadline(errors, &path.child("activeDeadlineSeconds"), new, old);
    tolerations(errors, &path.child("tolerations"), new, old);
    let mut allowed = with_mutable_fields_of(new, old);
    pod_scheduling::gated_changes(errors, &path, &mut allowed, new, old);
    if !semantically_equal(&allowed, old) {
        let detail = format!("{UPDATABLE}\n{}", diff::of(old, &allowed));
        errors.push(FieldError::forbidden(&path, detail));
    }
}

/// Images may change; whether the rest of the containers did is found out with the rest of the spec.
/// True when the lists cannot even be compared.
fn images(errors: &mut FieldErrors, path: &Path, new: &[Container], old: &[Container]) -> bool {
    if new.len() != old.len() {
        errors.push(FieldError::forbidden(path, "pod updates may not add or remove containers"));
        return true;
    }
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        let path = path.index(index).child("image");
        let image = new.image.as_deref().unwrap_or_default();
        if image.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        if new.image != old.image {
            containers::image_whitespace(errors, &path, image);
        }
    }
    false
}

fn active_deadline(errors: &mut FieldErrors, path: &Path, new: &PodSpec, old: &PodSpec) {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.push(FieldError::invalid(path, new, "must be between 0 and 2147483647, inclusive"));
        }
        (Some(new), Some(old)) if new > old => {
            errors.push(FieldError::invalid(path, new, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(path, None::<i64>, detail));
        }
        (Some(_), Some(_) | None) | (None, None) => {}
    }
}

fn tolerations(errors: &mut FieldErrors, path: &Path, new: &PodSpec, old: &PodSpec) {
    let without_seconds = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let kept: Vec<_> = new.tolerations.iter().flatten().map(without_seconds).collect();
    if old.tolerations.iter().flatten().any(|toleration| !kept.contains(&without_seconds(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(path, detail));
    }
}

/// The new spec with everything that may change put back to what it was.
fn with_mutable_fields_of(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut spec = new.clone();
    for (new, old) in spec.containers.iter_mut().zip(&old.containers) {
        new.image.clone_from(&old.image);
    }
    for (new, old) in spec.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten()) {
        new.image.clone_from(&old.image);
    }
    spec.active_deadline_seconds = old.active_deadline_seconds;
    spec.tolerations.clone_from(&old.tolerations);
    if old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0)
        && spec.termination_grace_period_seconds == Some(1)
    {
        spec.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    spec
}

fn nominated_node(errors: &mut FieldErrors, path: &Path, new: &Pod, old: &Pod) {
    let node = |pod: &Pod| pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
    let bound = new.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|name| !name.is_empty()));
    let nominated = node(new).filter(|name| !name.is_empty());
    if bound && nominated.is_some() && nominated != node(old) {
        let detail = "may not be set on pods that are already bound to a node";
        errors.push(FieldError::forbidden(path.child("nominatedNodeName"), detail));
    }
    let old_name = old.spec.as_ref().and_then(|spec| spec.node_name.clone());
    if new.spec.as_ref().and_then(|spec| spec.node_name.clone()) != old_name {
        errors.push(FieldError::forbidden(path.child("nodeName"), "may not be changed directly"));
    }
}

/// Where the pod does not restart its containers, one that has ended stays ended.
fn no_resurrection(
    errors: &mut FieldErrors,
    path: &Path,
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    restarts_on_failure: bool,
) {
    for (index, before) in old.iter().enumerate() {
        let Some(ended) = before.state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        if restarts_on_failure && ended.exit_code != 0 {
            continue;
        }
        let now = new.iter().find(|status| status.name == before.name);
        if now.is_some_and(|now| now.state.as_ref().is_none_or(|state| state.terminated.is_none())) {
            let detail = "may not be transitioned to non-terminated state";
            errors.push(FieldError::forbidden(path.index(index).child("state"), detail));
        }
    }
}

fn addresses(errors: &mut FieldErrors, path: &Path, status: &PodStatus) {
    let pod_ips: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    for (index, value) in pod_ips.iter().enumerate() {
        names::check(errors, &path.child("podIPs").index(index), value, ip::address);
    }
    if ip::share_a_family(pod_ips.iter().copied()) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(path.child("podIPs"), &pod_ips, detail));
    }
    let first = status.host_ips.as_ref().and_then(|ips| ips.first());
    if let Some(first) = first
        && status.host_ip.as_ref() != Some(&first.ip)
    {
        let path = path.child("hostIPs").index(0).child("ip");
        errors.push(FieldError::invalid(path, &first.ip, "must be equal to `hostIP`"));
    }
}
