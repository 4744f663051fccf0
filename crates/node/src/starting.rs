//! The step that starts the next incarnation of a container.

mod mounts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use stead_client::EventType;
use stead_image::{Image, StoreError, Using};
use stead_net::Network;
use stead_plan::pod::{Failure, ImageState};
use stead_runtime::{ContainerSpec, ContainerState, Runtime, RuntimeError};

use crate::about::{container_reference, declaration};
use crate::agent::Inner;
use crate::config::AgentConfig;
use crate::env::{self, EnvError, PodFacts};
use crate::files;
use crate::lookups::{facts, lookups};
use crate::references::Named;
use crate::retry;
use crate::spec::{self, SpecError};
use crate::stopping;
use crate::volumes::{Paths, VolumeError};
use crate::worker::step::Outcome;
use crate::worker::{Step, TERMINATION_LOG, Worker};

/// The waiting reason of a container whose declaration cannot be followed (yet).
pub(crate) const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Why a container did not start; the variants are the waiting reasons.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("missing value for {0}")]
    SubPath(String),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("cannot prepare {path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("image is no longer present")]
    ImageGone,
    #[error(transparent)]
    Images(#[from] StoreError),
}

impl StartError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Env(_)
            | Self::Volume(_)
            | Self::SubPath(_)
            | Self::Spec(SpecError::Root(_) | SpecError::Seccomp(_)) => CONFIG_ERROR,
            Self::Spec(SpecError::NoCommand | SpecError::User(_))
            | Self::Io { .. }
            | Self::ImageGone
            | Self::Images(_) => "CreateContainerError",
            Self::Runtime(RuntimeError::Start(_)) => "RunContainerError",
            Self::Runtime(_) => "CreateContainerError",
        }
    }
}

/// Starts the next incarnation of a container.
pub(crate) async fn start<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    name: &str,
    attempt: u32,
) -> Outcome<Step> {
    let pod = worker.pod();
    if declaration(&pod, name).is_none() {
        return Ok(Step::Wait);
    }
    let about = container_reference(&pod, name);
    match try_start(inner, worker, &pod, name, attempt).await {
        Ok(()) => {
            inner.recorder.event(&about, EventType::Normal, "Created", "Container created");
            inner.recorder.event(&about, EventType::Normal, "Started", "Container started");
            Ok(Step::Again)
        }
        Err(StartError::Runtime(_)) if is_there(inner, worker, name, attempt).await? => Ok(Step::Again),
        // Nothing is wrong with the container.
        Err(StartError::Runtime(error @ RuntimeError::Unreachable(_))) => Err(error.into()),
        Err(error) => {
            inner.recorder.event(&about, EventType::Warning, "Failed", format!("Error: {error}"));
            let mut state = worker.state();
            let failures = state.starts_failed.entry(name.to_owned()).or_insert(0);
            let failure = Failure {
                reason: error.reason().to_owned(),
                message: error.to_string(),
                retry_at: retry::pull_at(*failures),
            };
            *failures += 1;
            state.start_failures.insert(name.to_owned(), failure);
            state.images.remove(name);
            Ok(Step::Again)
        }
    }
}

/// Whether the incarnation exists in spite of a failed start, which is then taken over: an agent that was
/// killed while the supervisor carried out its request leaves a container that its successor's first look
/// may have come too early for.
async fn is_there<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    name: &str,
    attempt: u32,
) -> Outcome<bool> {
    let id = spec::container_id(&worker.uid, name, attempt);
    let found = inner.runtime.list().await?.containers.into_iter().find(|container| container.spec.id == id);
    let is_there = found.is_some();
    if let Some(container) = found {
        let mut state = worker.state();
        state.start_failures.remove(name);
        state.put_container(container);
    }
    Ok(is_there)
}

async fn try_start<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    pod: &Arc<Pod>,
    name: &str,
    attempt: u32,
) -> Result<(), StartError> {
    let preparation = {
        let mut state = worker.state();
        let pulled = state.images.get(name) == Some(&ImageState::Pulled);
        Preparation {
            pod: Arc::clone(pod),
            container: name.to_owned(),
            attempt,
            just_pulled: state.resolved.remove(name).filter(|_| pulled),
            facts: facts(inner, &state),
            named: state.named.clone(),
            paths: state.paths.clone(),
        }
    };
    let task_inner = Arc::clone(inner);
    let prepared = tokio::task::spawn_blocking(move || preparation.carry_out(&task_inner)).await;
    let (spec, layers) = prepared.map_err(|error| StartError::Runtime(RuntimeError::Other(error.to_string())))??;
    // They stay until the runtime tells that the container uses them, also when this process is killed before.
    let info = inner.runtime.start_container(spec, Some(layers.into())).await?;
    let mut state = worker.state();
    let earlier = state.containers.values().filter(|known| known.spec.name == name);
    if let Some(before) = earlier.max_by_key(|known| known.spec.attempt)
        && let ContainerState::Exited { finished_at, .. } = before.state
    {
        let started_at = before.started_at;
        let backoff = state.backoffs.get(name).copied().unwrap_or_default();
        state.backoffs.insert(name.to_owned(), backoff.restarted(started_at, finished_at));
    }
    state.start_failures.remove(name);
    state.starts_failed.remove(name);
    state.put_container(info);
    Ok(())
}

/// What an incarnation is put together from.
struct Preparation {
    pod: Arc<Pod>,
    container: String,
    attempt: u32,
    /// The image, if it was pulled for this very start.
    just_pulled: Option<Arc<Image>>,
    facts: PodFacts,
    named: Named,
    paths: Paths,
}

impl Preparation {
    /// Puts the incarnation together and makes its files. Its layers stay as long as the second part of the
    /// answer does. Blocking.
    fn carry_out<R, N>(self, inner: &Inner<R, N>) -> Result<(ContainerSpec, Using), StartError> {
        let Self { pod, container, attempt, just_pulled, facts, named, paths } = self;
        let Some(container) = declaration(&pod, &container) else { return Err(SpecError::NoCommand.into()) };
        let meta = &pod.metadata;
        let [namespace, name, uid] =
            [&meta.namespace, &meta.name, &meta.uid].map(|part| part.as_deref().unwrap_or_default());
        let layers = inner.images.using()?;
        let image = match just_pulled {
            Some(image) if image.is_whole() => image,
            Some(_) => return Err(StartError::ImageGone),
            None => present_image(inner, &pod, container)?,
        };
        let env = env::environment(&pod, container, &facts, &lookups(inner, namespace, &named))?;
        let pod_dir = inner.config.pod_dir(uid);
        let mut mounts = mounts::of_volumes(container, &paths, &env, &pod_dir)?;
        let termination_log = mounts::add_managed_files(&pod, container, attempt, &pod_dir, &mut mounts)?;
        // One that is too long has got no sandbox.
        let hostname = files::kernel_hostname(&pod, &inner.config.cluster_domain).unwrap_or_default();
        let log_dir = inner.config.log_dir(namespace, name, uid);
        let mut annotations: BTreeMap<String, String> = stopping::order_of(&pod, &image).to_annotations().into();
        annotations.insert(TERMINATION_LOG.to_owned(), termination_log.display().to_string());
        let spec = spec::container_spec(spec::Parts {
            pod: &pod,
            container,
            attempt,
            image: &image,
            env,
            hostname: &hostname,
            mounts,
            log_path: AgentConfig::log_file(&log_dir, &container.name, attempt),
            node_memory_bytes: inner.capacity.memory_bytes,
            annotations,
        })?;
        Ok((spec, layers))
    }
}

/// The image that is on the node, which is told.
fn present_image<R, N>(inner: &Inner<R, N>, pod: &Pod, container: &Container) -> Result<Arc<Image>, StartError> {
    let name = container.image.as_deref().unwrap_or_default();
    let image = inner.images.get(name).ok_or(StartError::ImageGone)?;
    let text = format!("Container image {name:?} already present on machine and can be accessed by the pod");
    inner.recorder.event(&container_reference(pod, &container.name), EventType::Normal, "Pulled", text);
    Ok(image)
}

fn io_error(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> StartError {
    let path: PathBuf = path.to_owned();
    move |source| StartError::Io { path: path.display().to_string(), source }
}
