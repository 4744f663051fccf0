//! Requests, limits, claims and resize policies (contract 4.4, Resources).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::path::Path;
use super::pod_spec::required_choice;
use super::{amounts, names};
use crate::amount::Amount;
use crate::errors::{FieldError, FieldErrors};

type Resources = BTreeMap<String, Quantity>;

const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const NATIVE_DOMAIN: &str = "kubernetes.io/";

/// Whether the resource is a device or the like, counted in whole units.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains(NATIVE_DOMAIN) && !name.starts_with("requests.")
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether more may be limited than was requested.
fn may_overcommit(name: &str) -> bool {
    !is_extended(name) && !is_huge_pages(name)
}

/// The requirements of a container.
pub(super) fn container(
    errors: &mut FieldErrors,
    path: &Path,
    requirements: Option<&ResourceRequirements>,
    spec: &PodSpec,
) {
    let Some(requirements) = requirements else { return };
    let limits = requirements.limits.iter().flatten();
    for (name, quantity) in limits {
        limit(errors, &path.child("limits").key(name), name, quantity);
    }
    for (name, quantity) in requirements.requests.iter().flatten() {
        limit(errors, &path.child("requests").key(name), name, quantity);
        request_within_limit(errors, path, name, quantity, requirements.limits.as_ref());
    }
    huge_pages_need_company(errors, path, requirements);
    claims(errors, &path.child("claims"), requirements, spec);
}

/// One named amount of a container's resources.
pub(super) fn limit(errors: &mut FieldErrors, path: &Path, name: &str, quantity: &Quantity) {
    container_resource_name(errors, path, name);
    let amount = amounts::resource_quantity(errors, path, quantity, is_extended(name));
    let page = name.strip_prefix("hugepages-").and_then(Amount::parse).map(Amount::nano);
    if let (Some(amount), Some(page)) = (amount, page)
        && (page == 0 || amount.nano() % page != 0)
    {
        let detail = format!("{} is not positive integer multiple of {name}", quantity.0);
        errors.push(FieldError::invalid(path, quantity, detail));
    }
}

fn container_resource_name(errors: &mut FieldErrors, path: &Path, name: &str) {
    let wrong = names::qualified(name);
    if !wrong.is_empty() {
        for message in wrong {
            errors.push(FieldError::invalid(path, name, message));
        }
        return;
    }
    if !name.contains('/') {
        if STANDARD.contains(&name) || is_huge_pages(name) {
            return;
        }
        errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
        errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
    } else if !is_extended(name) && !name.contains(NATIVE_DOMAIN) {
        errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

/// The path has no key here.
fn request_within_limit(
    errors: &mut FieldErrors,
    path: &Path,
    name: &str,
    request: &Quantity,
    limits: Option<&Resources>,
) {
    let Some(limit) = limits.and_then(|limits| limits.get(name)) else {
        if !may_overcommit(name) {
            let detail = "Limit must be set for non overcommitable resources";
            errors.push(FieldError::required(path.child("limits"), detail));
        }
        return;
    };
    let requested = Amount::parse(&request.0);
    let limited = Amount::parse(&limit.0);
    if requested == limited {
        return;
    }
    if !may_overcommit(name) {
        let detail = format!("must be equal to {name} limit of {}", limit.0);
        errors.push(FieldError::invalid(path.child("requests"), request, detail));
    } else if requested > limited {
        let detail = format!("must be less than or equal to {name} limit of {}", limit.0);
        errors.push(FieldError::invalid(path.child("requests"), request, detail));
    }
}

fn huge_pages_need_company(errors: &mut FieldErrors, path: &Path, requirements: &ResourceRequirements) {
    let names: Vec<&str> = requirements
        .limits
        .iter()
        .chain(&requirements.requests)
        .flat_map(|resources| resources.keys().map(String::as_str))
        .collect();
    let huge = names.iter().any(|name| is_huge_pages(name));
    if huge && !names.iter().any(|name| matches!(*name, "cpu" | "memory")) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

fn claims(errors: &mut FieldErrors, path: &Path, requirements: &ResourceRequirements, spec: &PodSpec) {
    let known: Vec<&str> = spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect();
    let mut seen = Vec::new();
    for (index, claim) in requirements.claims.iter().flatten().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
            continue;
        }
        let key = (claim.name.as_str(), claim.request.as_deref());
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(&path, &claim.name));
        }
        seen.push(key);
        if !known.contains(&claim.name.as_str()) {
            let detail = if known.is_empty() {
                "must be one of the names in pod.spec.resourceClaims which is empty".to_owned()
            } else {
                format!("must be one of the names in pod.spec.resourceClaims: {}", known.join(", "))
            };
            errors.push(FieldError::not_found(path.child("name"), &claim.name).with_detail(detail));
        }
    }
}

/// The claims on devices a pod makes.
pub(super) fn pod_claims(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, claim) in spec.resource_claims.iter().flatten().enumerate() {
        let path = path.index(index);
        match claim.name.as_str() {
            "" => errors.push(FieldError::required(path.child("name"), "")),
            name if seen.contains(&name) => errors.push(FieldError::duplicate(path.child("name"), name)),
            name => {
                names::check(errors, &path.child("name"), name, names::label);
                seen.push(name);
            }
        }
        let detail = match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            (Some(_), Some(_)) => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            (Some(_), None) | (None, Some(_)) => continue,
        };
        errors.push(FieldError::invalid(&path, claim, detail));
    }
}

/// Requirements of the pod as a whole.
pub(super) fn pod_level(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let Some(resources) = &spec.resources else { return };
    let path = path.child("resources");
    for (field, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, quantity) in list.iter().flatten() {
            limit(errors, &path.child(field).key(name), name, quantity);
        }
    }
    for (name, request) in resources.requests.iter().flatten() {
        request_within_limit(errors, &path, name, request, resources.limits.as_ref());
        pod_request_covers_containers(errors, &path.child("requests").key(name), name, request, spec);
    }
    for (name, limit) in resources.limits.iter().flatten() {
        container_limits_within_pod(errors, &path, name, limit, spec);
    }
    if resources.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        errors.push(FieldError::forbidden(path.child("claims"), "claims may not be set for Resources at pod-level"));
    }
}

fn pod_request_covers_containers(
    errors: &mut FieldErrors,
    path: &Path,
    name: &str,
    request: &Quantity,
    spec: &PodSpec,
) {
    let requested = |container: &Container| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        requests.get(name).map(Amount::of)
    };
    let sum = spec.containers.iter().filter_map(requested).fold(Amount::ZERO, Amount::plus);
    if sum > Amount::of(request) {
        let sum = Quantity(if sum.milli() % 1000 == 0 { sum.units().to_string() } else { format!("{}m", sum.milli()) });
        let detail = format!("must be greater than or equal to aggregate container requests of {}", sum.0);
        errors.push(FieldError::invalid(path, request, detail));
    }
}

fn container_limits_within_pod(errors: &mut FieldErrors, path: &Path, name: &str, limit: &Quantity, spec: &PodSpec) {
    for (index, container) in spec.containers.iter().enumerate() {
        let own = container.resources.as_ref().and_then(|resources| resources.limits.as_ref()?.get(name));
        if let Some(own) = own.filter(|own| Amount::of(own) > Amount::of(limit)) {
            let path = path.child("containers").index(index).key(name).child("limits");
            let detail = format!("must be less than or equal to pod limits of {}", limit.0);
            errors.push(FieldError::invalid(path, own, detail));
        }
    }
}

/// How a container takes a change of its resources. `runs_to_end` marks plain init containers.
pub(super) fn resize_policy(
    errors: &mut FieldErrors,
    path: &Path,
    container: &Container,
    spec: &PodSpec,
    runs_to_end: bool,
) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        let name = policy.resource_name.as_str();
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(path.index(index), name));
        }
        seen.push(name);
        required_choice(errors, path, Some(name), &["cpu", "memory"]);
        let restart = policy.restart_policy.as_str();
        required_choice(errors, path, Some(restart), &["NotRequired", "RestartContainer"]);
        if spec.restart_policy.as_deref() == Some("Never") && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, restart, detail));
        }
        if runs_to_end && restart == "RestartContainer" {
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.push(FieldError::invalid(path, restart, detail));
        }
    }
}
