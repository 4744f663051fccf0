//! A pod on a node that has no machine behind it: what an agent would report of one that came up at once
//! and well.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::view::{Hook, Instance, InstanceState, Observed, Probed, Sandbox};
use super::{Declared, declared, plan};
use crate::pods;

/// The status of a pod on which everything has gone well by `now`: init containers have ended, all others
/// run, and every probe has passed. `ip` is the pod's address, `host_ip` its node's.
pub fn status_when_up(pod: &Pod, ip: IpAddr, host_ip: IpAddr, now: Timestamp) -> PodStatus {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let instances: Vec<Instance> = declared(pod).iter().map(|container| instance(uid, container, now)).collect();
    let ids = || instances.iter().map(|instance| instance.id.clone());
    let passed = Probed { started: true, ready: true, ..Probed::default() };
    let seen = Observed {
        sandbox: Some(Sandbox { ip }),
        probes: ids().map(|id| (id, passed)).collect(),
        hooks: ids().map(|id| (id, Hook::Done)).collect(),
        instances,
        host_ip: Some(host_ip),
        ..Observed::default()
    };
    plan(pod, &seen, now).status.unwrap_or_default()
}

/// Whether the API server shows the pod as it will stay: Running and Ready, or ended.
pub fn is_up(pod: &Pod) -> bool {
    let phase = pods::phase(pod);
    phase.is_terminal() || (phase == pods::Phase::Running && pods::ready_since(pod).is_some())
}

fn instance(uid: &str, container: &Declared<'_>, now: Timestamp) -> Instance {
    let image = container.spec.image.clone().unwrap_or_default();
    let state = match container.runs_once() {
        true => InstanceState::Exited { code: 0, oom_killed: false, finished_at: now, message: String::new() },
        false => InstanceState::Running,
    };
    Instance {
        id: format!("simulated-{uid}-{}", container.spec.name),
        name: container.spec.name.clone(),
        attempt: 0,
        image_id: image.clone(),
        image,
        started_at: now,
        state,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn up(spec: &Value) -> Value {
        let pod = json!({
            "metadata": {"name": "web-0", "uid": "u", "generation": 1}, "spec": spec,
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a Pod");
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let status = status_when_up(&pod, IpAddr::from([10, 0, 0, 9]), IpAddr::from([10, 0, 0, 1]), now);
        assert!(is_up(&Pod { status: Some(status.clone()), ..pod }));
        serde_json::to_value(status).expect("JSON")
    }

    #[test]
    fn a_pod_is_reported_as_an_agent_would() {
        let status = up(&json!({"containers": [{"name": "server", "image": "x:1"}]}));
        let conditions: Vec<_> = status["conditions"].as_array().expect("a list").iter().map(|c| &c["type"]).collect();
        let all = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
        assert_eq!(conditions, all);
        assert!(status["conditions"].as_array().expect("a list").iter().all(|condition| condition["status"] == "True"));
        assert_eq!((&status["phase"], &status["podIP"]), (&json!("Running"), &json!("10.0.0.9")));
        assert_eq!((&status["podIPs"][0]["ip"], &status["hostIP"]), (&json!("10.0.0.9"), &json!("10.0.0.1")));
        assert_eq!(status["startTime"], "2027-01-15T08:00:00Z");
        let server = &status["containerStatuses"][0];
        assert_eq!(server["state"], json!({"running": {"startedAt": "2027-01-15T08:00:00Z"}}));
        assert_eq!(
            (&server["ready"], &server["started"], &server["restartCount"]),
            (&json!(true), &json!(true), &json!(0))
        );
        assert_eq!(server["containerID"], "stead://simulated-u-server");
    }

    #[test]
    fn a_pod_is_up_when_it_runs_and_is_ready_or_has_ended() {
        let is_up = |phase: &str, ready: &str| {
            let status = json!({"phase": phase, "conditions": [{"type": "Ready", "status": ready}]});
            super::is_up(&serde_json::from_value(json!({"status": status})).expect("a Pod"))
        };
        assert!(is_up("Running", "True") && is_up("Succeeded", "False") && is_up("Failed", "False"));
        assert!(!is_up("Running", "False") && !is_up("Pending", "False") && !is_up("Pending", "True"));
    }

    #[test]
    fn probes_hooks_and_init_containers_have_gone_well() {
        let probe = json!({"tcpSocket": {"port": 1}});
        let status = up(&json!({
            "initContainers": [{"name": "setup", "image": "x"}, {"name": "side", "image": "x", "restartPolicy": "Always"}],
            "containers": [{
                "name": "server", "image": "x", "readinessProbe": probe, "startupProbe": probe,
                "lifecycle": {"postStart": {"exec": {"command": ["true"]}}},
            }],
        }));
        assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
        assert_eq!(status["initContainerStatuses"][1]["started"], true);
        assert_eq!(status["containerStatuses"][0]["ready"], true);
    }
}
