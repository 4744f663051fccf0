//! What a crash of the server must not change: which pods there are, their processes, claims and
//! revisions.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Cluster, pod_processes};

/// Pods, claims and revisions of the default namespace, by name.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// Pods.
    pub pods: BTreeMap<String, PodState>,
    /// UIDs of claims.
    pub claims: BTreeMap<String, String>,
    /// UIDs of revisions.
    pub revisions: BTreeMap<String, String>,
}

/// A pod with one container, and what it runs.
#[derive(Debug, PartialEq, Eq)]
pub struct PodState {
    /// Its UID.
    pub uid: String,
    /// The container's ID.
    pub container: String,
    /// The container's image.
    pub image: String,
    /// How often the container was restarted.
    pub restarts: u64,
    /// Its processes, as [`pod_processes`] has them.
    pub processes: BTreeMap<u32, u64>,
}

impl State {
    /// The state of all pods, which must run.
    pub fn of(cluster: &Cluster) -> Self {
        Self::of_selected(cluster, "")
    }

    /// The state of the pods that match a selector, which must run; of all claims and revisions.
    pub fn of_selected(cluster: &Cluster, selector: &str) -> Self {
        let uids =
            |what: &str| items(cluster, what).iter().map(|item| (name(item), text(item, "/metadata/uid"))).collect();
        let pods = items(cluster, &format!("pods --selector={selector}"));
        let pods = pods.iter().map(|pod| (name(pod), PodState::of(pod))).collect();
        Self { pods, claims: uids("persistentvolumeclaims"), revisions: uids("controllerrevisions") }
    }
}

impl PodState {
    fn of(pod: &Value) -> Self {
        let uid = text(pod, "/metadata/uid");
        let processes = pod_processes(&uid);
        assert!(!processes.is_empty(), "{} has processes", name(pod));
        let status = "/status/containerStatuses/0";
        let restarts = pod.pointer(&format!("{status}/restartCount")).and_then(Value::as_u64);
        Self {
            uid,
            container: text(pod, &format!("{status}/containerID")),
            image: text(pod, "/spec/containers/0/image"),
            restarts: restarts.expect("a restart count"),
            processes,
        }
    }
}

fn items(cluster: &Cluster, what: &str) -> Vec<Value> {
    match cluster.get(what)["items"].take() {
        Value::Array(items) => items,
        other => panic!("{what} is not a list: {other}"),
    }
}

fn text(object: &Value, pointer: &str) -> String {
    let value = object.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("no {pointer} in {object}")).to_owned()
}

fn name(object: &Value) -> String {
    text(object, "/metadata/name")
}
