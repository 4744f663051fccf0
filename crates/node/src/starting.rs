//! The steps that bring a pod up: volumes, sandbox, images, containers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use stead_client::{EventType, reference_to};
use stead_image::{Credential, Image, Progress, PullError};
use stead_net::{Network, PodKey};
use stead_plan::pod::{Failure, ImageState, Sandbox, Volumes, declared};
use stead_runtime::{BindMount, Propagation, Runtime, RuntimeError, SandboxId, SandboxSpec};

use crate::agent::Inner;
use crate::env::{self, EnvError, PodFacts};
use crate::files;
use crate::lookups::Lookups;
use crate::spec::{self, SpecError};
use crate::volumes;
use crate::worker::step::{Outcome, StepError};
use crate::worker::{State, Step, TERMINATION_LOG, Worker};

const RETRY_FIRST_MS: i64 = 500;
const RETRY_MAX_MS: i64 = 122_000;
const PULL_RETRY_FIRST_S: i64 = 10;
const PULL_RETRY_MAX_S: i64 = 300;
const START_RETRY_S: i64 = 10;
const TERMINATION_PATH_DEFAULT: &str = "/dev/termination-log";

/// What one namespace's pods may look up.
pub(crate) fn lookups<'a, R, N>(inner: &'a Inner<R, N>, namespace: &'a str) -> Lookups<'a> {
    Lookups { namespace, caches: &inner.caches, capacity: inner.capacity }
}

fn later(by: SignedDuration) -> Timestamp {
    let now = Timestamp::now();
    now.saturating_add(by).unwrap_or(now)
}

fn growing(failures: u32, first: i64, max: i64) -> i64 {
    first.saturating_mul(1_i64 << failures.min(16)).min(max)
}

/// What the running pod is known by beyond its object.
pub(crate) fn facts<R, N>(inner: &Inner<R, N>, state: &State) -> PodFacts {
    PodFacts {
        pod_ip: state.sandbox.as_ref().map(|sandbox| sandbox.ip.to_string()).unwrap_or_default(),
        host_ip: inner.config.node_ip.to_string(),
        node_name: inner.config.node_name.clone(),
    }
}

async fn set_up_volumes<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
) -> Outcome<Result<volumes::Paths, (String, volumes::VolumeError)>> {
    let (pod, facts) = {
        let state = worker.state();
        (Arc::clone(&state.pod), facts(inner, &state))
    };
    let (inner, uid) = (Arc::clone(inner), worker.uid.clone());
    let task = tokio::task::spawn_blocking(move || {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        volumes::set_up(&pod, &inner.config.pod_dir(&uid), &facts, &lookups(&inner, &namespace))
    });
    Ok(task.await?)
}

/// Sets the pod's volumes up.
pub(crate) async fn mount_volumes<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
) -> Outcome<Step> {
    match set_up_volumes(inner, worker).await? {
        Ok(paths) => {
            let mut state = worker.state();
            state.paths = paths;
            state.volumes = Volumes::Mounted;
            Ok(Step::Again)
        }
        Err((volume, error)) => {
            let text = format!("MountVolume.SetUp failed for volume {volume:?} : {error}");
            let pod = worker.pod();
            inner.recorder.event(&reference_to(pod.as_ref()), EventType::Warning, "FailedMount", text.clone());
            worker.state().volumes = Volumes::Failed(Failure {
                reason: "FailedMount".to_owned(),
                message: text,
                retry_at: later(SignedDuration::from_millis(RETRY_FIRST_MS)),
            });
            // The plan knows when to try again.
            Ok(Step::Again)
        }
    }
}

/// Brings volumes up to date with what they are made from, and tries failed ones at once.
pub(crate) async fn refresh_volumes<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let mounted = {
        let mut state = worker.state();
        if let Volumes::Failed(_) = state.volumes {
            state.volumes = Volumes::Unmounted;
        }
        let waits = "CreateContainerConfigError";
        state.start_failures.retain(|_, failure| failure.reason != waits);
        state.volumes == Volumes::Mounted && !state.gone && !state.torn_down
    };
    if !mounted {
        return;
    }
    match set_up_volumes(inner, worker).await {
        Ok(Ok(_)) => {}
        Ok(Err((volume, error))) => tracing::warn!(pod = %worker.key, volume, %error, "cannot refresh a volume"),
        Err(error) => tracing::warn!(pod = %worker.key, %error, "cannot refresh volumes"),
    }
}

/// Makes the sandbox, connects it and writes the files every container gets.
pub(crate) async fn create_sandbox<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
) -> Outcome<Step> {
    let pod = worker.pod();
    match try_sandbox(inner, worker, &pod).await {
        Ok(ip) => {
            let mut state = worker.state();
            state.sandbox = Some(Sandbox { ip });
            state.sandbox_failure = None;
            state.sandbox_failures = 0;
            Ok(Step::Again)
        }
        Err(error) => {
            let text = format!("Failed to create pod sandbox: {error}");
            inner.recorder.event(
                &reference_to(pod.as_ref()),
                EventType::Warning,
                "FailedCreatePodSandBox",
                text.clone(),
            );
            let mut state = worker.state();
            let wait = growing(state.sandbox_failures, RETRY_FIRST_MS, RETRY_MAX_MS);
            state.sandbox_failures += 1;
            state.sandbox_failure = Some(Failure {
                reason: "FailedCreatePodSandBox".to_owned(),
                message: text,
                retry_at: later(SignedDuration::from_millis(wait)),
            });
            Ok(Step::Again)
        }
    }
}

async fn try_sandbox<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    pod: &Pod,
) -> Outcome<IpAddr> {
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let host_network = pod_spec.host_network.unwrap_or(false);
    let sysctls = pod_spec.security_context.iter().flat_map(|security| security.sysctls.iter().flatten());
    let spec = SandboxSpec {
        id: SandboxId(worker.uid.clone()),
        namespace: worker.key.namespace.clone(),
        name: worker.key.name.clone(),
        hostname: files::hostname(pod),
        host_network,
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        cgroup: crate::resources::pod_cgroup(&inner.config.cgroup_root, pod),
        resources: crate::resources::pod_resources(pod),
    };
    let sandbox = inner.runtime.create_sandbox(spec).await?;
    let ip = match &sandbox.netns {
        Some(netns) => IpAddr::V4(inner.network.attach(&PodKey(worker.uid.clone()), netns).await?.ip),
        None => IpAddr::V4(inner.config.node_ip),
    };
    write_files(inner, worker, pod, ip, host_network).await?;
    Ok(ip)
}

async fn write_files<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    pod: &Pod,
    ip: IpAddr,
    host_network: bool,
) -> Outcome<()> {
    let config = &inner.config;
    let dir = config.pod_dir(&worker.uid);
    let failed = |path: &Path| {
        let action = format!("write {}", path.display());
        |source| StepError::Io { action, source }
    };
    tokio::fs::create_dir_all(&dir).await.map_err(failed(&dir))?;
    let read = |path: &'static str| async move {
        tokio::fs::read_to_string(path).await.inspect_err(|error| tracing::debug!(path, %error, "not readable"))
    };
    let host_hosts = if host_network { read("/etc/hosts").await.ok() } else { None };
    let hosts = files::hosts(pod, &ip.to_string(), &config.cluster_domain, host_hosts.as_deref());
    let host_resolver = files::Resolver::parse(&read("/etc/resolv.conf").await.unwrap_or_default());
    let resolver = files::resolver(pod, &config.cluster_dns.to_string(), &config.cluster_domain, &host_resolver);
    for (name, text) in [("etc-hosts", hosts), ("resolv.conf", resolver.to_string())] {
        let path = dir.join(name);
        tokio::fs::write(&path, text).await.map_err(failed(&path))?;
        let mode = std::fs::Permissions::from_mode(0o644);
        tokio::fs::set_permissions(&path, mode).await.map_err(failed(&path))?;
    }
    Ok(())
}

/// A reference to one container of a pod, for events.
pub(crate) fn container_reference(pod: &Pod, container: &str) -> ObjectReference {
    let init = declared(pod).iter().any(|declared| declared.init && declared.spec.name == container);
    let list = if init { "initContainers" } else { "containers" };
    ObjectReference { field_path: Some(format!("spec.{list}{{{container}}}")), ..reference_to(pod) }
}

fn declaration<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    declared(pod).into_iter().map(|declared| declared.spec).find(|container| container.name == name)
}

/// Gets the image of a container's next start, beside the worker.
pub(crate) fn pull<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &str,
    image: &str,
) -> Outcome<Step> {
    worker.state().images.insert(container.to_owned(), ImageState::Pulling);
    let (inner, worker) = (Arc::clone(inner), Arc::clone(worker));
    tokio::spawn(pull_now(inner, worker, container.to_owned(), image.to_owned()));
    Ok(Step::Wait)
}

async fn pull_now<R: Runtime, N: Network>(
    inner: Arc<Inner<R, N>>,
    worker: Arc<Worker>,
    container: String,
    image: String,
) {
    let pod = worker.pod();
    let about = container_reference(&pod, &container);
    if declaration(&pod, &container).is_some_and(never_pulled) {
        let text = format!("Container image {image:?} is not present with pull policy of Never");
        inner.recorder.event(&about, EventType::Warning, "ErrImageNeverPull", text.clone());
        pull_failed(&worker, &container, "ErrImageNeverPull", text);
        return;
    }
    inner.recorder.event(&about, EventType::Normal, "Pulling", format!("Pulling image {image:?}"));
    let started = std::time::Instant::now();
    let credentials = credentials(&inner, &pod);
    match inner.images.pull(&image, &credentials, log_progress).await {
        Ok(pulled) => {
            let took = started.elapsed();
            let text = format!(
                "Successfully pulled image {image:?} in {took:.3?} ({took:.3?} including waiting). Image size: {} bytes.",
                pulled.size_bytes
            );
            inner.recorder.event(&about, EventType::Normal, "Pulled", text);
            worker.update(|state| {
                state.resolved.insert(container.clone(), pulled);
                state.pull_failures.remove(&container);
                state.images.insert(container.clone(), ImageState::Pulled);
            });
        }
        Err(error) => {
            let text = format!("Failed to pull image {image:?}: {error}");
            inner.recorder.event(&about, EventType::Warning, "Failed", text);
            let (reason, message) = pull_reason(&worker, &container, &image, &error);
            inner.recorder.event(&about, EventType::Warning, "Failed", format!("Error: {reason}"));
            if reason == "ImagePullBackOff" {
                inner.recorder.event(&about, EventType::Normal, "BackOff", format!("Back-off pulling image {image:?}"));
            }
            pull_failed(&worker, &container, reason, message);
        }
    }
}

fn never_pulled(container: &Container) -> bool {
    container.image_pull_policy.as_deref() == Some("Never")
}

/// Progress is told in the log; a pull's events are its start and its end.
fn log_progress(progress: Progress) {
    tracing::debug!(?progress, "pulling");
}

fn pull_reason(worker: &Worker, container: &str, image: &str, error: &PullError) -> (&'static str, String) {
    let again = worker.state().pull_failures.get(container).copied().unwrap_or(0) > 0;
    match error {
        PullError::Name(_) => ("InvalidImageName", error.to_string()),
        _ if again => ("ImagePullBackOff", format!("Back-off pulling image {image:?}: ErrImagePull: {error}")),
        _ => ("ErrImagePull", error.to_string()),
    }
}

fn pull_failed(worker: &Worker, container: &str, reason: &str, message: String) {
    worker.update(|state| {
        let failures = state.pull_failures.entry(container.to_owned()).or_insert(0);
        let wait = growing(*failures, PULL_RETRY_FIRST_S, PULL_RETRY_MAX_S);
        *failures += 1;
        let failure = Failure { reason: reason.to_owned(), message, retry_at: later(SignedDuration::from_secs(wait)) };
        state.images.insert(container.to_owned(), ImageState::Failed(failure));
    });
}

/// Credentials of the pod's pull secrets; a missing secret is told and passed over.
fn credentials<R, N>(inner: &Inner<R, N>, pod: &Pod) -> Vec<Credential> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for reference in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        let Some(secret) = inner.caches.secrets.get(namespace, &reference.name) else {
            missing.push(reference.name.clone());
            continue;
        };
        let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
        let parsed = match (data(".dockerconfigjson"), data(".dockercfg")) {
            (Some(bytes), _) => Credential::from_docker_config_json(&bytes),
            (None, Some(bytes)) => Credential::from_dockercfg(&bytes),
            (None, None) => Ok(Vec::new()),
        };
        match parsed {
            Ok(credentials) => found.extend(credentials),
            Err(error) => tracing::warn!(secret = reference.name, %error, "pull secret is not readable"),
        }
    }
    if !missing.is_empty() {
        let text = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        inner.recorder.event(&reference_to(pod), EventType::Warning, "FailedToRetrieveImagePullSecret", text);
    }
    found
}

/// Why a container did not start; the variants are the waiting reasons.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("cannot prepare {path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("image is no longer present")]
    ImageGone,
}

impl StartError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Env(_) | Self::Volume(_) | Self::Spec(SpecError::Root(_) | SpecError::Seccomp(_)) => {
                "CreateContainerConfigError"
            }
            Self::Spec(SpecError::NoCommand | SpecError::User(_)) | Self::Io { .. } | Self::ImageGone => {
                "CreateContainerError"
            }
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
    let Some(container) = declaration(&pod, name) else { return Ok(Step::Wait) };
    let about = container_reference(&pod, name);
    match try_start(inner, worker, &pod, container, attempt).await {
        Ok(()) => {
            inner.recorder.event(&about, EventType::Normal, "Created", "Container created");
            inner.recorder.event(&about, EventType::Normal, "Started", "Container started");
            Ok(Step::Again)
        }
        Err(StartError::Runtime(_)) if is_there(inner, worker, name, attempt).await? => Ok(Step::Again),
        Err(error) => {
            let reason = error.reason();
            inner.recorder.event(&about, EventType::Warning, "Failed", format!("Error: {error}"));
            let failure = Failure {
                reason: reason.to_owned(),
                message: error.to_string(),
                retry_at: later(SignedDuration::from_secs(START_RETRY_S)),
            };
            let mut state = worker.state();
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
    pod: &Pod,
    container: &Container,
    attempt: u32,
) -> Result<(), StartError> {
    let image = image_of(inner, worker, pod, container)?;
    let (facts, paths) = {
        let state = worker.state();
        (facts(inner, &state), state.paths.clone())
    };
    let namespace = worker.key.namespace.as_str();
    let env = env::environment(pod, container, &facts, &lookups(inner, namespace))?;
    let pod_dir = inner.config.pod_dir(&worker.uid);
    let mut mounts = volume_mounts(container, &paths, &env)?;
    let termination_log = managed_files(pod, container, attempt, &pod_dir, &mut mounts)?;
    let log_dir = inner.config.log_dir(namespace, &worker.key.name, &worker.uid);
    let spec = spec::container_spec(spec::Parts {
        pod,
        container,
        attempt,
        image: &image,
        env,
        hostname: &files::hostname(pod),
        mounts,
        log_path: crate::config::AgentConfig::log_file(&log_dir, &container.name, attempt),
        node_memory_bytes: inner.capacity.memory_bytes,
        annotations: BTreeMap::from([(TERMINATION_LOG.to_owned(), termination_log.display().to_string())]),
    })?;
    let info = inner.runtime.start_container(spec).await?;
    let mut state = worker.state();
    if let Some(before) =
        state.containers.values().filter(|known| known.spec.name == container.name).max_by_key(|k| k.spec.attempt)
        && let stead_runtime::ContainerState::Exited { finished_at, .. } = before.state
    {
        let started_at = before.started_at;
        let backoff = state.backoffs.get(&container.name).copied().unwrap_or_default();
        state.backoffs.insert(container.name.clone(), backoff.restarted(started_at, finished_at));
    }
    state.start_failures.remove(&container.name);
    state.put_container(info);
    Ok(())
}

/// The image to start from: the one just pulled, or the one present, which is told.
fn image_of<R, N>(
    inner: &Inner<R, N>,
    worker: &Worker,
    pod: &Pod,
    container: &Container,
) -> Result<Arc<Image>, StartError> {
    let name = container.image.as_deref().unwrap_or_default();
    let just_pulled = {
        let mut state = worker.state();
        let pulled = state.images.get(&container.name) == Some(&ImageState::Pulled);
        let image = state.resolved.remove(&container.name);
        image.filter(|_| pulled)
    };
    if let Some(image) = just_pulled {
        return Ok(image);
    }
    let image = inner.images.get(name).ok_or(StartError::ImageGone)?;
    let text = format!("Container image {name:?} already present on machine and can be accessed by the pod");
    inner.recorder.event(&container_reference(pod, &container.name), EventType::Normal, "Pulled", text);
    Ok(image)
}

fn volume_mounts(
    container: &Container,
    paths: &volumes::Paths,
    env: &[(String, String)],
) -> Result<Vec<BindMount>, StartError> {
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = paths.get(&mount.name) else { continue };
        let sub_path = match mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => env::expand(text, lookup),
            None => mount.sub_path.clone().unwrap_or_default(),
        };
        mounts.push(BindMount {
            source: volumes::mount_source(volume, mount, &sub_path)?,
            destination: PathBuf::from(&mount.mount_path),
            readonly: mount.read_only.unwrap_or(false),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(mounts)
}

/// Adds `/etc/hosts`, `/etc/resolv.conf` and the termination log, unless the container mounts its
/// own; gives the path of the termination log on the node.
fn managed_files(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    pod_dir: &Path,
    mounts: &mut Vec<BindMount>,
) -> Result<PathBuf, StartError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        |source| StartError::Io { path, source }
    };
    let dir = pod_dir.join("containers").join(&container.name);
    std::fs::create_dir_all(&dir).map_err(failed(&dir))?;
    let log = dir.join(format!("{attempt}.termination"));
    std::fs::write(&log, []).map_err(failed(&log))?;
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o666)).map_err(failed(&log))?;
    let log_path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let mut managed = vec![
        (pod_dir.join("resolv.conf"), PathBuf::from("/etc/resolv.conf")),
        (log.clone(), PathBuf::from(log_path.unwrap_or(TERMINATION_PATH_DEFAULT))),
    ];
    if !host_network || pod_dir.join("etc-hosts").exists() {
        managed.push((pod_dir.join("etc-hosts"), PathBuf::from("/etc/hosts")));
    }
    for (source, destination) in managed {
        if !mounts.iter().any(|mount| mount.destination == destination) {
            mounts.push(BindMount { source, destination, readonly: false, propagation: Propagation::Private });
        }
    }
    Ok(log)
}
