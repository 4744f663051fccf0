//! Which node a pod goes to, or why none will do (contract 8A, 8B).
//!
//! Pure: [`Cluster`] is what was observed and assumed, [`decide`] looks at one pod. Ties are broken by a
//! number the caller brings. It never evicts anything: there is no preemption, and the message says so.

mod cluster;
mod filters;
mod message;
pub mod node_selector;
mod requests;
mod score;
mod volumes;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use cluster::{Cluster, NodeState};
pub use requests::{HostPort, Resources, host_ports, requests};
pub use volumes::Volumes;

/// The scheduler pods ask for unless they name another one.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// All nodes are looked at up to this many (contract 8.12).
const NODES_ALWAYS_EXAMINED: usize = 100;
/// Bytes of an event's note (contract 8.3).
pub const NOTE_BYTES_MAX: usize = 1024;

/// What to do with a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Bind it to the node now.
    Bind {
        /// Name of the node.
        node: String,
    },
    /// Keep room for it on the node, take these steps, and decide again when its claims are bound.
    Prepare {
        /// Name of the node.
        node: String,
        /// The steps.
        steps: Vec<VolumeStep>,
    },
    /// No node will do. The text is for the event and the pod's condition.
    Unschedulable {
        /// The whole text.
        message: String,
    },
}

/// What makes a claim bindable on the chosen node (contract 6.16).
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeStep {
    /// Replace the volume: it is reserved for the claim.
    Reserve(Box<PersistentVolume>),
    /// Replace the claim: its provisioner now knows the node.
    SelectNode(Box<PersistentVolumeClaim>),
    /// Have the claim provisioned here, on the node it names. It is written with its volume.
    Provision(Box<PersistentVolumeClaim>),
}

/// Where the search begins and how ties are broken, so that decisions spread without being random.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seed {
    /// The node, by position, at which a partial search begins.
    pub start: usize,
    /// Picks among equally good nodes.
    pub tie: usize,
}

/// Whether this scheduler is to find a node for the pod (contract 8.1).
pub fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let unbound = spec.node_name.as_deref().unwrap_or_default().is_empty();
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name.is_empty() || name == DEFAULT_SCHEDULER);
    unbound && ours && !crate::pods::is_terminating(pod) && !crate::pods::phase(pod).is_terminal()
}

/// Whether the pod must not be scheduled yet (contract 8.2).
pub fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

/// Whether the difference between two states of a node can make room for a pod, or take it.
pub fn is_relevant_node_change(old: &Node, new: &Node) -> bool {
    let facts = |node: &Node| {
        let spec = node.spec.as_ref();
        (
            node.metadata.labels.clone(),
            spec.and_then(|spec| spec.taints.clone()),
            spec.and_then(|spec| spec.unschedulable),
            node.status.as_ref().and_then(|status| status.allocatable.clone()),
        )
    };
    facts(old) != facts(new)
}

/// The condition that tells why the pod has no node, unless the pod says so already (contract 8.3).
pub fn unschedulable_condition(pod: &Pod, message: &str, now: Time) -> Option<PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let held = conditions.iter().find(|condition| condition.type_ == "PodScheduled");
    let since = held.filter(|held| held.status == "False").and_then(|held| held.last_transition_time.clone());
    let wanted = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.or(Some(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    let said = held.is_some_and(|held| {
        held.status == wanted.status && held.reason == wanted.reason && held.message == wanted.message
    });
    (!said).then_some(wanted)
}

/// Finds a node for the pod. `volumes` must know every claim the pod names and that exists.
pub fn decide(cluster: &Cluster, pod: &Pod, volumes: &dyn Volumes, seed: Seed) -> Decision {
    let count = cluster.len();
    if count == 0 {
        return Decision::Unschedulable { message: "no nodes available to schedule pods".to_owned() };
    }
    let claims = match volumes::prepare(pod, volumes) {
        Ok(claims) => claims,
        Err(reason) => return Decision::Unschedulable { message: message::of_prefilter(count, &reason, pod) },
    };
    let wanted = filters::Wanted::of(pod);
    let enough = feasible_wanted(count);
    let mut refused = message::Refusals::default();
    let mut feasible = Vec::new();
    for state in cluster.from(seed.start) {
        let found = filters::run(&wanted, pod, state).and_then(|()| claims.on(cluster, state, volumes));
        match found {
            Ok(steps) => feasible.push((state, steps)),
            Err(refusal) => refused.add(refusal),
        }
        if feasible.len() >= enough {
            break;
        }
    }
    let Some(best) = score::best(pod, feasible.iter().map(|(state, _)| *state), seed.tie) else {
        return Decision::Unschedulable { message: refused.message(count, pod) };
    };
    let (state, steps) = feasible.swap_remove(best);
    let node = state.name().to_owned();
    if claims.are_bound() { Decision::Bind { node } } else { Decision::Prepare { node, steps } }
}

/// The text cut to what an event's note may hold.
pub fn note(message: &str) -> String {
    const MORE: &str = " ...";
    if message.len() <= NOTE_BYTES_MAX {
        return message.to_owned();
    }
    let mut end = NOTE_BYTES_MAX - MORE.len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MORE}", &message[..end])
}

/// How many feasible nodes end the search in a cluster of `count` (contract 8.12).
fn feasible_wanted(count: usize) -> usize {
    if count <= NODES_ALWAYS_EXAMINED {
        return count;
    }
    let percentage = 50_usize.saturating_sub(count / 125).max(5);
    (count * percentage / 100).max(NODES_ALWAYS_EXAMINED)
}

#[cfg(test)]
mod tests;
