//! The status of a pod as the API server should show it (contract `pods.md`, section 2).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::containers::{Declared, Next, declared};
use super::ends;
use super::lifecycle::Ending;
use super::qos::qos_class;
use super::view::{Hook, ImageState, Instance, Observed};
use crate::restarts::go_seconds;

/// Most bytes of all termination messages of a pod together (rule 24).
const MESSAGES_BYTES_MAX: usize = 12_288;

/// Whether the API server shows the pod as ended; that never changes again.
pub(super) fn is_terminal(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).is_some_and(is_end)
}

fn is_end(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
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
    let message_bytes_max = MESSAGES_BYTES_MAX / statuses.len().max(1);
    for (_, status) in &mut statuses {
        if finished {
            ends::end_unknown(status, now);
        }
        ends::cut_messages(status, message_bytes_max);
    }
    let computed = phase(&statuses, seen, ending, finished, now);
    // No end is shown before nothing runs any more, and none that is shown is taken back (1.49, 2.4).
    let phase = match old.phase.as_deref() {
        Some(shown) if seen.any_running() && (is_end(shown) || is_end(computed)) => shown,
        Some(_) | None => computed,
    };
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
        None => state_without_instance(pod, container, seen, ending, now),
    };
    if let Some(newest) = newest.filter(|_| last_state.is_none()) {
        let previous = seen.previous(&spec.name).and_then(ends::terminated);
        last_state = previous.or_else(|| ends::reported_last_state(container, newest, now));
    }
    let (lost, restart_count) = match (newest, container.next(seen, now)) {
        (Some(instance), _) => (None, i32::try_from(instance.attempt).unwrap_or(i32::MAX)),
        (None, Next::Start { attempt }) if ending.is_none() => (None, i32::try_from(attempt).unwrap_or(i32::MAX)),
        (None, _) => (container.shown(), container.reported.map_or(0, |status| status.restart_count)),
    };
    let ended_well = state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0);
    let ready =
        if container.runs_once() { ended_well } else { newest.is_some_and(|instance| container.ready(instance, seen)) };
    ContainerStatus {
        name: spec.name.clone(),
        image: newest.map_or_else(|| spec.image.clone().unwrap_or_default(), |instance| instance.image.clone()),
        image_id: newest
            .map(|instance| instance.image_id.clone())
            .or_else(|| lost.map(|status| status.image_id.clone()))
            .unwrap_or_default(),
        container_id: newest
            .map(|instance| container_id(&instance.id))
            .or_else(|| lost.and_then(|status| status.container_id.clone())),
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

/// What a container id on the wire begins with; the runtime's id follows.
pub const CONTAINER_ID_SCHEME: &str = "stead://";

pub(super) fn container_id(id: &str) -> String {
    format!("{CONTAINER_ID_SCHEME}{id}")
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
        // A new try does not take back what is known until it is through.
        Some(ImageState::Failed(failure) | ImageState::Pulling { before: Some(failure) }) => {
            Some(waiting(&failure.reason, Some(failure.message.clone())))
        }
        Some(ImageState::Present | ImageState::Pulled | ImageState::Pulling { before: None }) | None => None,
    }
}

/// The state of a container the runtime knows nothing of, and the last state that goes with it.
fn state_without_instance(
    pod: &Pod,
    container: &Declared<'_>,
    seen: &Observed,
    ending: Option<&Ending>,
    now: Timestamp,
) -> (ContainerState, Option<ContainerStateTerminated>) {
    let lost = ends::lost_state(container, now);
    let reported = container.reported.and_then(|status| status.state.as_ref());
    let as_ended = |ended| ContainerState { terminated: Some(ended), ..ContainerState::default() };
    let over = matches!(container.next(seen, now), Next::Ended { .. });
    if let Some(ended) = reported.filter(|state| state.terminated.is_some() && (over || ending.is_some())) {
        let before = container.reported.and_then(|status| status.last_state.clone());
        return (ended.clone(), before.and_then(|state| state.terminated));
    }
    if over {
        return (as_ended(if container.init { ends::taken_for_done(now) } else { lost.unwrap_or_default() }), None);
    }
    let trouble = start_trouble(container, seen).filter(|_| ending.is_none());
    (trouble.unwrap_or_else(|| before_start(pod)), lost)
}

/// The state of a container that is yet to start.
fn before_start(pod: &Pod) -> ContainerState {
    let has_init = pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some());
    waiting(if has_init { "PodInitializing" } else { "ContainerCreating" }, None)
}

fn state_of_instance(
    pod: &Pod,
    container: &Declared<'_>,
    instance: &Instance,
    seen: &Observed,
    ending: Option<&Ending>,
    now: Timestamp,
) -> (ContainerState, Option<ContainerStateTerminated>) {
    let Some(ended) = ends::terminated(instance) else {
        let running = ContainerStateRunning { started_at: Some(seconds(instance.started_at)) };
        // Until its hook is through, a container counts as being made.
        let state = match container.hook(instance, seen) {
            Some(Hook::Done) => ContainerState { running: Some(running), ..ContainerState::default() },
            Some(Hook::Failed) => waiting("PostStartHookError", Some("PostStartHook failed".to_owned())),
            Some(Hook::Running) | None if ending.is_none() => before_start(pod),
            Some(Hook::Running) | None => ContainerState { running: Some(running), ..ContainerState::default() },
        };
        return (state, None);
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

/// Whether some incarnation of the container was started, this one or an earlier one.
pub(super) fn has_run(status: &ContainerStatus) -> bool {
    status.container_id.is_some() || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

/// The phase (rules 1–4).
fn phase(
    statuses: &[(Declared<'_>, ContainerStatus)],
    seen: &Observed,
    ending: Option<&Ending>,
    finished: bool,
    now: Timestamp,
) -> &'static str {
    if !seen.any_running() && statuses.iter().any(|(container, _)| container.has_failed_for_good(seen, now)) {
        return "Failed";
    }
    let mut counts = Counts::default();
    // The regular ones wait until all before them have ended or started, so they alone count.
    for (container, status) in statuses.iter().filter(|(container, _)| !container.init) {
        counts.add(status, ending.is_none() && !matches!(container.next(seen, now), Next::Ended { .. }));
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
            // Each of them has ended by now.
            let deadline = matches!(ending, Some(Ending::Deadline));
            return if self.succeeded > 0 && self.failed == 0 && !deadline { "Succeeded" } else { "Failed" };
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
