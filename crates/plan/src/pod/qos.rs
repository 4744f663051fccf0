//! The quality-of-service class of a pod (contract `pods.md` 2.32).

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

/// The class that decides the cgroup parent and who is killed first for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Every container has CPU and memory limits equal to its requests.
    Guaranteed,
    /// Something is asked for or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod; pod-level resources replace the containers' when given.
pub fn qos_class(pod: &Pod) -> Qos {
    let Some(spec) = &pod.spec else { return Qos::BestEffort };
    let none = ResourceRequirements::default();
    let all: Vec<&ResourceRequirements> = match &spec.resources {
        Some(pod_level) => vec![pod_level],
        None => {
            let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
            containers.map(|container| container.resources.as_ref().unwrap_or(&none)).collect()
        }
    };
    if all.iter().all(|resources| !names_any(resources)) {
        Qos::BestEffort
    } else if all.iter().all(|resources| is_guaranteed(resources)) {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

const COUNTED: [&str; 2] = ["cpu", "memory"];

fn names_any(resources: &ResourceRequirements) -> bool {
    let lists = [&resources.requests, &resources.limits];
    lists.into_iter().flatten().any(|list| COUNTED.iter().any(|name| list.contains_key(*name)))
}

fn is_guaranteed(resources: &ResourceRequirements) -> bool {
    COUNTED.iter().all(|name| {
        let limit = resources.limits.as_ref().and_then(|list| list.get(*name));
        let request = resources.requests.as_ref().and_then(|list| list.get(*name));
        // Quantities are canonical once decoded, so equal text is equal quantity.
        limit.is_some_and(|limit| request.is_none_or(|request| request.0 == limit.0))
    })
}
