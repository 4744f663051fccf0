//! The row of a pod: how many containers are ready, the one word for its state, its restarts.
//! The algorithm is the contract's (`tables-notes.md`, Pod) and is what kubectl shows as STATUS.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus,
};

use super::{NONE, age, name, or_none, since};
use crate::registry::{Cell, RowCondition};

/// The cells of one pod.
pub fn cells(pod: &Pod, now: Timestamp) -> Vec<Cell> {
    let shown = summary(pod);
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let address = status.and_then(|status| status.pod_ips.as_ref()?.first()).map(|address| address.ip.as_str());
    vec![
        name(&pod.metadata),
        format!("{}/{}", shown.ready, shown.total).into(),
        shown.reason.into(),
        restarts_text(shown.restarts, shown.last_restart, now).into(),
        age(&pod.metadata, now),
        or_none(address),
        or_none(spec.and_then(|spec| spec.node_name.as_deref())),
        or_none(status.and_then(|status| status.nominated_node_name.as_deref())),
        gates_text(pod).into(),
    ]
}

/// The condition of a finished pod's row.
pub fn condition(pod: &Pod) -> Option<RowCondition> {
    let (reason, message) = match pod.status.as_ref()?.phase.as_deref()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(RowCondition { type_: "Completed", reason, message })
}

/// What STATUS, READY and RESTARTS say, before it is made text.
#[derive(Debug, Default)]
pub struct Summary {
    /// Containers and sidecars that are ready.
    pub ready: usize,
    /// Containers and sidecars in all.
    pub total: usize,
    /// The word under STATUS, e.g. `Init:0/1`.
    pub reason: String,
    /// Restarts counted.
    pub restarts: i64,
    /// When the latest of them ended.
    pub last_restart: Option<Timestamp>,
}

/// Works out STATUS, READY and RESTARTS of a pod.
pub fn summary(pod: &Pod) -> Summary {
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let init = inits(pod);
    let regular = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let mut shown = Summary {
        total: regular + init.iter().filter(|container| is_sidecar(container)).count(),
        reason: first_word(status),
        ..Summary::default()
    };
    let sidecars = match walk_init(status, init, &mut shown) {
        Walk::Finished(sidecars) => Some(sidecars),
        Walk::Stopped(sidecars) => is_condition_true(status, "Initialized").then_some(sidecars),
    };
    if let Some(sidecars) = sidecars {
        (shown.restarts, shown.last_restart) = (sidecars.restarts, sidecars.last_restart);
        walk_containers(status, &mut shown);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        if status.reason.as_deref() == Some("NodeLost") {
            shown.reason = "Unknown".to_owned();
        } else if condition(pod).is_none() {
            shown.reason = "Terminating".to_owned();
        }
    }
    shown
}

/// Restarts of sidecars, which outlive the initialisation.
#[derive(Default)]
struct Sidecars {
    restarts: i64,
    last_restart: Option<Timestamp>,
}

enum Walk {
    Finished(Sidecars),
    Stopped(Sidecars),
}

fn first_word(status: &PodStatus) -> String {
    let gated =
        status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated")
        });
    if gated {
        return "SchedulingGated".to_owned();
    }
    let reason = status.reason.as_ref().filter(|reason| !reason.is_empty());
    reason.or(status.phase.as_ref()).cloned().unwrap_or_default()
}

/// Walks the init containers until the first that is not done.
fn walk_init(status: &PodStatus, init: &[Container], shown: &mut Summary) -> Walk {
    let mut sidecars = Sidecars::default();
    for (index, container) in status.init_container_statuses.iter().flatten().enumerate() {
        count_restarts(container, &mut shown.restarts, &mut shown.last_restart);
        let sidecar = init.iter().find(|spec| spec.name == container.name).is_some_and(is_sidecar);
        if sidecar {
            count_restarts(container, &mut sidecars.restarts, &mut sidecars.last_restart);
        }
        let none = ContainerState::default();
        let state = container.state.as_ref().unwrap_or(&none);
        match (&state.terminated, waiting_reason(state)) {
            (Some(ended), _) if ended.exit_code == 0 => continue,
            _ if sidecar && container.started == Some(true) => {
                shown.ready += usize::from(container.ready);
                continue;
            }
            (Some(ended), _) => shown.reason = format!("Init:{}", end_word(ended)),
            (None, Some(reason)) if reason != "PodInitializing" => shown.reason = format!("Init:{reason}"),
            (None, _) => shown.reason = format!("Init:{index}/{}", init.len()),
        }
        return Walk::Stopped(sidecars);
    }
    Walk::Finished(sidecars)
}

/// Walks the containers from last to first, so that the first one's reason wins.
fn walk_containers(status: &PodStatus, shown: &mut Summary) {
    let mut is_running = false;
    let mut failure = None;
    for container in status.container_statuses.iter().flatten().rev() {
        count_restarts(container, &mut shown.restarts, &mut shown.last_restart);
        let Some(state) = &container.state else { continue };
        if let Some(reason) = waiting_reason(state) {
            shown.reason = reason.to_owned();
        } else if let Some(ended) = &state.terminated {
            shown.reason = end_word(ended);
            if ended.exit_code != 0 {
                failure = Some(shown.reason.clone());
            }
        } else if container.ready && state.running.is_some() {
            shown.ready += 1;
            is_running = true;
        }
    }
    if shown.reason != "Completed" {
        return;
    }
    if is_running && is_condition_true(status, "Ready") {
        shown.reason = "Running".to_owned();
    } else if let Some(failure) = failure {
        shown.reason = failure;
    } else if is_running {
        shown.reason = "NotReady".to_owned();
    }
}

fn inits(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn count_restarts(container: &ContainerStatus, restarts: &mut i64, last: &mut Option<Timestamp>) {
    *restarts += i64::from(container.restart_count);
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()?.finished_at.as_ref());
    *last = (*last).max(ended.map(|time| time.0));
}

fn waiting_reason(state: &ContainerState) -> Option<&str> {
    state.waiting.as_ref()?.reason.as_deref().filter(|reason| !reason.is_empty())
}

fn end_word(ended: &ContainerStateTerminated) -> String {
    match (ended.reason.as_deref().unwrap_or_default(), ended.signal.unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", ended.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_condition_true(status: &PodStatus, type_: &str) -> bool {
    let first = status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
    first.is_some_and(|condition| condition.status == "True")
}

fn restarts_text(restarts: i64, last: Option<Timestamp>, now: Timestamp) -> String {
    match last {
        Some(_) if restarts != 0 => format!("{restarts} ({} ago)", since(last, now)),
        _ => restarts.to_string(),
    }
}

fn gates_text(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let open = gates.iter().filter(|gate| is_condition_true(status, &gate.condition_type)).count();
    format!("{open}/{}", gates.len())
}
