//! Stopping a container gracefully, beside the worker: the preStop hook, the stop signal, and the
//! kill when its time is over (contract `pods.md` 1.36–1.41). Also how anyone else who may have to stop
//! containers, with no agent running, is to do that.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use stead_client::EventType;
use stead_image::Image;
use stead_net::Network;
use stead_plan::pod::{Hook, StopCause, declared, is_sidecar};
use stead_runtime::{ContainerId, ContainerInfo, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::about::{container_reference, declaration};
use crate::agent::Inner;
use crate::hooks;
use crate::panics::caught;
use crate::worker::{Stop, Worker};

/// Annotations of a container that say how it is to be stopped.
const SIGNAL: &str = "stead.dev/stop-signal";
const GRACE: &str = "stead.dev/grace-seconds";
/// How long a pod gets that does not say.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// What a container gets between being asked to end and being killed, at least, also when its grace period is
/// shorter or its hook has used it up (contract `pods.md` 1.37).
const GRACE_MIN: Duration = Duration::from_secs(2);
/// Pause between kills that the runtime refused.
const KILL_RETRY: Duration = Duration::from_millis(500);
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// How a container is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopOrder {
    /// The signal that asks it to end.
    pub signal: i32,
    /// How long it gets before it is killed.
    pub grace: Duration,
}

impl StopOrder {
    /// Reads the order that was given to a container when it was started.
    pub fn of(container: &ContainerInfo) -> Self {
        let said = |name: &str| container.spec.annotations.get(name);
        Self {
            signal: said(SIGNAL).and_then(|text| text.parse().ok()).unwrap_or(SIGTERM),
            grace: said(GRACE).and_then(|text| text.parse().ok()).map_or(GRACE_DEFAULT, Duration::from_secs),
        }
    }

    /// What a container is given so that [`StopOrder::of`] reads it back.
    pub fn to_annotations(self) -> [(String, String); 2] {
        [(SIGNAL.to_owned(), self.signal.to_string()), (GRACE.to_owned(), self.grace.as_secs().to_string())]
    }
}

/// The order for a pod's container: the image's stop signal, the pod's grace period.
pub(crate) fn order_of(pod: &Pod, image: &Image) -> StopOrder {
    let grace_s = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    StopOrder {
        signal: image.config.stop_signal.as_deref().and_then(signal_number).unwrap_or(SIGTERM),
        grace: grace_s.map_or(GRACE_DEFAULT, |seconds| Duration::from_secs(seconds.max(0).unsigned_abs())),
    }
}

/// Starts to stop a container, or hurries a stop that would take longer.
pub(crate) fn stop<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    id: &ContainerId,
    container: &str,
    grace_s: i64,
    cause: &StopCause,
) {
    let now = Timestamp::now();
    let deadline = now.saturating_add(SignedDuration::from_secs(grace_s)).unwrap_or(now);
    let mut state = worker.state();
    let under_way = state.stops.get(&id.0).map(|stop| stop.deadline);
    // What is left of a grace period is reckoned anew each time, in whole seconds.
    if under_way.is_some_and(|known| known.duration_since(deadline) <= SignedDuration::from_secs(1)) {
        return;
    }
    let pod = Arc::clone(&state.pod);
    if under_way.is_none() {
        let text = stop_text(&pod, container, cause);
        inner.recorder.event(&container_reference(&pod, container), EventType::Normal, "Killing", text);
    }
    // A hook of its beginning is of no use to a container that ends.
    if state.hooks.get(&id.0).is_some_and(|run| run.hook == Hook::Running) {
        state.hooks.remove(&id.0);
    }
    let signal = state.containers.get(&id.0).map_or(SIGTERM, |container| StopOrder::of(container).signal);
    let first = under_way.is_none();
    let grace = Duration::from_secs(grace_s.max(0).unsigned_abs());
    let whom = Whom { pod, id: id.clone(), container: container.to_owned() };
    let pace = Pace { signal, grace, first };
    let task = tokio::spawn(stop_in_any_case(Arc::clone(inner), Arc::clone(worker), whom, pace));
    state.stops.insert(id.0.clone(), Stop { deadline, _task: AbortOnDropHandle::new(task) });
}

fn stop_text(pod: &Pod, name: &str, cause: &StopCause) -> String {
    let found = declared(pod).into_iter().find(|container| container.spec.name == name);
    let restarts = found.is_some_and(|container| container.policy.restarts(1));
    let sidecar = found.is_some_and(|container| container.init && is_sidecar(container.spec));
    let will = if restarts { ", will be restarted" } else { "" };
    let who = if sidecar { "Init container" } else { "Container" };
    match cause {
        StopCause::PodEnds => format!("Stopping container {name}"),
        StopCause::Liveness => format!("{who} {name} failed liveness probe{will}"),
        StopCause::Startup => format!("{who} {name} failed startup probe{will}"),
        StopCause::Definition => format!("Container {name} definition changed, will be restarted"),
        StopCause::PostStart => "FailedPostStartHook".to_owned(),
    }
}

/// Who is stopped.
struct Whom {
    pod: Arc<Pod>,
    id: ContainerId,
    container: String,
}

/// How a stop goes about it.
struct Pace {
    signal: i32,
    grace: Duration,
    /// Nobody has asked the container to end before.
    first: bool,
}

/// Stops, and goes on after a panic: others wait for the container's end.
async fn stop_in_any_case<R: Runtime, N: Network>(
    inner: Arc<Inner<R, N>>,
    worker: Arc<Worker>,
    whom: Whom,
    mut pace: Pace,
) {
    let started = tokio::time::Instant::now();
    let grace = pace.grace;
    while caught("a stop", ask_then_kill(&inner, &worker, &whom, &pace)).await.is_err() {
        tokio::time::sleep(KILL_RETRY).await;
        // Its hook has had its chance.
        pace = Pace { grace: grace.saturating_sub(started.elapsed()), first: false, ..pace };
    }
}

async fn ask_then_kill<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    whom: &Whom,
    pace: &Pace,
) {
    let Whom { pod, id, container } = whom;
    let Pace { signal, grace, first } = *pace;
    let started = tokio::time::Instant::now();
    let found = declaration(pod, container);
    let hook = found.and_then(|found| Some((found, found.lifecycle.as_ref()?.pre_stop.as_ref()?)));
    if let Some((found, hook)) = hook.filter(|_| first && !grace.is_zero()) {
        let done = tokio::time::timeout(grace, hooks::run(inner, worker, found, id, hook)).await;
        let failure =
            done.map_or_else(|_| Some("it took too long".to_owned()), |done| done.err().map(|e| e.to_string()));
        if let Some(failure) = failure {
            tracing::info!(container = id.0, failure, "preStop hook failed");
            let about = container_reference(pod, container);
            inner.recorder.event(&about, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
        }
    }
    let left = grace.saturating_sub(started.elapsed()).max(GRACE_MIN);
    let wait = async {
        while let Err(error) = inner.runtime.kill_container(id, signal).await {
            tracing::warn!(container = id.0, %error, "cannot signal a container, trying again");
            tokio::time::sleep(KILL_RETRY).await;
        }
        std::future::pending::<()>().await;
    };
    // The worker drops this task when the container has ended; otherwise the time runs out.
    if tokio::time::timeout(left, wait).await.is_err() {
        tracing::debug!(container = id.0, "a container did not end in its time");
    }
    kill(inner, worker, id).await;
}

/// Kills the container until it has ended: then the worker drops this task.
async fn kill<R: Runtime, N: Network>(inner: &Inner<R, N>, worker: &Worker, id: &ContainerId) {
    loop {
        match inner.runtime.kill_container(id, SIGKILL).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(container = id.0, %error, "cannot kill a container, trying again"),
        }
        tokio::time::sleep(KILL_RETRY).await;
        // A runtime that lost sight of the container will never tell of its end. Where the pod ends, taking its
        // cgroup away tells whether a process is left; a container that is to start again might run twice.
        match inner.runtime.list().await {
            Ok(inventory) if inventory.containers.iter().any(|container| container.spec.id == *id) => {}
            Ok(_) if worker.state().is_ending() => return worker.update(|state| state.lose(id)),
            Ok(_) => tracing::warn!(container = id.0, "the runtime lost sight of a container: delete its pod"),
            Err(error) => tracing::warn!(container = id.0, %error, "cannot look for a container, trying again"),
        }
    }
}

/// A signal by number or name, with or without `SIG`.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}
