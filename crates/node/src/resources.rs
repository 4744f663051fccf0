//! Requests and limits as cgroup settings (contract `pods.md` 6.9–6.14). Pure.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use stead_api::amount::Amount;
use stead_plan::pod::{Qos, is_sidecar, qos_class};
use stead_runtime::Resources;

const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
const PERIOD_US: u64 = 100_000;
const QUOTA_MIN_US: i64 = 1_000;

/// The cgroup of a pod below the agent's root: `kubepods[/burstable|/besteffort]/pod<uid>`.
pub fn pod_cgroup(root: &str, pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos_class(pod) {
        Qos::Guaranteed => format!("{root}/kubepods/pod{uid}"),
        Qos::Burstable => format!("{root}/kubepods/burstable/pod{uid}"),
        Qos::BestEffort => format!("{root}/kubepods/besteffort/pod{uid}"),
    }
}

/// The settings of one container.
pub fn container_resources(container: &Container) -> Resources {
    let none = ResourceRequirements::default();
    let resources = container.resources.as_ref().unwrap_or(&none);
    let limit_milli = limit(resources, "cpu").map(Amount::milli);
    let request_milli = request(resources, "cpu").map(Amount::milli).or(limit_milli);
    Resources {
        cpu_shares: Some(shares(request_milli)),
        cpu_quota_us: limit_milli.filter(|milli| *milli > 0).map(quota_us),
        cpu_period_us: limit_milli.filter(|milli| *milli > 0).map(|_| PERIOD_US),
        memory_limit_bytes: limit(resources, "memory").map(Amount::units).filter(|bytes| *bytes > 0),
        pids_max: None,
    }
}

/// The settings of the pod's own cgroup.
pub fn pod_resources(pod: &Pod) -> Resources {
    if qos_class(pod) == Qos::BestEffort {
        return Resources { cpu_shares: Some(SHARES_MIN), ..Resources::default() };
    }
    let containers = counted(pod);
    let total = |pick: &dyn Fn(&ResourceRequirements) -> Option<Amount>| {
        let amounts: Option<Vec<Amount>> =
            containers.iter().map(|container| container.resources.as_ref().and_then(pick)).collect();
        amounts.map(|amounts| amounts.into_iter().fold(Amount::ZERO, Amount::plus))
    };
    let requested = containers
        .iter()
        .filter_map(|container| container.resources.as_ref().and_then(|resources| request(resources, "cpu")))
        .fold(Amount::ZERO, Amount::plus);
    let cpu_limit = total(&|resources| limit(resources, "cpu")).map(Amount::milli).filter(|milli| *milli > 0);
    Resources {
        cpu_shares: Some(shares(Some(requested.milli()))),
        cpu_quota_us: cpu_limit.map(quota_us),
        cpu_period_us: cpu_limit.map(|_| PERIOD_US),
        memory_limit_bytes: total(&|resources| limit(resources, "memory"))
            .map(Amount::units)
            .filter(|bytes| *bytes > 0),
        pids_max: None,
    }
}

/// `oom_score_adj` of a container on a node with so much memory (rule 14).
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: i64) -> i32 {
    match qos_class(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requested = container.resources.as_ref().and_then(|resources| request(resources, "memory"));
            let requested = requested.map_or(0, Amount::units);
            let share = 1000 * i128::from(requested) / i128::from(node_memory_bytes.max(1));
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
    }
}

fn counted(pod: &Pod) -> Vec<&Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
        spec.containers.iter().chain(sidecars)
    })
    .collect()
}

fn limit(resources: &ResourceRequirements, name: &str) -> Option<Amount> {
    resources.limits.as_ref().and_then(|list| list.get(name)).map(Amount::of)
}

fn request(resources: &ResourceRequirements, name: &str) -> Option<Amount> {
    resources.requests.as_ref().and_then(|list| list.get(name)).map(Amount::of)
}

fn shares(milli: Option<i64>) -> u64 {
    let milli = milli.and_then(|milli| u64::try_from(milli).ok()).unwrap_or(0);
    (milli * 1024 / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

fn quota_us(milli: i64) -> i64 {
    (milli.saturating_mul(i64::try_from(PERIOD_US).unwrap_or(i64::MAX)) / 1000).max(QUOTA_MIN_US)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    fn container(cpu: &str, cpu_limit: &str, memory_limit: &str) -> Container {
        let list = |pairs: &[(&str, &str)]| {
            let kept = pairs.iter().filter(|(_, text)| !text.is_empty());
            Some(kept.map(|(name, text)| ((*name).to_owned(), Quantity((*text).to_owned()))).collect())
        };
        Container {
            resources: Some(ResourceRequirements {
                requests: list(&[("cpu", cpu)]),
                limits: list(&[("cpu", cpu_limit), ("memory", memory_limit)]),
                ..ResourceRequirements::default()
            }),
            ..Container::default()
        }
    }

    #[test]
    fn the_lessons_limits_become_shares_quota_and_bytes() {
        let resources = container_resources(&container("500m", "1000m", "1Gi"));
        assert_eq!(resources.cpu_shares, Some(512));
        assert_eq!(resources.cpu_quota_us, Some(100_000));
        assert_eq!(resources.memory_limit_bytes, Some(1 << 30));
    }

    #[test]
    fn a_pod_is_limited_as_a_whole_only_when_each_container_is() {
        let pod = |containers| Pod { spec: Some(PodSpec { containers, ..PodSpec::default() }), ..Pod::default() };
        let both = pod_resources(&pod(vec![container("1", "1", "1Gi"), container("1", "1", "1Gi")]));
        assert_eq!((both.cpu_shares, both.memory_limit_bytes), (Some(2048), Some(2 << 30)));
        let one = pod_resources(&pod(vec![container("1", "1", "1Gi"), container("1", "", "")]));
        assert_eq!((one.cpu_quota_us, one.memory_limit_bytes), (None, None));
    }
}
