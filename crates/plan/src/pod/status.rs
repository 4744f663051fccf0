//! The status of a pod as the API server should show it (contract `pods.md`, section 2).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::containers::{Declared, Next, declared};
use super::lifecycle::Ending;
use super::qos::qos_class;
use super::view::{ImageState, Instance, InstanceState, Observed};
use crate::restarts::go_seconds;

/// Exit code reported for a container whose end nobody saw.
const UNKNOWN_EXIT: i32 = 137;

/// Whether the API server shows the pod as ended; that never changes again.
pub(super) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase_of(pod), Some("Succeeded" | "Failed"))
}

fn phase_of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|status| status.phase.as_deref())
}

/// Seconds are the resolution of the wire; finer ones would differ from what is read back.
pub(super) fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Computes the whole status.
pub(super) fn status(pod: &Pod, seen: &Observed, ending: Option<&Ending>, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    if is_terminal(pod) && !seen.any_running() {
        return PodStatus { observed_generation: pod.metadata.generation.or(old.observed_generation), ..old };
    }
    let finished = matches!(ending, Some(Ending::Deleted { .. } | Ending::Deadline)) && !seen.any_running();
    let all = declared(pod);
    let mut statuses: Vec<(Declared<'_>, ContainerStatus)> =
        all.iter().map(|container| (*container, container_status(pod, container, seen, ending, now))).collect();
    if finished {
        for (_, status) in &mut statuses {
            end_unknown(status, now);
        }
    }
    let phase = phase(&statuses, seen, ending, finished, now);
    let (reason, message) = match ending {
        Some(Ending::Deadline) if phase == "Failed" => (
            Some("DeadlineExceeded".to_owned()),
            Some("Pod was active on the node longer than the specified deadline".to_owned()),
        ),
        _ if old.phase.as_deref() == Some(phase) => (old.reason.clone(), old.message.clone()),
        _ => (None, None),
    };
    let (init, mut regular): (Vec<_>, Vec<_>) = statuses.into_iter().partition(|(container, _)| container.init);
    let init: Vec<ContainerStatus> = init.into_iter().map(|(_, status)| status).collect();
    regular.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    let regular: Vec<ContainerStatus> = regular.into_iter().map(|(_, status)| status).collect();
    let ip = seen.sandbox.as_ref().map(|sandbox| sandbox.ip.to_string()).or_else(|| old.pod_ip.clone());
    let host_ip = seen.host_ip.map(|ip| ip.to_string()).or_else(|| old.host_ip.clone());
    PodStatus {
        conditions: Some(conditions::conditions(pod, seen, phase, &init, &regular, now)),
        phase: Some(phase.to_owned()),
        reason,
        message,
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        host_ips: host_ip.clone().map(|ip| vec![HostIP { ip }]),
        host_ip,
        start_time: old.start_time.clone().or_else(|| Some(seconds(seen.first_seen.unwrap_or(now)))),
        qos_class: Some(qos_class(pod).as_str().to_owned()),
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(regular),
        observed_generation: pod.metadata.generation,
        ..old
    }
}

fn container_status(
    pod: &Pod,
    container: &Declared<'_>,
    seen: &Observed,
    ending: Option<&Ending>,
    now: Timestamp,
) -> ContainerStatus {
    let spec = container.spec;
    let newest = seen.newest(&spec.name);
    let (state, mut last_state) = match newest {
        Some(instance) => state_of_instance(pod, container, instance, seen, ending, now),
        None => (state_without_instance(pod, container, seen), lost_state(container, now)),
    };
    if last_state.is_none() {
        let previous = seen.previous(&spec.name);
        last_state = previous.and_then(terminated).or_else(|| reported_last_state(container, newest));
    }
    let restart_count = newest.map_or_else(
        || container.reported.map_or(0, |status| status.restart_count),
        |instance| i32::try_from(instance.attempt).unwrap_or(i32::MAX),
    );
    let ended_well = state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0);
    let ready = if container.init && !container.is_sidecar() {
        ended_well
    } else {
        newest.is_some_and(|instance| container.ready(instance, seen))
    };
    ContainerStatus {
        name: spec.name.clone(),
        image: newest.map_or_else(|| spec.image.clone().unwrap_or_default(), |instance| instance.image.clone()),
        image_id: newest.map(|instance| instance.image_id.clone()).unwrap_or_default(),
        container_id: newest.map(|instance| container_id(&instance.id)),
        state: Some(state),
        last_state: Some(ContainerState { terminated: last_state, ..ContainerState::default() }),
        ready,
        started: Some(newest.is_some_and(|instance| container.started(instance, seen))),
        restart_count,
        resources: spec.resources.clone().or_else(|| Some(Default::default())),
        allocated_resources: spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
        volume_mounts: mount_statuses(spec),
        ..ContainerStatus::default()
    }
}

fn container_id(id: &str) -> String {
    format!("stead://{id}")
}

fn waiting(reason: impl Into<String>, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// The reason a container cannot start right now, if there is one.
fn start_trouble(container: &Declared<'_>, seen: &Observed) -> Option<ContainerState> {
    let name = &container.spec.name;
    if let Some(failure) = seen.start_failures.get(name) {
        return Some(waiting(&failure.reason, Some(failure.message.clone())));
    }
    match seen.images.get(name) {
        Some(ImageState::Failed(failure)) => Some(waiting(&failure.reason, Some(failure.message.clone()))),
        Some(ImageState::Present | ImageState::Pulled | ImageState::Pulling) | None => None,
    }
}

fn state_without_instance(pod: &Pod, container: &Declared<'_>, seen: &Observed) -> ContainerState {
    // An init container that the API server knows to have ended well is not run again.
    let ended = container.reported.and_then(|status| status.state.as_ref()).filter(|state| state.terminated.is_some());
    if let (Some(ended), Next::Ended { .. }) = (ended, container.next(seen, Timestamp::MIN)) {
        return ended.clone();
    }
    start_trouble(container, seen).unwrap_or_else(|| {
        let has_init = pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some());
        waiting(if has_init { "PodInitializing" } else { "ContainerCreating" }, None)
    })
}

fn state_of_instance(
    pod: &Pod,
    container: &Declared<'_>,
    instance: &Instance,
    seen: &Observed,
    ending: Option<&Ending>,
    now: Timestamp,
) -> (ContainerState, Option<ContainerStateTerminated>) {
    let Some(ended) = terminated(instance) else {
        let running = ContainerStateRunning { started_at: Some(seconds(instance.started_at)) };
        return (ContainerState { running: Some(running), ..ContainerState::default() }, None);
    };
    let as_ended = |ended| ContainerState { terminated: Some(ended), ..ContainerState::default() };
    if ending.is_some() {
        return (as_ended(ended), None);
    }
    match container.next(seen, now) {
        Next::BackOff { delay_s, .. } => {
            let (delay, name) = (go_seconds(delay_s), &container.spec.name);
            let message = format!("back-off {delay} restarting failed container={name} pod={}", long_name(pod));
            (waiting("CrashLoopBackOff", Some(message)), Some(ended))
        }
        Next::Start { .. } => match start_trouble(container, seen) {
            Some(trouble) => (trouble, Some(ended)),
            None => (as_ended(ended), None),
        },
        Next::Running | Next::Ended { .. } => (as_ended(ended), None),
    }
}

/// `name_namespace(uid)`, as messages name a pod.
pub fn long_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    let [name, namespace, uid] =
        [&meta.name, &meta.namespace, &meta.uid].map(|part| part.as_deref().unwrap_or_default());
    format!("{name}_{namespace}({uid})")
}

fn terminated(instance: &Instance) -> Option<ContainerStateTerminated> {
    let InstanceState::Exited { code, oom_killed, finished_at, message } = &instance.state else { return None };
    let reason = if *oom_killed {
        "OOMKilled"
    } else if *code == 0 {
        "Completed"
    } else {
        "Error"
    };
    Some(ContainerStateTerminated {
        container_id: Some(container_id(&instance.id)),
        exit_code: *code,
        reason: Some(reason.to_owned()),
        message: Some(message.clone()).filter(|message| !message.is_empty()),
        started_at: Some(seconds(instance.started_at)),
        finished_at: Some(seconds(*finished_at)),
        signal: None,
    })
}

/// A container that was running and that the runtime no longer knows (rule 6).
fn lost_state(container: &Declared<'_>, now: Timestamp) -> Option<ContainerStateTerminated> {
    let reported = container.reported?;
    let state = reported.state.as_ref()?;
    if let Some(running) = &state.running {
        return Some(ContainerStateTerminated {
            container_id: reported.container_id.clone(),
            exit_code: UNKNOWN_EXIT,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(
                "The container could not be located when the pod was deleted.  The container used to be Running"
                    .to_owned(),
            ),
            started_at: running.started_at.clone(),
            finished_at: Some(seconds(now)),
            signal: None,
        });
    }
    reported.last_state.as_ref().and_then(|state| state.terminated.clone())
}

/// The last state that only the API server still knows, kept while the incarnation is the same.
fn reported_last_state(container: &Declared<'_>, newest: Option<&Instance>) -> Option<ContainerStateTerminated> {
    let reported = container.reported?;
    let same = newest.is_some_and(|instance| reported.container_id.as_deref() == Some(&container_id(&instance.id)));
    same.then(|| reported.last_state.as_ref().and_then(|state| state.terminated.clone())).flatten()
}

/// Once everything has stopped, a container without an end gets one (rule 5).
fn end_unknown(status: &mut ContainerStatus, now: Timestamp) {
    status.ready = false;
    status.started = Some(false);
    let state = status.state.get_or_insert_default();
    if state.terminated.is_some() {
        return;
    }
    *state = ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: UNKNOWN_EXIT,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            finished_at: Some(seconds(now)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
}

fn mount_statuses(spec: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = spec.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let statuses = mounts.iter().map(|mount| {
        let read_only = mount.read_only.unwrap_or(false);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        }
    });
    Some(statuses.collect())
}

/// The phase (rules 1–4).
fn phase(
    statuses: &[(Declared<'_>, ContainerStatus)],
    seen: &Observed,
    ending: Option<&Ending>,
    finished: bool,
    now: Timestamp,
) -> &'static str {
    let mut counts = Counts::default();
    let active = statuses.iter().any(|(container, status)| !container.init && status.container_id.is_some());
    for (container, status) in statuses {
        if container.init && !container.is_sidecar() {
            match container.next(seen, now) {
                Next::Ended { succeeded: false } if !seen.any_running() => return "Failed",
                Next::Ended { .. } => {}
                Next::Running | Next::Start { .. } | Next::BackOff { .. } if active => {}
                Next::Running | Next::Start { .. } | Next::BackOff { .. } if !finished => return "Pending",
                Next::Running | Next::Start { .. } | Next::BackOff { .. } => counts.failed += 1,
            }
        } else if container.is_sidecar() {
            if !active && status.started != Some(true) && !finished {
                return "Pending";
            }
        } else {
            counts.add(status, ending.is_none() && !matches!(container.next(seen, now), Next::Ended { .. }));
        }
    }
    counts.phase(finished, ending)
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
    restarting: usize,
    succeeded: usize,
    failed: usize,
}

impl Counts {
    fn add(&mut self, status: &ContainerStatus, restarts: bool) {
        let state = status.state.as_ref();
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        if state.is_some_and(|state| state.running.is_some()) {
            self.running += 1;
        } else if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            if restarts {
                self.restarting += 1;
            } else if ended.exit_code == 0 {
                self.succeeded += 1;
            } else {
                self.failed += 1;
            }
        } else if last.is_some() {
            self.restarting += 1;
        } else {
            self.waiting += 1;
        }
    }

    fn phase(&self, finished: bool, ending: Option<&Ending>) -> &'static str {
        if finished {
            let deadline = matches!(ending, Some(Ending::Deadline));
            return if self.succeeded > 0 && self.failed + self.waiting + self.restarting == 0 && !deadline {
                "Succeeded"
            } else {
                "Failed"
            };
        }
        if self.waiting > 0 {
            "Pending"
        } else if self.running + self.restarting > 0 {
            "Running"
        } else if self.failed > 0 {
            "Failed"
        } else if self.succeeded > 0 {
            "Succeeded"
        } else {
            "Pending"
        }
    }
}
