//! The worker of one pod: observes, plans, does, reports; strictly one step after the other. Slow
//! work (pulls, stops, probes) runs beside it, puts its result into the worker's state and wakes it.

mod observe;
mod records;
mod report;
mod state;
pub(crate) mod step;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use stead_client::ObjectKey;
use stead_net::Network;
use stead_plan::pod::{Action, plan};
use stead_runtime::{ContainerId, ContainerInfo, Inventory, Runtime};
use tokio::sync::{Notify, watch};

use crate::agent::Inner;
use crate::config::AgentConfig;
use crate::panics::caught;
use crate::{hooks, mounting, news, preparing, prober, pulling, sandbox, starting, stopping, teardown};

pub(crate) use observe::{TERMINATION_LOG, config_maps, secrets, uses_claim};
pub(crate) use records::known_pods;
pub(crate) use state::{HookRun, PreparingRun, State, Stop};

/// Wait before a failed step of tearing down or reporting is tried again: first, and longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The worker of one pod UID.
pub(crate) struct Worker {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    state: Mutex<State>,
    wake: Notify,
    refresh: AtomicBool,
    finished: watch::Sender<bool>,
    /// Told of every change of the state.
    changes: watch::Sender<()>,
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
            changes: watch::Sender::new(()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the worker.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changes.send_replace(());
        self.wake.notify_one();
    }

    /// Tells of changes of the state from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.state().pod)
    }

    pub(crate) fn changed(&self, pod: &Arc<Pod>) {
        self.update(|state| state.see(Arc::clone(pod)));
    }

    /// The API server no longer has the pod; `last` is how it last was there.
    pub(crate) fn gone(&self, last: &Arc<Pod>) {
        self.update(|state| {
            // Forced deletion says here how little grace is left.
            state.see(Arc::clone(last));
            state.gone = true;
        });
    }

    pub(crate) fn container_changed(&self, container: ContainerInfo) {
        self.update(|state| state.put_container(container));
    }

    /// Something the pod refers to has changed.
    pub(crate) fn refresh(&self) {
        self.refresh.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Nothing of the pod is left on the node.
    pub(crate) fn set_finished(&self) {
        self.finished.send_replace(true);
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

/// Works on the pod until nothing of it is left, or the agent shuts down. A worker that panics begins again
/// with what it knows: others wait for its end.
pub(crate) async fn run<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let mut retry = RETRY_FIRST;
    loop {
        let what = format!("the worker of pod {}", worker.key);
        let worked = caught(&what, keep_and_work(inner, worker)).await;
        // A stop or a hook that goes on would be nobody's.
        worker.state().end_tasks();
        if worked.is_ok() {
            return;
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = tokio::time::sleep(retry) => {}
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

async fn keep_and_work<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    if records::keep(inner, worker).await {
        work(inner, worker).await;
    }
}

async fn work<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let mut retry = RETRY_FIRST;
    while !inner.shutdown.is_cancelled() {
        if !worker.state().is_ending() {
            tokio::select! {
                biased;
                () = inner.shutdown.cancelled() => return,
                () = inner.references.hold(worker) => {}
                // Perhaps the pod is to end, for which nothing it names is needed.
                () = worker.wake.notified() => continue,
            }
        }
        if worker.refresh.swap(false, Ordering::Relaxed) {
            mounting::refresh_volumes(inner, worker).await;
        }
        prober::match_containers(inner, worker);
        let wait = match step(inner, worker).await {
            Ok(Turn::Again) => continue,
            Ok(Turn::Finished) => return,
            Ok(Turn::Until(at)) => {
                retry = RETRY_FIRST;
                at.map(until)
            }
            Err(error) => {
                tracing::warn!(pod = %worker.key, %error, "step failed, trying again");
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                Some(wait)
            }
        };
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = worker.wake.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

/// What comes after one turn of the worker.
enum Turn {
    /// Something changed: another turn at once.
    Again,
    /// Another turn when woken, or then.
    Until(Option<Timestamp>),
    /// Nothing of the pod is left.
    Finished,
}

/// One turn: looks, plans, does, and reports what it comes to rest at.
async fn step<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) -> step::Outcome<Turn> {
    let (pod, seen) = {
        let state = worker.state();
        (Arc::clone(&state.pod), state.observe(inner.config.node_ip, &inner.images))
    };
    let plan = plan(&pod, &seen, Timestamp::now());
    news::tell(inner, worker, &pod, plan.news);
    let (mut again, mut failure) = (false, None);
    for action in plan.actions {
        if action == Action::Finish {
            teardown::finish(inner, worker).await;
            return Ok(Turn::Finished);
        }
        let (name, started) = (action.name(), Instant::now());
        let done = act(inner, worker, action).await;
        tracing::debug!(pod = %worker.key, action = name, took = ?started.elapsed(), ok = done.is_ok(), "done");
        match done {
            Ok(Step::Again) => again = true,
            Ok(Step::Wait) => {}
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    if again && failure.is_none() {
        return Ok(Turn::Again);
    }
    // Also when a step failed: what is known of the pod is shown meanwhile.
    let reported = match plan.status {
        Some(status) => report::report(inner, worker, status).await,
        None => Ok(()),
    };
    match failure {
        Some(error) => Err(error),
        None => reported.map(|()| Turn::Until(plan.wake_at)),
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
        Action::MountVolumes => mounting::mount_volumes(inner, worker).await,
        Action::CreateSandbox { again } => sandbox::create(inner, worker, again).await,
        Action::Pull { container, image } => Ok(pulling::pull(inner, worker, &container, &image)),
        Action::Start { container, attempt } => starting::start(inner, worker, &container, attempt).await,
        Action::PostStart { id, container } => Ok(hooks::post_start(inner, worker, &ContainerId(id), &container)),
        Action::FetchImages { request } => Ok(preparing::fetch_images(inner, worker, *request)),
        Action::PrepareHook { request } => Ok(preparing::run_hook(inner, worker, *request)),
        Action::StopPreparing => {
            worker.state().preparing = None;
            Ok(Step::Wait)
        }
        Action::Stop { id, container, grace_s, cause } => {
            stopping::stop(inner, worker, &ContainerId(id), &container, grace_s, &cause);
            Ok(Step::Wait)
        }
        Action::Forget { id } => teardown::forget(inner, worker, &ContainerId(id)).await,
        Action::TearDown => teardown::tear_down(inner, worker).await,
        Action::Delete => report::delete(inner, worker).await,
        // Handled by the caller, which ends with it.
        Action::Finish => Ok(Step::Wait),
    }
}
