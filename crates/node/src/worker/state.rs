//! What a worker knows of its pod.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use stead_image::{Image, ImageStore};
use stead_plan::pod::{
    CONTAINER_ID_SCHEME, Failure, Hook, ImageState, Instance, InstanceState, News, Observed, Preparing, Probed,
    Sandbox, Volumes, declared,
};
use stead_plan::probes::ProbeKind;
use stead_plan::restarts::Backoff;
use stead_runtime::{ContainerId, ContainerInfo, ContainerState, Inventory};
use tokio_util::task::AbortOnDropHandle;

use crate::references::Named;
use crate::volumes::Paths;

/// Exit code of a container whose end nobody saw (contract `pods.md` 2.6).
const UNKNOWN_EXIT: i32 = 137;

/// A stop under way.
pub(crate) struct Stop {
    /// When it kills.
    pub(crate) deadline: Timestamp,
    /// The task; dropped to hurry.
    pub(crate) _task: AbortOnDropHandle<()>,
}

/// A postStart hook.
pub(crate) struct HookRun {
    /// How far it has come.
    pub(crate) hook: Hook,
    /// The task that runs it; none once it is through.
    pub(crate) _task: Option<AbortOnDropHandle<()>>,
}

impl HookRun {
    /// A hook that is through.
    pub(crate) fn over(hook: Hook) -> Self {
        Self { hook, _task: None }
    }
}

/// Making ready for the pod's replacement.
pub(crate) struct PreparingRun {
    /// How far it has come.
    pub(crate) preparing: Preparing,
    /// Tries in a row that failed.
    pub(crate) failures: u32,
    /// The task that is at it; dropped to give it up.
    pub(crate) _task: Option<AbortOnDropHandle<()>>,
}

/// Everything a worker knows.
pub(crate) struct State {
    pub(crate) pod: Arc<Pod>,
    pub(crate) gone: bool,
    /// The ConfigMaps and Secrets it names.
    pub(crate) named: Named,
    pub(crate) volumes: Volumes,
    pub(crate) volume_failures: u32,
    pub(crate) paths: Paths,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) sandbox_failures: u32,
    pub(crate) sandbox_failure: Option<Failure>,
    pub(crate) containers: BTreeMap<String, ContainerInfo>,
    /// Termination messages by incarnation id.
    pub(crate) messages: BTreeMap<String, String>,
    pub(crate) images: BTreeMap<String, ImageState>,
    pub(crate) resolved: BTreeMap<String, Arc<Image>>,
    pub(crate) pull_failures: BTreeMap<String, u32>,
    /// Pulls under way, by container name; dropped to give them up.
    pub(crate) pulls: BTreeMap<String, AbortOnDropHandle<()>>,
    pub(crate) start_failures: BTreeMap<String, Failure>,
    /// Starts in a row that failed, by container name.
    pub(crate) starts_failed: BTreeMap<String, u32>,
    /// By incarnation id.
    pub(crate) hooks: BTreeMap<String, HookRun>,
    /// What is done about the pod's replacement.
    pub(crate) preparing: Option<PreparingRun>,
    pub(crate) probes: BTreeMap<String, Probed>,
    pub(crate) probers: BTreeMap<String, Vec<(ProbeKind, AbortOnDropHandle<()>)>>,
    pub(crate) backoffs: BTreeMap<String, Backoff>,
    pub(crate) stops: BTreeMap<String, Stop>,
    /// News that has been told.
    pub(crate) told: Vec<News>,
    /// The status written last, and what the API server made of it.
    pub(crate) reported: Option<(PodStatus, Option<PodStatus>)>,
    pub(crate) torn_down: bool,
    pub(crate) first_seen: Timestamp,
    pub(crate) agent_started: Timestamp,
}

impl State {
    /// The state of a pod seen for the first time by this agent; containers of an earlier run are
    /// taken over as they are.
    pub(crate) fn new(pod: &Arc<Pod>, pod_dir: &Path, inventory: &Inventory, agent_started: Timestamp) -> Self {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let sandbox = inventory.sandboxes.iter().find(|sandbox| sandbox.spec.id.0 == uid);
        let containers: BTreeMap<String, ContainerInfo> = inventory
            .containers
            .iter()
            .filter(|container| container.spec.sandbox.0 == uid)
            .map(|container| (container.spec.id.0.clone(), container.clone()))
            .collect();
        let reported_ip: Option<IpAddr> =
            pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
        let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let ended = matches!(ended, Some("Succeeded" | "Failed"));
        // While there is a record, an earlier agent may have been killed before it gave the claims back.
        let torn_down = ended && sandbox.is_none() && containers.is_empty() && !pod_dir.exists();
        Self {
            pod: Arc::clone(pod),
            gone: false,
            named: Named::default(),
            volumes: Volumes::Unmounted,
            volume_failures: 0,
            paths: Paths::new(),
            // Without its address the sandbox is connected again, which gives the same address.
            sandbox: sandbox.and(reported_ip).map(|ip| Sandbox { ip }),
            sandbox_failures: 0,
            sandbox_failure: None,
            containers,
            messages: BTreeMap::new(),
            images: BTreeMap::new(),
            resolved: BTreeMap::new(),
            pull_failures: BTreeMap::new(),
            pulls: BTreeMap::new(),
            start_failures: BTreeMap::new(),
            starts_failed: BTreeMap::new(),
            hooks: hooks_through(pod),
            preparing: None,
            probes: BTreeMap::new(),
            probers: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            stops: BTreeMap::new(),
            told: Vec::new(),
            reported: None,
            torn_down,
            first_seen: Timestamp::now(),
            agent_started,
        }
    }

    /// Takes in a newer state of the pod object.
    pub(crate) fn see(&mut self, pod: Arc<Pod>) {
        let revision = |pod: &Pod| pod.metadata.resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
        if revision(&pod) >= revision(&self.pod) {
            self.pod = pod;
        }
    }

    /// Whether writing `status` would change nothing, because it gave what is shown now.
    pub(crate) fn has_reported(&self, status: &PodStatus) -> bool {
        self.reported.as_ref().is_some_and(|(asked, shown)| asked == status && *shown == self.pod.status)
    }

    /// Takes in how a container stands. An end is never taken back, and told again it is no news: what is done
    /// about it may be under way.
    pub(crate) fn put_container(&mut self, container: ContainerInfo) {
        let id = container.spec.id.0.clone();
        let ended = |known: &ContainerInfo| matches!(known.state, ContainerState::Exited { .. });
        if self.containers.get(&id).is_some_and(ended) {
            return;
        }
        if ended(&container) {
            self.probers.remove(&id);
            self.stops.remove(&id);
            self.hooks.remove(&id);
            let message = super::observe::termination_message(&self.pod, &container);
            self.messages.insert(id.clone(), message);
            self.images.remove(&container.spec.name);
        }
        self.containers.insert(id, container);
    }

    /// Whether the pod was deleted, or forced out of the API.
    pub(crate) fn is_ending(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Takes a container for ended that the runtime no longer knows.
    pub(crate) fn lose(&mut self, id: &ContainerId) {
        if let Some(known) = self.containers.get(&id.0).cloned() {
            let finished_at = Timestamp::now().max(known.started_at);
            let state = ContainerState::Exited { code: UNKNOWN_EXIT, oom_killed: false, finished_at };
            self.put_container(ContainerInfo { state, ..known });
        }
    }

    /// Ends everything that goes on beside the worker, and the watches only this pod needed. What was not
    /// through has not begun, should the worker go on.
    pub(crate) fn end_tasks(&mut self) {
        self.probers.clear();
        self.stops.clear();
        self.pulls.clear();
        self.images.retain(|_, image| !matches!(image, ImageState::Pulling { .. }));
        self.hooks.retain(|_, run| run.hook != Hook::Running);
        self.named = Named::default();
        self.preparing = None;
    }

    /// Whether an incarnation of the container runs.
    pub(crate) fn runs(&self, container: &str) -> bool {
        let running = |known: &ContainerInfo| matches!(known.state, ContainerState::Running { .. });
        self.containers.values().any(|known| known.spec.name == container && running(known))
    }

    /// What the planner is shown.
    pub(crate) fn observe(&self, host_ip: Ipv4Addr, images: &ImageStore) -> Observed {
        let mut known = self.images.clone();
        // Looked for on disk, so only where it matters.
        for container in declared(&self.pod).iter().filter(|container| !self.runs(&container.spec.name)) {
            let image = container.spec.image.as_deref().unwrap_or_default();
            if !known.contains_key(&container.spec.name) && images.get(image).is_some() {
                known.insert(container.spec.name.clone(), ImageState::Present);
            }
        }
        Observed {
            volumes: self.volumes.clone(),
            sandbox: self.sandbox.clone(),
            sandbox_failure: self.sandbox_failure.clone(),
            instances: self.containers.values().map(|container| self.instance(container)).collect(),
            images: known,
            start_failures: self.start_failures.clone(),
            probes: self.probes.clone(),
            hooks: self.hooks.iter().map(|(id, run)| (id.clone(), run.hook)).collect(),
            backoffs: self.backoffs.clone(),
            preparing: self.preparing.as_ref().map(|run| run.preparing.clone()),
            gone: self.gone,
            torn_down: self.torn_down,
            host_ip: Some(host_ip.into()),
            first_seen: Some(self.first_seen),
        }
    }

    fn instance(&self, container: &ContainerInfo) -> Instance {
        let id = container.spec.id.0.clone();
        let state = match container.state {
            ContainerState::Running { .. } => InstanceState::Running,
            ContainerState::Exited { code, oom_killed, finished_at } => {
                let message = self.messages.get(&id).cloned();
                let message = message.unwrap_or_else(|| super::observe::termination_message(&self.pod, container));
                InstanceState::Exited { code, oom_killed, finished_at, message }
            }
        };
        Instance {
            id,
            name: container.spec.name.clone(),
            attempt: container.spec.attempt,
            image: container.spec.image.clone(),
            image_id: container.spec.image_id.clone(),
            started_at: container.started_at,
            state,
        }
    }
}

/// The hooks of containers that the API server shows as running: they were through before this agent came.
/// Any other is run again, because it may have been cut short: hooks run at least once.
fn hooks_through(pod: &Pod) -> BTreeMap<String, HookRun> {
    let shown = declared(pod).into_iter().filter_map(|container| container.reported);
    let running = shown.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    let ids = running.filter_map(|status| status.container_id.as_deref()?.strip_prefix(CONTAINER_ID_SCHEME));
    ids.map(|id| (id.to_owned(), HookRun::over(Hook::Done))).collect()
}

#[cfg(test)]
mod tests;
