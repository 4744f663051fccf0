//! The agent as a whole: one worker per pod UID, woken by what concerns it, and the inventory of
//! containers that outlives the agent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use kube::Client;
use stead_client::{Cache, Change, ObjectKey, Recorder};
use stead_image::ImageStore;
use stead_net::Network;
use stead_runtime::{ContainerInfo, Inventory, Runtime, RuntimeError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::collecting;
use crate::config::AgentConfig;
use crate::node_object::{self, Capacity};
use crate::references::References;
use crate::worker::{self, Worker};

/// What the agent observes. Clones share the watches.
#[derive(Clone)]
pub struct NodeCaches {
    /// Pods; those of other nodes are passed over.
    pub pods: Cache<Pod>,
    /// Claims.
    pub claims: Cache<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Cache<PersistentVolume>,
    /// Services, for environment variables.
    pub services: Cache<Service>,
    /// Nodes; the agent looks at its own.
    pub nodes: Cache<Node>,
}

impl NodeCaches {
    async fn synced(&self) {
        self.pods.synced().await;
        self.claims.synced().await;
        self.volumes.synced().await;
        self.services.synced().await;
        self.nodes.synced().await;
    }
}

/// What an agent is made of.
pub struct AgentParts<R, N> {
    /// Settings.
    pub config: AgentConfig,
    /// The API.
    pub client: Client,
    /// What it observes.
    pub caches: NodeCaches,
    /// Containers.
    pub runtime: R,
    /// The pod network.
    pub network: N,
    /// Images.
    pub images: Arc<ImageStore>,
}

pub(crate) struct Inner<R, N> {
    pub(crate) config: AgentConfig,
    pub(crate) client: Client,
    pub(crate) caches: NodeCaches,
    pub(crate) runtime: R,
    pub(crate) network: N,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) references: References,
    pub(crate) recorder: Recorder,
    pub(crate) capacity: Capacity,
    pub(crate) started_at: Timestamp,
    pub(crate) shutdown: CancellationToken,
    /// Told when nothing of a pod is left.
    pub(crate) pod_finished: Notify,
    /// Which part of the agent has ended by itself.
    failure: watch::Sender<Option<&'static str>>,
    workers: Mutex<HashMap<String, Arc<Worker>>>,
}

/// The node agent. Clones are the same agent.
pub struct Agent<R, N> {
    inner: Arc<Inner<R, N>>,
}

impl<R, N> Clone for Agent<R, N> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

/// Why an agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The supervisor does not answer.
    #[error("cannot take over running containers")]
    Runtime(#[from] RuntimeError),
    /// The pods of an earlier run could not be looked for.
    #[error("cannot read {path}")]
    Records {
        /// Directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl<R: Runtime, N: Network> Agent<R, N> {
    /// Registers the node, takes back every container that still runs, and starts to follow the API.
    /// Returns once every pod bound to the node has a worker. The agent works until `shutdown`;
    /// containers stay as they are then.
    pub async fn start(parts: AgentParts<R, N>, shutdown: CancellationToken) -> Result<Self, StartError> {
        let recorder = Recorder::new(parts.client.clone(), "kubelet", &parts.config.node_name);
        let capacity = Capacity::measure(&parts.config);
        let inner = Arc::new(Inner {
            references: References::new(&parts.client),
            config: parts.config,
            client: parts.client,
            caches: parts.caches,
            runtime: parts.runtime,
            network: parts.network,
            images: parts.images,
            recorder,
            capacity,
            started_at: Timestamp::now(),
            shutdown,
            pod_finished: Notify::new(),
            failure: watch::Sender::new(None),
            workers: Mutex::default(),
        });
        let exits = inner.runtime.exits();
        let inventory = inner.runtime.list().await?;
        inner.run("keeping the node registered", node_object::keep_registered(Arc::clone(&inner)));
        inner.caches.synced().await;
        let known = worker::known_pods(&inner.config, &inventory);
        let known = known.map_err(|(path, source)| StartError::Records { path, source })?;
        let agent = Self { inner };
        agent.follow_caches(inventory, known);
        // Only now does every container of the inventory have a worker that takes its exit.
        agent.inner.run("following the ends of containers", follow_exits(Arc::clone(&agent.inner), exits));
        agent.inner.run("collecting what is left over", collecting::keep_collected(Arc::clone(&agent.inner)));
        Ok(agent)
    }

    /// Returns, with its name, once a part that the agent cannot do without has ended by itself.
    pub async fn failed(&self) -> &'static str {
        let mut failure = self.inner.failure.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        match failure.wait_for(Option::is_some).await.ok().and_then(|part| *part) {
            Some(part) => part,
            None => std::future::pending().await,
        }
    }

    /// The settings it was started with.
    pub fn config(&self) -> &AgentConfig {
        &self.inner.config
    }

    pub(crate) fn inner(&self) -> &Arc<Inner<R, N>> {
        &self.inner
    }

    /// Follows what concerns pods; `known` are those that something of may be left from an earlier run.
    fn follow_caches(&self, inventory: Inventory, known: BTreeMap<String, Pod>) {
        let inner = Arc::clone(&self.inner);
        // What the runtime had at the start is for the pods there were at the start: those are told of first.
        let found = Arc::new(Mutex::new(Some(inventory)));
        let at_start = Arc::clone(&found);
        self.inner.caches.pods.on_change_after(
            |current| self.inner.take_back(known, current, lock(&found).as_ref()),
            move |change| match change {
                Change::Applied { new, .. } => inner.pod_changed(&new, lock(&at_start).as_ref()),
                Change::Deleted { old } => inner.pod_gone(&old),
            },
        );
        lock(&found).take();
        let inner = Arc::clone(&self.inner);
        self.inner.caches.claims.on_change(move |change| {
            inner.wake_where(|pod| worker::uses_claim(pod, &ObjectKey::of(change.object().as_ref())));
        });
    }
}

impl<R: Runtime, N: Network> Inner<R, N> {
    /// Runs a part of the agent until shutdown; that it ended before, or panicked, is told.
    fn run(self: &Arc<Self>, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let ended = AssertUnwindSafe(part).catch_unwind().await;
            if ended.is_err() || !inner.shutdown.is_cancelled() {
                inner.failure.send_replace(Some(name));
            }
        });
    }

    /// Gives a worker to everything of an earlier run whose pod is not among the current ones: the API server
    /// no longer has it.
    fn take_back(self: &Arc<Self>, known: BTreeMap<String, Pod>, current: &[Arc<Pod>], inventory: Option<&Inventory>) {
        let current: HashSet<&String> = current.iter().filter_map(|pod| pod.metadata.uid.as_ref()).collect();
        for (_, pod) in known.into_iter().filter(|(uid, _)| !current.contains(uid)) {
            let pod = Arc::new(pod);
            self.worker(&pod, inventory).gone(&pod);
        }
    }

    fn pod_changed(self: &Arc<Self>, pod: &Arc<Pod>, inventory: Option<&Inventory>) {
        let bound_to = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if bound_to == Some(self.config.node_name.as_str()) {
            self.worker(pod, inventory).changed(pod);
        }
    }

    fn pod_gone(&self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if let Some(worker) = self.lock().get(uid) {
            worker.gone(pod);
        }
    }

    /// The worker of a pod, started if need be. One pod name has one worker at work: a new one waits
    /// until the earlier UID's processes are gone.
    fn worker(self: &Arc<Self>, pod: &Arc<Pod>, inventory: Option<&Inventory>) -> Arc<Worker> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut workers = self.lock();
        if let Some(worker) = workers.get(&uid) {
            return Arc::clone(worker);
        }
        let key = ObjectKey::of(pod.as_ref());
        let earlier: Vec<Arc<Worker>> = workers.values().filter(|other| other.key == key).cloned().collect();
        let nothing = Inventory::default();
        let worker = Worker::new(pod, &self.config, inventory.unwrap_or(&nothing), self.started_at);
        let worker = Arc::new(worker);
        workers.insert(uid, Arc::clone(&worker));
        drop(workers);
        let (inner, task) = (Arc::clone(self), Arc::clone(&worker));
        tokio::spawn(async move {
            for other in earlier {
                tokio::select! {
                    () = inner.shutdown.cancelled() => return,
                    () = other.finished() => {}
                }
            }
            worker::run(&inner, &task).await;
            inner.lock().remove(&task.uid);
        });
        worker
    }

    fn wake_where(&self, concerned: impl Fn(&Pod) -> bool) {
        for worker in self.lock().values() {
            if concerned(&worker.pod()) {
                worker.refresh();
            }
        }
    }

    /// The worker of a pod, if there is one.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<Worker>> {
        let key = ObjectKey::new(namespace, name);
        let current = self.caches.pods.get_key(&key).and_then(|pod| pod.metadata.uid.clone());
        let workers = self.lock();
        match current {
            Some(uid) => workers.get(&uid).cloned(),
            None => workers.values().find(|worker| worker.key == key).cloned(),
        }
    }

    fn exited(&self, container: ContainerInfo) {
        if let Some(worker) = self.lock().get(&container.spec.sandbox.0) {
            worker.container_changed(container);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Worker>>> {
        lock(&self.workers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow_exits<R: Runtime, N: Network>(
    inner: Arc<Inner<R, N>>,
    mut exits: tokio::sync::broadcast::Receiver<ContainerInfo>,
) {
    loop {
        let exit = tokio::select! {
            () = inner.shutdown.cancelled() => return,
            exit = exits.recv() => exit,
        };
        match exit {
            Ok(container) => inner.exited(container),
            Err(RecvError::Lagged(_)) => match inner.runtime.list().await {
                Ok(inventory) => inventory.containers.into_iter().for_each(|container| inner.exited(container)),
                Err(error) => tracing::error!(%error, "cannot list containers after missing exits"),
            },
            Err(RecvError::Closed) => return,
        }
    }
}
