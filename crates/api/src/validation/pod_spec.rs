//! The rules of a pod spec, in a pod or in a template (contract `defaults-validation.md`, 4.4).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec, Volume};

use super::path::Path;
use super::{affinity, amounts, containers, dns, labels, names, resources, security, special_containers, volumes};
use crate::errors::{FieldError, FieldErrors};

/// What the rules of a part need to know of the whole pod.
pub(super) struct PodContext<'a> {
    /// The spec the part belongs to.
    pub spec: &'a PodSpec,
    /// The sound volumes of the pod by name; a mount of any other volume refers to nothing.
    pub volumes: BTreeMap<&'a str, &'a Volume>,
    /// The pod's metadata name; none in a template.
    pub pod_name: Option<&'a str>,
    /// Whether the pod is made from scratch now, rather than changed.
    pub creating: bool,
}

impl PodContext<'_> {
    /// Whether this is the template of a workload.
    pub(super) fn is_template(&self) -> bool {
        self.pod_name.is_none()
    }
}

const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const HOST_NAME_MAX: usize = 64;

/// The spec of a pod. `creating` adds the rules that only new pods must obey.
pub(super) fn pod(errors: &mut FieldErrors, pod: &Pod, creating: bool) {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    annotations(errors, &Path::new("metadata.annotations"), pod.metadata.annotations.as_ref(), spec);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let path = Path::new("spec");
    pod_spec(errors, &path, spec, Some(name), creating);
    if creating {
        only_on_create(errors, &path, spec);
    }
}

/// A pod template.
pub(super) fn template(errors: &mut FieldErrors, path: &Path, template: &PodTemplateSpec) {
    let empty = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&empty);
    let meta = template.metadata.as_ref();
    labels::labels(errors, &path.child("labels"), meta.and_then(|meta| meta.labels.as_ref()));
    let own = meta.and_then(|meta| meta.annotations.as_ref());
    labels::annotations(errors, &path.child("annotations"), own);
    annotations(errors, &path.child("annotations"), own, spec);
    pod_spec(errors, &path.child("spec"), spec, None, true);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        let path = path.child("spec").child("ephemeralContainers");
        errors.push(FieldError::forbidden(path, "ephemeral containers not allowed in pod template"));
    }
}

fn pod_spec(errors: &mut FieldErrors, path: &Path, spec: &PodSpec, pod_name: Option<&str>, creating: bool) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.push(FieldError::required(path.child("terminationGracePeriodSeconds"), ""));
    }
    let mut context = PodContext { spec, volumes: BTreeMap::new(), pod_name, creating };
    context.volumes = volumes::volumes(errors, &path.child("volumes"), &context);
    containers::containers(errors, &path.child("containers"), &context);
    special_containers::init_containers(errors, &path.child("initContainers"), &context);
    special_containers::ephemeral_containers(errors, &path.child("ephemeralContainers"), &context);
    resources::pod_level(errors, path, spec);
    resources::pod_claims(errors, &path.child("resourceClaims"), spec);
    required_choice(
        errors,
        &path.child("restartPolicy"),
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
    );
    required_choice(errors, &path.child("dnsPolicy"), spec.dns_policy.as_deref(), DNS_POLICIES);
    labels::labels(errors, &path.child("nodeSelector"), spec.node_selector.as_ref());
    security::pod(errors, path, spec);
    affinity::affinity(errors, &path.child("affinity"), spec.affinity.as_ref());
    dns::config(errors, path, spec);
    gates(errors, path, spec);
    affinity::topology_spread(errors, &path.child("topologySpreadConstraints"), spec);
    security::host_users(errors, path, spec);
    plain_names(errors, path, spec);
    affinity::tolerations(errors, &path.child("tolerations"), spec.tolerations.as_deref().unwrap_or_default());
    dns::host_aliases(errors, &path.child("hostAliases"), spec);
    policies(errors, path, spec);
}

/// A value that must be there and be one of a set.
pub(super) fn required_choice(errors: &mut FieldErrors, path: &Path, value: Option<&str>, supported: &[&str]) {
    match value.unwrap_or_default() {
        "" => errors.push(FieldError::required(path, "")),
        value if supported.contains(&value) => {}
        value => errors.push(FieldError::not_supported(path, value, supported)),
    }
}

/// A value that may be absent but else is one of a set.
pub(super) fn optional_choice(errors: &mut FieldErrors, path: &Path, value: Option<&str>, supported: &[&str]) {
    if let Some(value) = value
        && !supported.contains(&value)
    {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

fn gates(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        names::check(errors, &path, &gate.condition_type, names::qualified);
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.child("schedulingGates").index(index);
        names::check(errors, &path, &gate.name, names::qualified);
        if seen.contains(&gate.name.as_str()) {
            errors.push(FieldError::duplicate(&path, &gate.name));
        }
        seen.push(&gate.name);
    }
}

fn plain_names(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let mut check = |field: &str, value: &Option<String>, rule| {
        names::check_optional(errors, &path.child(field), value.as_ref(), rule);
    };
    check("serviceAccountName", &spec.service_account_name, names::subdomain);
    check("nodeName", &spec.node_name, names::subdomain);
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(path.child("activeDeadlineSeconds"), seconds, detail));
    }
    let mut check = |field: &str, value: &Option<String>, rule| {
        names::check_optional(errors, &path.child(field), value.as_ref(), rule);
    };
    check("hostname", &spec.hostname, names::label);
    check("subdomain", &spec.subdomain, names::label);
    host_name_override(errors, &path.child("hostnameOverride"), spec);
}

fn host_name_override(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let Some(name) = &spec.hostname_override else { return };
    names::check(errors, path, name, names::subdomain);
    if name.len() > HOST_NAME_MAX {
        errors.push(FieldError::too_long(path, HOST_NAME_MAX));
    }
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.push(FieldError::forbidden(path, "may not be specified when setHostnameAsFQDN is true"));
    }
    if spec.host_network == Some(true) {
        errors.push(FieldError::forbidden(path, "may not be specified when hostNetwork is true"));
    }
}

fn policies(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let class = path.child("priorityClassName");
    names::check_optional(errors, &class, spec.priority_class_name.as_ref(), names::subdomain);
    if let Some(class) = &spec.runtime_class_name {
        names::check(errors, &path.child("runtimeClassName"), class, names::subdomain);
    }
    let preemption = path.child("preemptionPolicy");
    optional_choice(errors, &preemption, spec.preemption_policy.as_deref(), &["PreemptLowerPriority", "Never"]);
    for (name, amount) in spec.overhead.iter().flatten() {
        resources::limit(errors, &path.child("overhead").key(name), name, amount);
    }
    if let Some(os) = &spec.os {
        match os.name.as_str() {
            "" => errors.push(FieldError::required(path.child("os").child("name"), "")),
            "linux" | "windows" => {}
            name => errors.push(FieldError::not_supported(path.child("os"), name, &["linux", "windows"])),
        }
    }
}

fn only_on_create(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.push(FieldError::forbidden(path.child("ephemeralContainers"), "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(path.child("nodeName"), detail));
    }
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (field, list) in lists {
        for (index, container) in list.into_iter().flatten().enumerate() {
            let image = container.image.as_deref().unwrap_or_default();
            containers::image_whitespace(errors, &path.child(field).index(index).child("image"), image);
        }
    }
}

fn annotations(errors: &mut FieldErrors, path: &Path, annotations: Option<&BTreeMap<String, String>>, spec: &PodSpec) {
    let get = |key: &str| annotations.and_then(|annotations| annotations.get(key));
    let unbound = spec.node_name.as_deref().unwrap_or_default().is_empty();
    if let Some(mirror) = get(MIRROR).filter(|_| unbound) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(path.key(MIRROR), mirror, detail));
    }
    if let Some(cost) = get(DELETION_COST).filter(|cost| !is_deletion_cost(cost)) {
        errors.push(FieldError::invalid(path.key(DELETION_COST), cost, "must be a 32bit integer"));
    }
}

/// A 32-bit integer written in its one canonical way.
fn is_deletion_cost(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|cost| cost.to_string() == text)
}

/// A user, group or other id in a field of the pod.
pub(super) fn ids(errors: &mut FieldErrors, path: &Path, fields: &[(&str, Option<i64>)]) {
    for (field, value) in fields {
        amounts::id(errors, &path.child(field), *value);
    }
}
