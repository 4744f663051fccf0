//! The conditions of a pod, in the order the agent writes them (contract `pods.md` 2.8–2.13).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use super::containers::is_sidecar;
use super::status::{has_run, seconds};
use super::view::Observed;

const OWNED: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// A condition before it is dated.
struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { holds: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: impl Into<Option<String>>) -> Self {
        Self { holds: false, reason: Some(reason), message: message.into() }
    }
}

/// Every condition: foreign ones first and untouched, then the agent's.
pub(super) fn conditions(
    pod: &Pod,
    seen: &Observed,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
    now: Timestamp,
) -> Vec<PodCondition> {
    let old = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut all: Vec<PodCondition> =
        old.iter().filter(|condition| !OWNED.contains(&condition.type_.as_str())).cloned().collect();
    let containers_ready = containers_ready(pod, phase, init, regular);
    let ready = if containers_ready.holds {
        gates(pod, &all)
    } else {
        Verdict { holds: false, reason: containers_ready.reason, message: containers_ready.message.clone() }
    };
    let sandbox = Verdict { holds: seen.sandbox.is_some() && !seen.torn_down, reason: None, message: None };
    let verdicts = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(pod, phase, init, regular)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Verdict::yes()),
    ];
    for (type_, verdict) in verdicts {
        let status = if verdict.holds { "True" } else { "False" };
        let before = old.iter().find(|condition| condition.type_ == type_);
        let since =
            before.filter(|before| before.status == status).and_then(|before| before.last_transition_time.clone());
        all.push(PodCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
            last_probe_time: None,
            last_transition_time: since.or_else(|| Some(seconds(now))),
            observed_generation: pod.metadata.generation,
        });
    }
    all
}

fn named(kind: &str, names: &[&str]) -> String {
    format!("containers with {kind} status: [{}]", names.join(" "))
}

fn initialized(pod: &Pod, phase: &str, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Verdict {
    if init.is_empty() {
        return Verdict::yes();
    }
    if phase == "Succeeded" {
        return Verdict { holds: true, reason: Some("PodCompleted"), message: None };
    }
    if regular.iter().any(has_run) {
        return Verdict::yes();
    }
    let sidecar = |name: &str| {
        let declared = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        declared.into_iter().any(|container| container.name == name && is_sidecar(container))
    };
    let done = |status: &ContainerStatus| {
        if sidecar(&status.name) { status.started == Some(true) } else { status.ready }
    };
    let incomplete: Vec<&str> = init.iter().filter(|status| !done(status)).map(|status| status.name.as_str()).collect();
    if incomplete.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ContainersNotInitialized", named("incomplete", &incomplete))
    }
}

fn containers_ready(pod: &Pod, phase: &str, init: &[ContainerStatus], regular: &[ContainerStatus]) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("PodCompleted", None),
        "Failed" => return Verdict::no("PodFailed", None),
        _ => {}
    }
    let declared = pod.spec.iter().flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
        sidecars.chain(&spec.containers)
    });
    let unready: Vec<&str> = declared
        .map(|container| container.name.as_str())
        .filter(|name| !init.iter().chain(regular).any(|status| status.name == *name && status.ready))
        .collect();
    if unready.is_empty() { Verdict::yes() } else { Verdict::no("ContainersNotReady", named("unready", &unready)) }
}

fn gates(pod: &Pod, conditions: &[PodCondition]) -> Verdict {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let problems: Vec<String> = gates
        .filter_map(|gate| {
            let type_ = &gate.condition_type;
            match conditions.iter().find(|condition| &condition.type_ == type_) {
                None => Some(format!("corresponding condition of pod readiness gate \"{type_}\" does not exist.")),
                Some(condition) if condition.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{type_}\" is not \"True\", but {}",
                    condition.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if problems.is_empty() { Verdict::yes() } else { Verdict::no("ReadinessGatesNotReady", problems.join(", ")) }
}
