//! Defaults of pods and pod templates (contract 4.1).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{containers, fill, quantities, unset, volumes};
use crate::amount::Amount;

const TERMINATION_GRACE_S: i64 = 30;

/// A pod template of any workload kind.
pub fn pod_template_spec(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

/// A pod.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    if spec.termination_grace_period_seconds.is_some_and(|grace_s| grace_s < 0) {
        spec.termination_grace_period_seconds = Some(1);
    }
    let host_network = spec.host_network == Some(true);
    for container in all_containers(spec) {
        requests_from_limits(container);
        if host_network {
            host_ports_from_container_ports(container);
        }
    }
    pod_level_requests(spec);
    if let Some(status) = &mut pod.status {
        quantities::resources(&mut status.allocated_resources);
        quantities::requirements(&mut status.resources);
        for container in status.container_statuses.iter_mut().chain(&mut status.init_container_statuses).flatten() {
            quantities::resources(&mut container.allocated_resources);
            quantities::requirements(&mut container.resources);
        }
    }
}

fn pod_spec(spec: &mut PodSpec) {
    fill(&mut spec.dns_policy, "ClusterFirst");
    fill(&mut spec.restart_policy, "Always");
    fill(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(TERMINATION_GRACE_S);
    // The old name of the field is read when the new one is empty, and always shows the same value.
    if unset(&spec.service_account_name) {
        spec.service_account_name = spec.service_account.take().filter(|name| !name.is_empty());
    }
    spec.service_account.clone_from(&spec.service_account_name);
    all_containers(spec).for_each(containers::container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(containers::ephemeral_container);
    spec.volumes.iter_mut().flatten().for_each(volumes::volume);
    quantities::resources(&mut spec.overhead);
    quantities::requirements(&mut spec.resources);
}

fn all_containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let Some(limits) = resources.limits.as_ref().filter(|limits| !limits.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

fn host_ports_from_container_ports(container: &mut Container) {
    for port in container.ports.iter_mut().flatten() {
        if port.host_port.unwrap_or_default() == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

/// Requests of the pod as a whole: what its containers ask for together, or else the pod's limit.
fn pod_level_requests(spec: &mut PodSpec) {
    let sums = requested_by_containers(spec);
    let Some(resources) = &mut spec.resources else { return };
    let Some(limits) = resources.limits.clone().filter(|limits| !limits.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for name in ["cpu", "memory"] {
        if requests.contains_key(name) {
            continue;
        }
        if let Some(value) = sums.get(name).or_else(|| limits.get(name)) {
            requests.insert(name.to_owned(), value.clone());
        }
    }
}

/// Sums the containers' requests of cpu and memory. Restartable init containers count, others only
/// as far as one alone exceeds the sum.
fn requested_by_containers(spec: &PodSpec) -> BTreeMap<&'static str, Quantity> {
    let mut sums = BTreeMap::new();
    for name in ["cpu", "memory"] {
        let request = |container: &Container| {
            let resources = container.resources.as_ref()?;
            resources.requests.as_ref()?.get(name).map(Amount::of)
        };
        let mut sum = None;
        let mut init_peak = None;
        let mut sidecars = Amount::ZERO;
        for container in spec.init_containers.iter().flatten() {
            let Some(amount) = request(container) else { continue };
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = sidecars.plus(amount);
                sum = Some(sidecars);
            } else {
                init_peak = init_peak.max(Some(sidecars.plus(amount)));
            }
        }
        for amount in spec.containers.iter().filter_map(request) {
            sum = Some(sum.unwrap_or(Amount::ZERO).plus(amount));
        }
        if let Some(amount) = sum.max(init_peak) {
            sums.insert(name, quantities::written(amount, name));
        }
    }
    sums
}
