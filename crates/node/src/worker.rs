//! The worker of one pod: observes, plans, does, reports; strictly one step after the other. Slow
//! work (pulls, stops, probes) runs beside it, puts its result into the worker's state and wakes it.

mod observe;
mod records;
mod report;
mod state;
pub(crate) mod step;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use stead_client::ObjectKey;
use stead_net::Network;
use stead_plan::pod::{Action, Volumes, plan};
use stead_runtime::{ContainerId, ContainerInfo, Inventory, Runtime};
use tokio::sync::{Notify, watch};

use crate::agent::Inner;
use crate::config::AgentConfig;
use crate::{prober, starting, stopping};

pub(crate) use observe::{TERMINATION_LOG, uses_claim, uses_config_map, uses_secret};
pub(crate) use records::recorded_pods;
pub(crate) use state::{State, Stop};

/// Wait before a failed step of tearing down or reporting is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The worker of one pod UID.
pub(crate) struct Worker {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    state: Mutex<State>,
    wake: Notify,
    refresh: AtomicBool,
    finished: watch::Sender<bool>,
}

impl Worker {
    pub(crate) fn new(pod: &Arc<Pod>, config: &AgentConfig, inventory: &Inventory, agent_started: Timestamp) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        Self {
            key: ObjectKey::of(pod.as_ref()),
            state: Mutex::new(State::new(pod, &config.pod_dir(&uid), inventory, agent_started)),
            uid,
            wake: Notify::new(),
            refresh: AtomicBool::new(false),
            finished: watch::Sender::new(false),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the worker.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.wake.notify_one();
    }

    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.state().pod)
    }

    pub(crate) fn changed(&self, pod: &Arc<Pod>) {
        self.update(|state| state.see(Arc::clone(pod)));
    }

    pub(crate) fn gone(&self) {
        self.update(|state| state.gone = true);
    }

    pub(crate) fn container_changed(&self, container: ContainerInfo) {
        self.update(|state| state.put_container(container));
    }

    /// Something the pod refers to has changed.
    pub(crate) fn refresh(&self) {
        self.refresh.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Waits until nothing of the pod is left on the node.
    pub(crate) async fn finished(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _open = self.finished.subscribe().wait_for(|finished| *finished).await.is_ok();
    }
}

/// What to do after an action.
pub(crate) enum Step {
    /// Something changed: plan again at once.
    Again,
    /// It goes on beside the worker, or is waited for.
    Wait,
}

/// Works on the pod until nothing of it is left, or the agent shuts down.
pub(crate) async fn run<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    if let Err(error) = records::record(&inner.config, &worker.pod()) {
        tracing::error!(pod = %worker.key, %error, "cannot record the pod");
    }
    loop {
        let now = Timestamp::now();
        if worker.refresh.swap(false, Ordering::Relaxed) {
            starting::refresh_volumes(inner, worker).await;
        }
        prober::match_containers(inner, worker);
        let (pod, seen) = {
            let state = worker.state();
            (Arc::clone(&state.pod), state.observe(inner.config.node_ip, &inner.images))
        };
        let plan = plan(&pod, &seen, now);
        let mut again = false;
        let mut failed = false;
        for action in plan.actions {
            if action == Action::Finish {
                finish(inner, worker).await;
                return;
            }
            match act(inner, worker, action).await {
                Ok(Step::Again) => again = true,
                Ok(Step::Wait) => {}
                Err(error) => {
                    tracing::warn!(pod = %worker.key, %error, "step failed, trying again");
                    failed = true;
                    break;
                }
            }
        }
        if again && !failed {
            continue;
        }
        if let Some(status) = plan.status
            && let Err(error) = report::report(inner, worker, status).await
        {
            tracing::debug!(pod = %worker.key, %error, "cannot write status, trying again");
            failed = true;
        }
        let wait = if failed { Some(RETRY) } else { plan.wake_at.map(until) };
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = worker.wake.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn act<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    action: Action,
) -> step::Outcome<Step> {
    match action {
        Action::MountVolumes => starting::mount_volumes(inner, worker).await,
        Action::CreateSandbox => starting::create_sandbox(inner, worker).await,
        Action::Pull { container, image } => starting::pull(inner, worker, &container, &image),
        Action::Start { container, attempt } => starting::start(inner, worker, &container, attempt).await,
        Action::Stop { id, container, grace_s, cause } => {
            stopping::stop(inner, worker, &ContainerId(id), &container, grace_s, &cause);
            Ok(Step::Wait)
        }
        Action::Forget { id } => {
            inner.runtime.remove_container(&ContainerId(id.clone())).await?;
            worker.state().containers.remove(&id);
            Ok(Step::Again)
        }
        Action::TearDown => tear_down(inner, worker).await,
        Action::Delete => report::delete(inner, worker).await,
        // Handled by the caller, which ends with it.
        Action::Finish => Ok(Step::Wait),
    }
}

async fn tear_down<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) -> step::Outcome<Step> {
    let (pod, ids) = {
        let mut state = worker.state();
        state.probers.clear();
        state.stops.clear();
        (Arc::clone(&state.pod), state.containers.keys().cloned().collect::<Vec<_>>())
    };
    for id in ids {
        inner.runtime.remove_container(&ContainerId(id)).await?;
    }
    inner.network.detach(&stead_net::PodKey(worker.uid.clone())).await?;
    inner.runtime.remove_sandbox(&stead_runtime::SandboxId(worker.uid.clone())).await?;
    let (task_inner, uid) = (Arc::clone(inner), worker.uid.clone());
    tokio::task::spawn_blocking(move || {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let dir = task_inner.config.pod_dir(&uid);
        crate::volumes::tear_down(&pod, &dir, &starting::lookups(&task_inner, &namespace))
    })
    .await??;
    worker.update(|state| {
        state.torn_down = true;
        state.volumes = Volumes::Unmounted;
        state.sandbox = None;
    });
    Ok(Step::Again)
}

/// Removes what is kept for a pod that the API server no longer has.
async fn finish<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let logs = inner.config.log_dir(&worker.key.namespace, &worker.key.name, &worker.uid);
    for dir in [inner.config.pod_dir(&worker.uid), logs] {
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove a pod's directory");
        }
    }
    worker.finished.send_replace(true);
}
