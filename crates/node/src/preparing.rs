//! Making ready for the replacement of a pod, beside its worker: getting the images that its node does
//! not have, and running the hook. `plan::pod` decides when.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use stead_api::preparation::{Hook, Request, WantedImage};
use stead_client::{EventType, reference_to};
use stead_image::Credential;
use stead_net::Network;
use stead_plan::pod::{Failure, Part, Preparing};
use stead_runtime::{ContainerId, ContainerState, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::about::{container_reference, declaration};
use crate::agent::Inner;
use crate::checks::{self, CheckError};
use crate::panics::caught;
use crate::pulling::{self, credentials};
use crate::references::Named;
use crate::retry;
use crate::worker::{PreparingRun, Step, Worker};

const USER_AGENT: &str = "kube-lifecycle/1.36";
/// Most characters of a failure that are shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// Starts to get the images.
pub(crate) fn fetch_images<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    request: Request,
) -> Step {
    let mut state = worker.state();
    let (pod, named) = (Arc::clone(&state.pod), state.named.clone());
    let former = state.preparing.take().filter(|run| run.preparing.id == request.id);
    let failures = former.as_ref().map_or(0, |run| run.failures);
    let before = former.and_then(|run| failure_of(run.preparing.images));
    let preparing = Preparing { id: request.id.clone(), images: Part::Running { before }, hook: Part::Open };
    let (inner, done) = (Arc::clone(inner), Arc::clone(worker));
    let task = tokio::spawn(async move {
        let fetched = caught("fetching images", fetch_all(&inner, &pod, &named, &request)).await;
        let outcome = fetched.unwrap_or_else(|panicked| Err(panicked.to_string()));
        finish(&done, &request.id, outcome, |preparing| &mut preparing.images);
    });
    state.preparing = Some(PreparingRun { preparing, failures, _task: Some(AbortOnDropHandle::new(task)) });
    Step::Wait
}

/// Starts to run the hook.
pub(crate) fn run_hook<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    request: Request,
) -> Step {
    let mut state = worker.state();
    let pod = Arc::clone(&state.pod);
    let Some(run) = state.preparing.as_mut().filter(|run| run.preparing.id == request.id) else { return Step::Again };
    let Some(hook) = request.hook else { return Step::Again };
    let before = failure_of(std::mem::take(&mut run.preparing.hook));
    run.preparing.hook = Part::Running { before };
    let (inner, done, id) = (Arc::clone(inner), Arc::clone(worker), request.id);
    let task = tokio::spawn(async move {
        let first = || pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|first| first.name.clone());
        let container = hook.container.clone().or_else(first).unwrap_or_default();
        let limit = Duration::from_secs(hook.timeout_seconds.into());
        let ran = caught("a prepare hook", run_now(&inner, &done, &pod, &container, &hook));
        let outcome = match tokio::time::timeout(limit, ran).await {
            Ok(ran) => ran.unwrap_or_else(|panicked| Err(panicked.to_string())),
            Err(_) => Err(format!("it took longer than {limit:?}")),
        };
        if let Err(why) = &outcome {
            let about = container_reference(&pod, &container);
            let text = format!("PrepareHook failed: {why}");
            inner.recorder.event(&about, EventType::Warning, "FailedPrepareHook", text);
        }
        finish(&done, &id, outcome, |preparing| &mut preparing.hook);
    });
    run._task = Some(AbortOnDropHandle::new(task));
    Step::Wait
}

fn failure_of(part: Part) -> Option<Failure> {
    match part {
        Part::Failed(failure) => Some(failure),
        Part::Running { before } => before,
        Part::Open | Part::Done => None,
    }
}

/// Writes down how a part ended, if the request is still the same.
fn finish(worker: &Worker, id: &str, outcome: Result<(), String>, part: impl Fn(&mut Preparing) -> &mut Part) {
    worker.update(|state| {
        let Some(run) = state.preparing.as_mut().filter(|run| run.preparing.id == id) else { return };
        *part(&mut run.preparing) = match outcome {
            Ok(()) => {
                run.failures = 0;
                Part::Done
            }
            Err(why) => {
                let (reason, retry_at) = ("PrepareFailed".to_owned(), retry::prepare_at(run.failures));
                run.failures += 1;
                Part::Failed(Failure { reason, message: why.chars().take(MESSAGE_CHARS_MAX).collect(), retry_at })
            }
        };
    });
}

async fn fetch_all<R, N>(inner: &Inner<R, N>, pod: &Pod, named: &Named, request: &Request) -> Result<(), String> {
    let mut shown = None;
    for wanted in &request.images {
        let present = inner.images.get(&wanted.image).is_some();
        match wanted.pull_policy.as_deref() {
            // What is there under the name will do; whether it is the newest is seen at the start.
            Some("Always") => {
                let shown = shown.get_or_insert_with(|| credentials::of(inner, pod, named, &request.pull_secrets));
                fetch(inner, pod, wanted, shown).await.or_else(|why| if present { Ok(()) } else { Err(why) })?;
            }
            Some(_) | None if present => {}
            Some("Never") => return Err(format!("{}: not present with pull policy of Never", wanted.image)),
            Some(_) | None => {
                let shown = shown.get_or_insert_with(|| credentials::of(inner, pod, named, &request.pull_secrets));
                fetch(inner, pod, wanted, shown).await?;
            }
        }
    }
    Ok(())
}

async fn fetch<R, N>(
    inner: &Inner<R, N>,
    pod: &Pod,
    wanted: &WantedImage,
    credentials: &[Credential],
) -> Result<(), String> {
    let fetched = pulling::fetch(inner, &reference_to(pod), &wanted.image, credentials).await;
    fetched.map(drop).map_err(|error| format!("{}: {error}", wanted.image))
}

async fn run_now<R: Runtime, N: Network>(
    inner: &Inner<R, N>,
    worker: &Worker,
    pod: &Pod,
    container: &str,
    hook: &Hook,
) -> Result<(), String> {
    let Some(declared) = declaration(pod, container) else {
        return Err(format!("the pod has no container {container:?}"));
    };
    if let Some(exec) = &hook.exec {
        let Some(id) = running(worker, container) else { return Err(format!("container {container:?} does not run")) };
        let ran = checks::exec_output(inner, &id, exec).await;
        let ran =
            ran.and_then(|(code, output)| if code == 0 { Ok(()) } else { Err(CheckError::Exit { code, output }) });
        return ran.map_err(|error| error.to_string().trim_end().to_owned());
    }
    let Some(get) = &hook.http_get else { return Err(CheckError::Handler.to_string()) };
    let ip = worker.state().sandbox.as_ref().map(|sandbox| sandbox.ip);
    match checks::http_get(declared, get, ip, USER_AGENT).await {
        Ok(answer) if (200..=399).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(format!("the answer was {}: {}", answer.status, answer.body.trim_end())),
        Err(error) => Err(error.to_string()),
    }
}

/// The incarnation of a container that runs.
fn running(worker: &Worker, container: &str) -> Option<ContainerId> {
    let state = worker.state();
    let runs = |known: &&stead_runtime::ContainerInfo| matches!(known.state, ContainerState::Running { .. });
    let mut named = state.containers.values().filter(|known| known.spec.name == container).filter(runs);
    named.next().map(|known| known.spec.id.clone())
}
