//! What can be read off a node object, and which pods no node will ever finish (contract 7D).
//!
//! Pure. That a node does not exist is never concluded here: it comes in as the result of a live read.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::claims::HOSTNAME_LABEL;
use crate::pods;

/// Finished pods kept before the oldest are deleted (contract 7.19).
pub const FINISHED_PODS_MAX: usize = 12_500;
/// How long a node must have been missing before its pods count as orphans (contract 7.19).
pub const QUARANTINE_S: u64 = 40;

/// On nodes that only say that their pods run (`stead simulate nodes`).
pub const SIMULATED_LABEL: &str = "stead.dev/simulated";

const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";

/// Why a pod is deleted without waiting for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its node object is gone.
    NodeGone,
    /// It is being deleted and never had a node.
    NeverScheduled,
    /// It is being deleted and its node was declared out of service.
    OutOfService,
    /// It has finished, and too many have.
    Finished,
}

/// What is known of the node a pod is bound to.
#[derive(Clone, Copy, Debug)]
pub enum NodeFact<'a> {
    /// The pod has no node.
    Unbound,
    /// There is such a node.
    Exists(&'a Node),
    /// There has been no such node for the quarantine, and a live read confirmed it.
    Gone,
    /// It is missing, but not for long enough.
    Missing,
}

/// Whether the pod is to be deleted with no grace, and why.
pub fn collect(pod: &Pod, node: NodeFact<'_>) -> Option<Reason> {
    let terminating = pods::is_terminating(pod);
    match node {
        NodeFact::Gone => Some(Reason::NodeGone),
        NodeFact::Unbound => terminating.then_some(Reason::NeverScheduled),
        NodeFact::Exists(node) => (terminating && is_out_of_service(node)).then_some(Reason::OutOfService),
        NodeFact::Missing => None,
    }
}

/// The status to write before the pod is deleted: a pod that has not finished has now failed.
pub fn status_before_deletion(pod: &Pod, reason: Reason, now: Timestamp) -> Option<Pod> {
    if pods::phase(pod).is_terminal() {
        return None;
    }
    let mut pod = pod.clone();
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Failed".to_owned());
    if reason == Reason::NodeGone {
        let conditions = status.conditions.get_or_insert_default();
        conditions.retain(|condition| condition.type_ != "DisruptionTarget");
        conditions.push(PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("DeletionByPodGC".to_owned()),
            message: Some("PodGC: node no longer exists".to_owned()),
            last_transition_time: Some(Time(now)),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        });
    }
    Some(pod)
}

/// The finished pods beyond the maximum: evicted ones first, then the oldest.
pub fn surplus_finished<'a>(pods: impl IntoIterator<Item = &'a Pod>, kept_max: usize) -> Vec<&'a Pod> {
    let mut finished: Vec<&Pod> =
        pods.into_iter().filter(|pod| pods::phase(pod).is_terminal() && !pods::is_terminating(pod)).collect();
    let surplus = finished.len().saturating_sub(kept_max);
    finished.sort_by_key(|pod| {
        let evicted = pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted");
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!evicted, created, pod.metadata.name.clone())
    });
    finished.truncate(surplus);
    finished
}

/// Whether the node's Ready condition is true.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the node takes no new pods.
pub fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// The node's host name label, or its name.
pub fn hostname(node: &Node) -> &str {
    let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME_LABEL));
    label.or(node.metadata.name.as_ref()).map_or("", String::as_str)
}

/// Whether there is no machine behind the node, so that nothing can be kept on it.
pub fn is_simulated(node: &Node) -> bool {
    node.metadata.labels.as_ref().and_then(|labels| labels.get(SIMULATED_LABEL)).is_some_and(|value| value == "true")
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    !is_ready(node) && taints.iter().any(|taint| taint.key == OUT_OF_SERVICE_TAINT)
}
