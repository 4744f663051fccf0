//! The worker of one pod: observes, plans, does, reports, strictly one step after the other, as the real
//! agent's. Pulls and stops go on beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use stead_client::ObjectKey;
use stead_plan::pod::{
    Action, Failure, ImageState, InstanceState, Observed, Preparing, Probed, Sandbox, Volumes, declared, plan,
};
use stead_plan::restarts::Backoff;
use tokio::sync::{Notify, watch};

use super::report::{delete, report};
use super::{Inner, preparing};
use crate::cluster::machine::Machine;

/// Wait before a failed step is tried again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct State {
    pub(super) pod: Arc<Pod>,
    pub(super) gone: bool,
    torn_down: bool,
    volumes: Volumes,
    sandbox: Option<Sandbox>,
    images: BTreeMap<String, ImageState>,
    pull_failures: u32,
    backoffs: BTreeMap<String, Backoff>,
    /// Incarnations being stopped, and when they are killed.
    stops: BTreeMap<String, Timestamp>,
    /// How far it is with making ready for the pod's replacement.
    pub(super) preparing: Option<Preparing>,
    first_seen: Timestamp,
}

/// See the module.
pub(super) struct Worker {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    state: Mutex<State>,
    wake: Notify,
    finished: watch::Sender<bool>,
}

impl Worker {
    /// Takes the pod on, with whatever of it runs already.
    pub(super) fn new(pod: &Arc<Pod>, machine: &Machine) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        let state = State {
            pod: Arc::clone(pod),
            gone: false,
            torn_down: ended && !machine.holds(&uid),
            volumes: Volumes::Unmounted,
            sandbox: machine.sandbox(&uid).map(|ip| Sandbox { ip }),
            images: BTreeMap::new(),
            pull_failures: 0,
            backoffs: BTreeMap::new(),
            stops: BTreeMap::new(),
            preparing: None,
            first_seen: machine.wall().now(),
        };
        Self {
            key: ObjectKey::of(pod.as_ref()),
            uid,
            state: Mutex::new(state),
            wake: Notify::new(),
            finished: watch::Sender::new(false),
        }
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The pod object has changed.
    pub(super) fn see(&self, pod: &Arc<Pod>) {
        self.take(pod);
        self.wake();
    }

    /// Takes in a newer state of the pod object.
    pub(super) fn take(&self, pod: &Arc<Pod>) {
        let revision = |pod: &Pod| pod.metadata.resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
        let mut state = self.state();
        if revision(pod) >= revision(&state.pod) {
            state.pod = Arc::clone(pod);
        }
    }

    /// The API no longer has the pod.
    pub(super) fn gone(&self) {
        self.update(|state| state.gone = true);
    }

    /// Waits until nothing of the pod is left.
    pub(super) async fn finished(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _open = self.finished.subscribe().wait_for(|finished| *finished).await.is_ok();
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.wake.notify_one();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, machine: &Machine) -> (Arc<Pod>, Observed) {
        let state = self.state();
        let mut images = state.images.clone();
        for container in declared(&state.pod) {
            let image = container.spec.image.as_deref().unwrap_or_default();
            if machine.has_image(image) {
                images.entry(container.spec.name.clone()).or_insert(ImageState::Present);
            }
        }
        let instances = machine.instances(&self.uid);
        let probed = |id: &String| {
            let ready = machine.is_ready(id);
            (id.clone(), Probed { started: true, ready, ..Probed::default() })
        };
        let probes = instances.iter().map(|instance| probed(&instance.id)).collect();
        let seen = Observed {
            volumes: state.volumes.clone(),
            sandbox: state.sandbox.clone(),
            instances,
            images,
            probes,
            backoffs: state.backoffs.clone(),
            preparing: state.preparing.clone(),
            gone: state.gone,
            torn_down: state.torn_down,
            host_ip: Some(machine.ip()),
            first_seen: Some(state.first_seen),
            ..Observed::default()
        };
        (Arc::clone(&state.pod), seen)
    }
}

/// Works on the pod until nothing of it is left.
pub(super) async fn run(inner: &Arc<Inner>, worker: &Arc<Worker>) {
    inner.machine.record(&worker.state().pod);
    loop {
        let now = inner.machine.wall().now();
        let (pod, seen) = worker.observe(&inner.machine);
        let plan = plan(&pod, &seen, now);
        let (mut again, mut failed) = (false, false);
        for action in plan.actions {
            if action == Action::Finish {
                inner.machine.forget(&worker.uid);
                worker.finished.send_replace(true);
                return;
            }
            match act(inner, worker, action).await {
                Ok(changed) => again |= changed,
                Err(error) => {
                    tracing::debug!(pod = %worker.key, %error, "step failed, trying again");
                    failed = true;
                    break;
                }
            }
        }
        if again && !failed {
            continue;
        }
        if let Some(status) = plan.status
            && let Err(error) = report(inner, worker, status).await
        {
            tracing::debug!(pod = %worker.key, %error, "cannot write status, trying again");
            failed = true;
        }
        let due = plan.wake_at.map(|at| until(at, inner.machine.wall().now()));
        let wait = if failed { Some(RETRY) } else { due };
        tokio::select! {
            biased;
            () = worker.wake.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Does one thing; whether to plan again at once.
async fn act(inner: &Arc<Inner>, worker: &Arc<Worker>, action: Action) -> kube::Result<bool> {
    let machine = &inner.machine;
    let dice = machine.dice();
    match action {
        Action::MountVolumes => return mount(inner, worker).await.map(|()| true),
        Action::CreateSandbox { again: _ } => {
            tokio::time::sleep(dice.ms(1, 50)).await;
            let ip = machine.make_sandbox(&worker.uid);
            worker.state().sandbox = Some(Sandbox { ip });
        }
        Action::Pull { container, image } => {
            let mut state = worker.state();
            let before = match state.images.remove(&container) {
                Some(ImageState::Failed(failure)) => Some(failure),
                Some(ImageState::Pulling { before }) => before,
                Some(ImageState::Present | ImageState::Pulled) | None => None,
            };
            state.images.insert(container.clone(), ImageState::Pulling { before });
            drop(state);
            inner.tasks.spawn(pull(Arc::clone(inner), Arc::clone(worker), container, image));
            return Ok(false);
        }
        Action::Start { container, attempt } => {
            tokio::time::sleep(dice.ms(1, 100)).await;
            start(inner, worker, &container, attempt);
        }
        Action::Stop { id, grace_s, .. } => {
            stop(inner, worker, id, grace_s);
            return Ok(false);
        }
        Action::Forget { id } => machine.remove(&id),
        Action::TearDown => {
            tokio::time::sleep(dice.ms(1, 50)).await;
            machine.tear_down(&worker.uid);
            let mut state = worker.state();
            state.torn_down = true;
            state.volumes = Volumes::Unmounted;
            state.sandbox = None;
            state.stops.clear();
            state.preparing = None;
        }
        Action::Delete => return delete(inner, worker).await,
        Action::FetchImages { request } => {
            preparing::fetch_images(inner, worker, *request);
            return Ok(false);
        }
        Action::PrepareHook { request } => {
            preparing::run_hook(inner, worker, *request);
            return Ok(false);
        }
        Action::StopPreparing => worker.state().preparing = None,
        // No simulated pod has hooks of its own; and the end is handled by the caller, which ends with it.
        Action::PostStart { .. } | Action::Finish => return Ok(false),
    }
    Ok(true)
}

async fn mount(inner: &Arc<Inner>, worker: &Arc<Worker>) -> kube::Result<()> {
    let pod = Arc::clone(&worker.state().pod);
    let api: Api<PersistentVolumeClaim> = Api::namespaced(inner.client.clone(), &worker.key.namespace);
    let mut problem = None;
    for name in stead_plan::claims::claims_of(&pod) {
        let claim = api.get_opt(&name).await?;
        let bound = claim.filter(stead_plan::claims::is_bound).and_then(|claim| claim.metadata.uid);
        let locked = match bound {
            Some(uid) => inner.machine.lock_claim(&uid, &worker.key, &worker.uid),
            None => Err(format!("claim {name} is not bound")),
        };
        if let Err(message) = locked {
            problem = Some(message);
            break;
        }
    }
    let retry_at = inner.machine.wall().now().saturating_add(SignedDuration::from_secs(1));
    worker.state().volumes = match problem {
        None => Volumes::Mounted,
        Some(message) => Volumes::Failed(Failure {
            reason: "FailedMount".to_owned(),
            message,
            retry_at: retry_at.unwrap_or(Timestamp::MAX),
        }),
    };
    Ok(())
}

async fn pull(inner: Arc<Inner>, worker: Arc<Worker>, container: String, image: String) {
    tokio::time::sleep(inner.machine.dice().ms(20, 3_000)).await;
    let absent = image.ends_with(":absent");
    if !absent {
        inner.machine.keep_image(&image);
    }
    let now = inner.machine.wall().now();
    worker.update(|state| {
        let outcome = if absent {
            state.pull_failures += 1;
            let wait = SignedDuration::from_secs(10_i64 << state.pull_failures.min(5));
            ImageState::Failed(Failure {
                reason: "ErrImagePull".to_owned(),
                message: format!("{image} is not there"),
                retry_at: now.saturating_add(wait).unwrap_or(Timestamp::MAX),
            })
        } else {
            ImageState::Pulled
        };
        state.images.insert(container, outcome);
    });
}

fn start(inner: &Arc<Inner>, worker: &Arc<Worker>, container: &str, attempt: u32) {
    let machine = &inner.machine;
    let (pod, ended) = {
        let instances = machine.instances(&worker.uid);
        let own = instances.into_iter().filter(|instance| instance.name == container);
        (Arc::clone(&worker.state().pod), own.max_by_key(|instance| instance.attempt))
    };
    let all = declared(&pod);
    let Some(found) = all.iter().find(|declared| declared.spec.name == container) else { return };
    machine.start(&worker.key, &worker.uid, container, attempt, found.spec.image.as_deref().unwrap_or_default());
    let mut state = worker.state();
    state.images.remove(container);
    if let Some(ended) = ended
        && let InstanceState::Exited { finished_at, .. } = ended.state
    {
        let backoff = state.backoffs.get(container).copied().unwrap_or_default();
        state.backoffs.insert(container.to_owned(), backoff.restarted(ended.started_at, finished_at));
    }
}

fn stop(inner: &Arc<Inner>, worker: &Arc<Worker>, id: String, grace_s: i64) {
    let now = inner.machine.wall().now();
    let deadline = now.saturating_add(SignedDuration::from_secs(grace_s)).unwrap_or(now);
    {
        let mut state = worker.state();
        if state.stops.get(&id).is_some_and(|known| *known <= deadline) {
            return;
        }
        state.stops.insert(id.clone(), deadline);
    }
    inner.machine.ask_to_end(&id);
    let (machine, grace) = (inner.machine.clone(), Duration::from_secs(grace_s.max(0).unsigned_abs()));
    inner.tasks.spawn(async move {
        tokio::time::sleep(grace).await;
        machine.kill(&id);
    });
}
