//! What a pod asks of a node: resources and host ports (contract 8.8, 8.9).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use stead_api::amount::Amount;

/// CPU assumed for scoring when a container asks for none.
const SCORED_CPU: &str = "100m";
/// Memory assumed for scoring when a container asks for none.
const SCORED_MEMORY: &str = "200Mi";

/// Amounts by resource name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(pub BTreeMap<String, Amount>);

impl Resources {
    /// The amounts of a resource list.
    pub fn of(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        Self(list.into_iter().flatten().map(|(name, quantity)| (name.clone(), Amount::of(quantity))).collect())
    }

    /// The amount of one resource, zero when not named.
    pub fn get(&self, name: &str) -> Amount {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Adds another list.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.get(name).plus(*amount);
            self.0.insert(name.clone(), sum);
        }
    }

    /// Takes another list away and forgets resources of which nothing is left.
    pub fn remove(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.get(name).minus(*amount);
            if rest == Amount::ZERO {
                self.0.remove(name)
            } else {
                self.0.insert(name.clone(), rest)
            };
        }
    }

    /// Raises each amount to the other list's where that is larger.
    fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let largest = self.get(name).max(*amount);
            self.0.insert(name.clone(), largest);
        }
    }
}

/// A host port a pod takes on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Address it is bound to; `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Number.
    pub port: i32,
}

impl HostPort {
    /// Whether the two cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        const ANY: &str = "0.0.0.0";
        let same_ip = self.ip == other.ip || self.ip == ANY || other.ip == ANY;
        same_ip && self.port == other.port && self.protocol == other.protocol
    }
}

/// The requests of the whole pod: the larger of what its containers need together and what its init
/// containers need at their peak, and the overhead.
pub fn requests(pod: &Pod) -> Resources {
    total(pod, |resources| Resources::of(resources.and_then(|r| r.requests.as_ref())))
}

/// The CPU and memory requests as scoring sees them: containers that ask for nothing count a little.
pub(super) fn scored_requests(pod: &Pod) -> Resources {
    let assumed =
        |name: &str| Amount::parse(if name == "cpu" { SCORED_CPU } else { SCORED_MEMORY }).unwrap_or_default();
    total(pod, |resources| {
        let mut asked = Resources::of(resources.and_then(|r| r.requests.as_ref()));
        for name in ["cpu", "memory"] {
            asked.0.entry(name.to_owned()).or_insert_with(|| assumed(name));
        }
        asked
    })
}

fn total(pod: &Pod, of: impl Fn(Option<&ResourceRequirements>) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum.add(&of(container.resources.as_ref()));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for init in spec.init_containers.iter().flatten() {
        let mut here = sidecars.clone();
        here.add(&of(init.resources.as_ref()));
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = here.clone();
        }
        peak.raise(&here);
    }
    sum.add(&sidecars);
    sum.raise(&peak);
    if let Some(pod_level) = &spec.resources {
        // Named at the pod level, a resource is asked for once, whatever its containers say.
        sum.0.extend(Resources::of(pod_level.requests.as_ref()).0);
    }
    sum.add(&Resources::of(spec.overhead.as_ref()));
    sum
}

/// The host ports of the pod's containers and sidecars.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let on_host = spec.host_network.unwrap_or(false);
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars).flat_map(|container| ports_of(container, on_host)).collect()
}

fn ports_of(container: &Container, on_host: bool) -> impl Iterator<Item = HostPort> + '_ {
    container.ports.iter().flatten().filter_map(move |port| {
        let number = port.host_port.filter(|number| *number != 0).or(on_host.then_some(port.container_port))?;
        Some(HostPort {
            ip: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: number,
        })
    })
}
