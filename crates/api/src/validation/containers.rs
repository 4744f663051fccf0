//! The rules every container obeys, and those of regular ones (contract 4.4, Containers).

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerRestartRule, EnvFromSource, EnvVar, ResourceRequirements, SecurityContext,
    VolumeDevice, VolumeMount,
};

use super::path::Path;
use super::pod_spec::{PodContext, required_choice};
use super::{amounts, env, mounts, names, probes, resources, security};
use crate::errors::{FieldError, FieldErrors};

/// The fields that containers of every sort share.
pub(super) struct Common<'a> {
    pub name: &'a str,
    pub image: Option<&'a str>,
    pub image_pull_policy: Option<&'a str>,
    pub termination_message_policy: Option<&'a str>,
    pub ports: &'a [ContainerPort],
    pub env: &'a [EnvVar],
    pub env_from: &'a [EnvFromSource],
    pub volume_mounts: &'a [VolumeMount],
    pub volume_devices: &'a [VolumeDevice],
    pub resources: Option<&'a ResourceRequirements>,
    pub security_context: Option<&'a SecurityContext>,
}

impl<'a> Common<'a> {
    pub(super) fn of(container: &'a Container) -> Self {
        Self {
            name: &container.name,
            image: container.image.as_deref(),
            image_pull_policy: container.image_pull_policy.as_deref(),
            termination_message_policy: container.termination_message_policy.as_deref(),
            ports: container.ports.as_deref().unwrap_or_default(),
            env: container.env.as_deref().unwrap_or_default(),
            env_from: container.env_from.as_deref().unwrap_or_default(),
            volume_mounts: container.volume_mounts.as_deref().unwrap_or_default(),
            volume_devices: container.volume_devices.as_deref().unwrap_or_default(),
            resources: container.resources.as_ref(),
            security_context: container.security_context.as_ref(),
        }
    }
}

const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// The regular containers of a pod.
pub(super) fn containers(errors: &mut FieldErrors, path: &Path, context: &PodContext<'_>) {
    let list = &context.spec.containers;
    if list.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, container) in list.iter().enumerate() {
        let path = path.index(index);
        common(errors, &path, &Common::of(container), context);
        if seen.contains(&container.name.as_str()) {
            errors.push(FieldError::duplicate(path.child("name"), &container.name));
        }
        seen.push(&container.name);
        probes::lifecycle(errors, &path.child("lifecycle"), container.lifecycle.as_ref(), context);
        probes::of_container(errors, &path, container);
        resources::resize_policy(errors, &path.child("resizePolicy"), container, context.spec, false);
        restart_rules(errors, &path, container);
    }
    let mut taken = Vec::new();
    for (index, container) in list.iter().enumerate() {
        host_port_conflicts(errors, &path.index(index).child("ports"), container, &mut taken);
    }
}

/// What holds for a container of any sort.
pub(super) fn common(errors: &mut FieldErrors, path: &Path, container: &Common<'_>, context: &PodContext<'_>) {
    match container.name {
        "" => errors.push(FieldError::required(path.child("name"), "")),
        name => names::check(errors, &path.child("name"), name, names::label),
    }
    if container.image.unwrap_or_default().is_empty() {
        errors.push(FieldError::required(path.child("image"), ""));
    }
    let policy = path.child("terminationMessagePolicy");
    required_choice(errors, &policy, container.termination_message_policy, &["File", "FallbackToLogsOnError"]);
    ports(errors, &path.child("ports"), container.ports, context);
    env::variables(errors, &path.child("env"), container.env, context);
    env::sources(errors, &path.child("envFrom"), container.env_from);
    mounts::mounts(errors, &path.child("volumeMounts"), container, context);
    mounts::devices(errors, &path.child("volumeDevices"), container, context);
    let policy = path.child("imagePullPolicy");
    required_choice(errors, &policy, container.image_pull_policy, &["Always", "IfNotPresent", "Never"]);
    resources::container(errors, &path.child("resources"), container.resources, context.spec);
    security::container(errors, &path.child("securityContext"), container.security_context, context.spec);
}

/// New pods may not have images with blanks around them.
pub(super) fn image_whitespace(errors: &mut FieldErrors, path: &Path, image: &str) {
    if !image.is_empty() && image.trim() != image {
        errors.push(FieldError::invalid(path, image, "must not have leading or trailing whitespace"));
    }
}

fn ports(errors: &mut FieldErrors, path: &Path, ports: &[ContainerPort], context: &PodContext<'_>) {
    let host_network = context.spec.host_network == Some(true);
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let wrong = names::port_name(name);
            if wrong.is_empty() && seen.contains(&name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
            if wrong.is_empty() {
                seen.push(name);
            }
            names::check(errors, &path.child("name"), name, names::port_name);
        }
        match port.container_port {
            0 => errors.push(FieldError::required(path.child("containerPort"), "")),
            number => amounts::port(errors, &path.child("containerPort"), number),
        }
        let host_port = port.host_port.unwrap_or_default();
        if host_port != 0 {
            amounts::port(errors, &path.child("hostPort"), host_port);
        }
        let must_match = host_network && !(context.is_template() && host_port == 0);
        if must_match && host_port != port.container_port {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(path.child("hostPort"), host_port, detail));
        }
        required_choice(errors, &path.child("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
    }
}

/// Ports of the host can be taken once per protocol and address. `taken` collects over containers.
pub(super) fn host_port_conflicts(
    errors: &mut FieldErrors,
    path: &Path,
    container: &Container,
    taken: &mut Vec<String>,
) {
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let Some(host_port) = port.host_port.filter(|port| *port != 0) else { continue };
        let protocol = port.protocol.as_deref().unwrap_or_default();
        let key = format!("{protocol}/{}/{host_port}", port.host_ip.as_deref().unwrap_or_default());
        if taken.contains(&key) {
            errors.push(FieldError::duplicate(path.index(index).child("hostPort"), &key));
        }
        taken.push(key);
    }
}

/// The container's own restart policy and its rules by exit code.
pub(super) fn restart_rules(errors: &mut FieldErrors, path: &Path, container: &Container) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let policy = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if !rules.is_empty() => {
            errors.push(FieldError::required(policy, "must specify restartPolicy when restart rules are used"));
        }
        None | Some("Always" | "Never" | "OnFailure") => {}
        Some(other) => {
            errors.push(FieldError::not_supported(policy, other, &["Always", "Never", "OnFailure"]));
        }
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        errors.push(FieldError::too_many(&path, rules.len(), RESTART_RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        restart_rule(errors, &path.index(index), rule);
    }
}

fn restart_rule(errors: &mut FieldErrors, path: &Path, rule: &ContainerRestartRule) {
    required_choice(errors, &path.child("action"), Some(&rule.action), &["Restart", "RestartAllContainers"]);
    let path = path.child("exitCodes");
    let Some(codes) = &rule.exit_codes else {
        errors.push(FieldError::required(path, "must be specified"));
        return;
    };
    required_choice(errors, &path.child("operator"), Some(&codes.operator), &["In", "NotIn"]);
    let count = codes.values.as_ref().map_or(0, Vec::len);
    if count > EXIT_CODES_MAX {
        errors.push(FieldError::too_many(path.child("values"), count, EXIT_CODES_MAX));
    }
}
