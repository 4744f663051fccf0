//! What is different for init containers and ephemeral containers (contract 4.4).

use k8s_openapi::api::core::v1::{Container, EphemeralContainer};

use super::containers::{self, Common};
use super::path::Path;
use super::pod_spec::PodContext;
use super::{probes, resources};
use crate::errors::{FieldError, FieldErrors};

/// Init containers, restartable ones (sidecars) among them.
pub(super) fn init_containers(errors: &mut FieldErrors, path: &Path, context: &PodContext<'_>) {
    let mut seen: Vec<&str> = context.spec.containers.iter().map(|container| container.name.as_str()).collect();
    for (index, container) in context.spec.init_containers.iter().flatten().enumerate() {
        let path = path.index(index);
        containers::common(errors, &path, &Common::of(container), context);
        if !container.name.is_empty() && seen.contains(&container.name.as_str()) {
            errors.push(FieldError::duplicate(path.child("name"), &container.name));
        }
        seen.push(&container.name);
        containers::host_port_conflicts(errors, &path.child("ports"), container, &mut Vec::new());
        containers::restart_rules(errors, &path, container);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        if sidecar {
            probes::lifecycle(errors, &path.child("lifecycle"), container.lifecycle.as_ref(), context);
            probes::of_container(errors, &path, container);
        } else {
            no_hooks(errors, &path, container);
        }
        resources::resize_policy(errors, &path.child("resizePolicy"), container, context.spec, !sidecar);
    }
}

/// A container that runs to its end has no use for hooks and probes.
fn no_hooks(errors: &mut FieldErrors, path: &Path, container: &Container) {
    let detail = "may not be set for init containers without restartPolicy=Always";
    for (field, set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if set {
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
    }
}

/// Ephemeral containers, which may set only what helps to look around.
pub(super) fn ephemeral_containers(errors: &mut FieldErrors, path: &Path, context: &PodContext<'_>) {
    let regular = context.spec.containers.iter().map(|container| container.name.as_str());
    let init = context.spec.init_containers.iter().flatten().map(|container| container.name.as_str());
    let targets: Vec<&str> = regular.clone().collect();
    let mut seen: Vec<&str> = regular.chain(init).collect();
    for (index, container) in context.spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.index(index);
        containers::common(errors, &path, &common(container), context);
        if !container.name.is_empty() && seen.contains(&container.name.as_str()) {
            errors.push(FieldError::duplicate(path.child("name"), &container.name));
        }
        seen.push(&container.name);
        let target = container.target_container_name.as_deref().unwrap_or_default();
        if !target.is_empty() && !targets.contains(&target) {
            errors.push(FieldError::not_found(path.child("targetContainerName"), target));
        }
        forbidden_fields(errors, &path, container);
    }
}

fn common(container: &EphemeralContainer) -> Common<'_> {
    Common {
        name: &container.name,
        image: container.image.as_deref(),
        image_pull_policy: container.image_pull_policy.as_deref(),
        termination_message_policy: container.termination_message_policy.as_deref(),
        ports: &[],
        env: container.env.as_deref().unwrap_or_default(),
        env_from: container.env_from.as_deref().unwrap_or_default(),
        volume_mounts: container.volume_mounts.as_deref().unwrap_or_default(),
        volume_devices: container.volume_devices.as_deref().unwrap_or_default(),
        resources: None,
        security_context: container.security_context.as_ref(),
    }
}

fn forbidden_fields(errors: &mut FieldErrors, path: &Path, container: &EphemeralContainer) {
    let detail = "cannot be set for an Ephemeral Container";
    let full = |set: Option<bool>| set == Some(true);
    let resources = container.resources.as_ref();
    for (field, set) in [
        ("ports", full(container.ports.as_ref().map(|list| !list.is_empty()))),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
        ("resources", full(resources.map(|resources| *resources != Default::default()))),
        ("resizePolicy", full(container.resize_policy.as_ref().map(|list| !list.is_empty()))),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", full(container.restart_policy_rules.as_ref().map(|list| !list.is_empty()))),
    ] {
        if set {
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.child("volumeMounts").index(index);
        for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                errors.push(FieldError::forbidden(path.child(field), detail));
            }
        }
    }
}
