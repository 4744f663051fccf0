//! Stopping a container gracefully, beside the worker: the preStop hook, the stop signal, and the
//! kill when its time is over (contract `pods.md` 1.36–1.41).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use stead_client::EventType;
use stead_net::Network;
use stead_plan::pod::{StopCause, declared, is_sidecar};
use stead_runtime::{ContainerId, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::agent::Inner;
use crate::hooks;
use crate::starting::container_reference;
use crate::worker::{Stop, Worker};

/// What is left to a container after its hook, at least.
const GRACE_AFTER_HOOK_MIN: Duration = Duration::from_secs(2);
/// Pause between kills that the runtime refused.
const KILL_RETRY: Duration = Duration::from_millis(500);
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

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
    if under_way.is_some_and(|known| known <= deadline) {
        return;
    }
    let pod = Arc::clone(&state.pod);
    if under_way.is_none() {
        let text = stop_text(&pod, container, cause);
        inner.recorder.event(&container_reference(&pod, container), EventType::Normal, "Killing", text);
    }
    let first = under_way.is_none();
    let grace = Duration::from_secs(grace_s.max(0).unsigned_abs());
    let task = tokio::spawn(ask_then_kill(
        Arc::clone(inner),
        Arc::clone(worker),
        pod,
        id.clone(),
        container.to_owned(),
        grace,
        first,
    ));
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
    }
}

async fn ask_then_kill<R: Runtime, N: Network>(
    inner: Arc<Inner<R, N>>,
    worker: Arc<Worker>,
    pod: Arc<Pod>,
    id: ContainerId,
    container: String,
    grace: Duration,
    first: bool,
) {
    let started = tokio::time::Instant::now();
    let found =
        declared(&pod).into_iter().find(|declared| declared.spec.name == container).map(|found| found.spec.clone());
    let hook =
        found.as_ref().and_then(|container| container.lifecycle.as_ref()).and_then(|life| life.pre_stop.as_ref());
    let hook = hook.filter(|_| first && !grace.is_zero());
    let floor = if hook.is_some() { GRACE_AFTER_HOOK_MIN } else { Duration::ZERO };
    if let Some(hook) = hook {
        let found = found.as_ref().expect("the hook is the container's");
        let done = tokio::time::timeout(grace, hooks::run(&inner, &worker, found, &id, hook)).await;
        if !matches!(done, Ok(Ok(()))) {
            let about = container_reference(&pod, &container);
            inner.recorder.event(&about, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
        }
    }
    if let Err(error) = inner.runtime.kill_container(&id, stop_signal(&inner, &found.unwrap_or_default())).await {
        tracing::warn!(container = id.0, %error, "cannot signal a container");
    }
    tokio::time::sleep(grace.saturating_sub(started.elapsed()).max(floor)).await;
    // The worker drops this task when the container has ended.
    loop {
        if let Err(error) = inner.runtime.kill_container(&id, SIGKILL).await {
            tracing::warn!(container = id.0, %error, "cannot kill a container, trying again");
        }
        tokio::time::sleep(KILL_RETRY).await;
    }
}

/// The image's stop signal, or SIGTERM.
fn stop_signal<R, N>(inner: &Inner<R, N>, container: &k8s_openapi::api::core::v1::Container) -> i32 {
    let image = inner.images.get(container.image.as_deref().unwrap_or_default());
    let named = image.and_then(|image| image.config.stop_signal.clone());
    named.as_deref().and_then(signal_number).unwrap_or(SIGTERM)
}

/// A signal by number or name, with or without `SIG`.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}
