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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, meta: Value, status: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "generation": 2}, "status": status});
        for (key, value) in meta.as_object().expect("fields") {
            pod["metadata"][key] = value.clone();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn node(ready: &str, taint: &str) -> Node {
        serde_json::from_value(json!({
            "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "Pressure", "status": "True"}]},
        }))
        .expect("a node")
    }

    #[test]
    fn a_pod_goes_without_its_node_only_when_that_is_certain() {
        let stays = pod("a", json!({}), json!({"phase": "Running"}));
        let going = pod("a", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), json!({"phase": "Running"}));
        let out = "node.kubernetes.io/out-of-service";
        let (lost, tainted, down) = (node("Unknown", out), node("True", out), node("False", "other"));
        for (fact, living, leaving) in [
            (NodeFact::Gone, Some(Reason::NodeGone), Some(Reason::NodeGone)),
            (NodeFact::Unbound, None, Some(Reason::NeverScheduled)),
            (NodeFact::Exists(&lost), None, Some(Reason::OutOfService)),
            (NodeFact::Exists(&tainted), None, None),
            (NodeFact::Exists(&down), None, None),
            (NodeFact::Missing, None, None),
        ] {
            assert_eq!((collect(&stays, fact), collect(&going, fact)), (living, leaving), "{fact:?}");
        }
        assert!(is_ready(&tainted) && !is_ready(&lost) && !is_ready(&down) && !is_ready(&Node::default()));
    }

    #[test]
    fn a_pod_that_had_not_finished_has_failed_and_says_of_what() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let disrupted = json!([{"type": "DisruptionTarget", "status": "False"}, {"type": "Ready", "status": "True"}]);
        let running = pod("a", json!({}), json!({"phase": "Running", "conditions": disrupted}));
        let failed = status_before_deletion(&running, Reason::NodeGone, now).expect("it had not finished");
        let wanted = json!({"phase": "Failed", "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "observedGeneration": 2,
                "message": "PodGC: node no longer exists", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]});
        assert_eq!(serde_json::to_value(failed.status).expect("it can be written"), wanted);
        let other = status_before_deletion(&running, Reason::OutOfService, now).expect("it had not finished");
        assert_eq!(
            other.status.and_then(|status| status.conditions),
            running.status.and_then(|status| status.conditions)
        );
        let ended = pod("a", json!({}), json!({"phase": "Succeeded"}));
        assert_eq!(status_before_deletion(&ended, Reason::NodeGone, now), None);
    }

    #[test]
    fn of_too_many_finished_pods_the_evicted_and_the_oldest_go() {
        let ended = |name: &str, second: u32, reason: &str| {
            let meta = json!({"creationTimestamp": format!("2026-01-01T00:00:0{second}Z")});
            pod(name, meta, json!({"phase": "Failed", "reason": reason}))
        };
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let pods = [
            ended("young", 9, "Error"),
            ended("old", 1, "Error"),
            ended("evicted", 8, "Evicted"),
            pod("running", json!({}), json!({"phase": "Running"})),
            pod("going", going, json!({"phase": "Failed"})),
        ];
        let names =
            |kept| surplus_finished(&pods, kept).iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(3), Vec::<String>::new());
        assert_eq!(names(2), ["evicted"]);
        assert_eq!(names(1), ["evicted", "old"]);
    }
}
