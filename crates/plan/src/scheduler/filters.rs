//! The filters a node must pass, in their order; the first that fails says why (contract 8.6, 8.7).

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};
use stead_api::amount::Amount;

use super::cluster::NodeState;
use super::message::Refusal;
use super::node_selector;
use super::requests::{self, HostPort, Resources};

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// What the pod asks for, computed once for all nodes.
pub(super) struct Wanted {
    resources: Resources,
    ports: Vec<HostPort>,
}

impl Wanted {
    pub(super) fn of(pod: &Pod) -> Self {
        Self { resources: requests::requests(pod), ports: requests::host_ports(pod) }
    }
}

/// Whether the pod could run on the node as far as the node itself is concerned.
pub(super) fn run(wanted: &Wanted, pod: &Pod, state: &NodeState) -> Result<(), Refusal> {
    schedulable(pod, state)?;
    untainted(pod, state)?;
    if !node_selector::allows(pod, &state.node) {
        return Err(Refusal::for_good("node(s) didn't match Pod's node affinity/selector"));
    }
    if wanted.ports.iter().any(|port| state.load.ports.iter().any(|held| held.conflicts(port))) {
        return Err(Refusal::for_now("node(s) didn't have free ports for the requested pod ports"));
    }
    fits(wanted, state)
}

fn schedulable(pod: &Pod, state: &NodeState) -> Result<(), Refusal> {
    let taint = Taint { key: UNSCHEDULABLE_TAINT.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    if crate::nodes::is_cordoned(&state.node) && !tolerates(pod, &taint) {
        return Err(Refusal::for_good("node(s) were unschedulable"));
    }
    Ok(())
}

fn untainted(pod: &Pod, state: &NodeState) -> Result<(), Refusal> {
    let mut hard = taints(state).iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    if hard.any(|taint| !tolerates(pod, taint)) {
        return Err(Refusal::for_good("node(s) had untolerated taint(s)"));
    }
    Ok(())
}

/// How many taints of the node the pod would rather avoid.
pub(super) fn soft_taints(pod: &Pod, state: &NodeState) -> i64 {
    let soft = taints(state).iter().filter(|taint| taint.effect == "PreferNoSchedule" && !tolerates(pod, taint));
    i64::try_from(soft.count()).unwrap_or(i64::MAX)
}

fn taints(state: &NodeState) -> &[Taint] {
    state.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    tolerations.iter().any(|toleration| covers(toleration, taint))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let set = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let effect = !set(&toleration.effect) || toleration.effect.as_deref() == Some(taint.effect.as_str());
    let key = !set(&toleration.key) || toleration.key.as_deref() == Some(taint.key.as_str());
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    };
    effect && key && value
}

fn fits(wanted: &Wanted, state: &NodeState) -> Result<(), Refusal> {
    let mut refusal = Refusal::default();
    if state.load.pods + 1 > state.pods_max {
        refusal.push("Too many pods".to_owned(), state.pods_max < 1);
    }
    for (name, amount) in &wanted.resources.0 {
        let allocatable = state.allocatable.get(name);
        let free = allocatable.minus(state.load.requested.get(name));
        if *amount > Amount::ZERO && *amount > free {
            refusal.push(format!("Insufficient {name}"), *amount > allocatable);
        }
    }
    if refusal.is_empty() { Ok(()) } else { Err(refusal) }
}
