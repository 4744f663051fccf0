//! The pods of all simulated nodes: one watch for all of them, one report that a pod runs and is Ready, one
//! deletion when it has to go.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::de::IgnoredAny;
use stead_client::kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use stead_client::kube::core::Request;
use stead_client::kube::{self, Api, Client};
use stead_client::{Cache, Change, ListScope, ObjectKey, WorkQueue};
use stead_plan::pod::{is_up, status_when_up};
use stead_plan::pods::is_terminating;
use tokio_util::sync::CancellationToken;

use super::Addresses;
use super::fleet::Placed;

/// Pods that are on a node, whichever; the API server leaves out those that wait for one.
const BOUND: &str = "spec.nodeName!=";
/// Pods reported or deleted at the same time.
const WORKERS: usize = 32;

/// Why a pod has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum PodError {
    #[error("cannot write the status of {pod}")]
    Report { pod: ObjectKey, source: kube::Error },
    #[error("cannot delete {pod}")]
    Delete { pod: ObjectKey, source: kube::Error },
    #[error("no address is left for {pod}")]
    NoAddress { pod: ObjectKey },
}

/// What stands in for the agents of all nodes.
pub(super) struct Agent {
    pods: Cache<Pod>,
    queue: WorkQueue<ObjectKey>,
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    pods: Cache<Pod>,
    nodes: HashMap<String, IpAddr>,
    addresses: Mutex<Addresses>,
    running: AtomicUsize,
}

/// How many pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pods: usize,
    running: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pods run, {} are about to start or to end", self.running, self.pods.saturating_sub(self.running))
    }
}

impl Agent {
    /// Starts to watch; nothing is written before [`Agent::work`].
    pub(super) fn start(client: Client, placed: &[Placed], addresses: Addresses) -> Self {
        let scope = ListScope { labels: None, fields: Some(BOUND.to_owned()) };
        let pods = Cache::start(Api::<Pod>::all(client.clone()), scope);
        let nodes = placed.iter().map(|node| (node.name.clone(), IpAddr::V4(node.ip))).collect();
        let inner = Arc::new(Inner {
            client,
            pods: pods.clone(),
            nodes,
            addresses: Mutex::new(addresses),
            running: AtomicUsize::new(0),
        });
        let queue = WorkQueue::new();
        pods.on_change({
            let (inner, queue) = (Arc::clone(&inner), queue.clone());
            move |change| inner.see(&change, &queue)
        });
        Self { pods, queue, inner }
    }

    /// Waits until everything that existed at the start has been seen.
    pub(super) async fn synced(&self) {
        self.pods.synced().await;
    }

    /// Reports and deletes for ever. What fails is tried again.
    pub(super) async fn work(&self) {
        let inner = Arc::clone(&self.inner);
        let handler = move |key: ObjectKey| {
            let inner = Arc::clone(&inner);
            async move { inner.process(&key).await }
        };
        self.queue.run(WORKERS, CancellationToken::new(), handler).await;
    }

    /// How many pods there are now.
    pub(super) fn counts(&self) -> Counts {
        let held = self.inner.addresses().held();
        Counts { pods: held, running: self.inner.running.load(Ordering::Relaxed) }
    }
}

impl Inner {
    /// Whether the pod is on one of our nodes: the address of that node.
    fn host(&self, pod: &Pod) -> Option<IpAddr> {
        self.nodes.get(pod.spec.as_ref()?.node_name.as_deref()?).copied()
    }

    fn see(&self, change: &Change<Pod>, queue: &WorkQueue<ObjectKey>) {
        let pod = change.object();
        if self.host(pod).is_none() {
            return;
        }
        let runs = |pod: &Arc<Pod>| is_up(pod) && !is_terminating(pod);
        let (before, after) = match change {
            Change::Applied { old, new } => (old.as_ref().is_some_and(runs), runs(new)),
            Change::Deleted { old } => (runs(old), false),
        };
        match (before, after) {
            (false, true) => drop(self.running.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.running.fetch_sub(1, Ordering::Relaxed)),
            (false, false) | (true, true) => {}
        }
        match change {
            Change::Applied { new, .. } if !runs(new) => queue.add(ObjectKey::of(new.as_ref())),
            Change::Applied { .. } => {}
            Change::Deleted { old } => self.addresses().give_back(old.metadata.uid.as_deref().unwrap_or_default()),
        }
    }

    async fn process(&self, key: &ObjectKey) -> Result<(), PodError> {
        let Some(pod) = self.pods.get_key(key) else { return Ok(()) };
        let Some(host) = self.host(&pod) else { return Ok(()) };
        if is_terminating(&pod) {
            return self.delete(key, &pod).await;
        }
        if is_up(&pod) {
            return Ok(());
        }
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let ip = self.addresses().of(uid).ok_or_else(|| PodError::NoAddress { pod: key.clone() })?;
        let status = status_when_up(&pod, ip.into(), host, Timestamp::now());
        let patch = Patch::Strategic(serde_json::json!({"metadata": {"uid": uid}, "status": status}));
        let request = Request::new(self.api(key).resource_url());
        let request = request.patch_subresource("status", &key.name, &PatchParams::default(), &patch);
        let report = |source| PodError::Report { pod: key.clone(), source };
        let request = request.map_err(|error| report(kube::Error::BuildRequest(error)))?;
        // What the answer shows comes with the watch.
        match self.client.request::<IgnoredAny>(request).await {
            Ok(IgnoredAny) => Ok(()),
            // Gone, or another one by now; the watch tells.
            Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => Ok(()),
            Err(source) => Err(report(source)),
        }
    }

    async fn delete(&self, key: &ObjectKey, pod: &Pod) -> Result<(), PodError> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api(key).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
            Err(source) => Err(PodError::Delete { pod: key.clone(), source }),
        }
    }

    fn api(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
