//! What a worker knows of its pod.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use stead_image::{Image, ImageStore};
use stead_plan::pod::{Failure, ImageState, Instance, InstanceState, Observed, Probed, Sandbox, Volumes, declared};
use stead_plan::restarts::Backoff;
use stead_runtime::{ContainerInfo, ContainerState, Inventory};
use tokio_util::task::AbortOnDropHandle;

use crate::volumes::Paths;

/// A stop under way.
pub(crate) struct Stop {
    /// When it kills.
    pub(crate) deadline: Timestamp,
    /// The task; dropped to hurry.
    pub(crate) _task: AbortOnDropHandle<()>,
}

/// Everything a worker knows.
pub(crate) struct State {
    pub(crate) pod: Arc<Pod>,
    pub(crate) gone: bool,
    pub(crate) volumes: Volumes,
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
    pub(crate) start_failures: BTreeMap<String, Failure>,
    pub(crate) probes: BTreeMap<String, Probed>,
    pub(crate) probers: BTreeMap<String, Vec<AbortOnDropHandle<()>>>,
    pub(crate) backoffs: BTreeMap<String, Backoff>,
    pub(crate) stops: BTreeMap<String, Stop>,
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
            volumes: Volumes::Unmounted,
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
            start_failures: BTreeMap::new(),
            probes: BTreeMap::new(),
            probers: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            stops: BTreeMap::new(),
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

    /// Takes in how a container stands; an end is never taken back.
    pub(crate) fn put_container(&mut self, container: ContainerInfo) {
        let id = container.spec.id.0.clone();
        if matches!(container.state, ContainerState::Exited { .. }) {
            self.probers.remove(&id);
            self.stops.remove(&id);
            let message = super::observe::termination_message(&self.pod, &container);
            self.messages.insert(id.clone(), message);
            self.images.remove(&container.spec.name);
        } else if self.containers.get(&id).is_some_and(|known| known.state != container.state) {
            return;
        }
        self.containers.insert(id, container);
    }

    /// What the planner is shown.
    pub(crate) fn observe(&self, host_ip: Ipv4Addr, images: &ImageStore) -> Observed {
        let mut known = self.images.clone();
        for container in declared(&self.pod) {
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
            backoffs: self.backoffs.clone(),
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
