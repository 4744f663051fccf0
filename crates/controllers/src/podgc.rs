//! Pods that no node will ever finish: of nodes that are gone, never scheduled, or finished and too many
//! (contract 7D). Who goes is decided in `plan::nodes`; that a node is gone is confirmed by a live read
//! after the quarantine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use stead_client::{Change, ObjectKey, WorkQueue};
use stead_plan::nodes::{self, NodeFact};
use stead_plan::pods;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::locks::lock;
use crate::outcome::{deleted, exactly, is_not_found};

const QUARANTINE: Duration = Duration::from_secs(nodes::QUARANTINE_S);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Pod(ObjectKey),
    /// The number of finished pods.
    Finished,
}

/// Why a pod has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum PodGcError {
    #[error("cannot read node {node}")]
    Node { node: String, source: kube::Error },
    #[error("cannot write the status of {pod}")]
    Status { pod: ObjectKey, source: kube::Error },
    #[error("cannot delete {pod}")]
    Delete { pod: ObjectKey, source: kube::Error },
}

/// Runs until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    observe(&ctx, &queue);
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = ctx.caches.synced() => {}
    }
    let collector = Arc::new(Collector { ctx, queue: queue.clone(), missing: Mutex::default() });
    let handler = move |key: Key| {
        let collector = Arc::clone(&collector);
        async move {
            match key {
                Key::Pod(key) => collector.process(&key).await,
                Key::Finished => collector.thin_out().await,
            }
        }
    };
    queue.run(1, shutdown, handler).await;
}

fn observe(ctx: &Context, queue: &WorkQueue<Key>) {
    let (on_pod, all_nodes) = (queue.clone(), ctx.caches.nodes.clone());
    ctx.caches.pods.on_change(move |change| {
        let Change::Applied { new, .. } = change else { return };
        let lost = match node_name(&new) {
            None => pods::is_terminating(&new),
            Some(node) => pods::is_terminating(&new) || all_nodes.get("", node).is_none(),
        };
        if lost {
            on_pod.add(Key::Pod(ObjectKey::of(&*new)));
        }
        if pods::phase(&new).is_terminal() {
            on_pod.add(Key::Finished);
        }
    });
    let (on_node, all_pods) = (queue.clone(), ctx.caches.pods.clone());
    ctx.caches.nodes.on_change(move |change| {
        let (node, wanted) = match &change {
            Change::Deleted { old } => (old, true),
            // Declared out of service, perhaps.
            Change::Applied { old, new } => (new, old.as_ref().is_some_and(|old| old.spec != new.spec)),
        };
        if wanted {
            let on_it = |pod: &Arc<Pod>| node_name(pod) == node.metadata.name.as_deref();
            all_pods.list().iter().filter(|pod| on_it(pod)).for_each(|p| on_node.add(Key::Pod(ObjectKey::of(&**p))));
        }
    });
}

fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty())
}

struct Collector {
    ctx: Context,
    queue: WorkQueue<Key>,
    /// Since when a node that pods name is missing. Bounded by the names in pods; cleared when seen again.
    missing: Mutex<HashMap<String, Instant>>,
}

impl Collector {
    async fn process(&self, key: &ObjectKey) -> Result<(), PodGcError> {
        let Some(pod) = self.ctx.caches.pods.get_key(key) else { return Ok(()) };
        let cached = node_name(&pod).and_then(|name| self.ctx.caches.nodes.get("", name));
        let fact = match (node_name(&pod), &cached) {
            (None, _) => NodeFact::Unbound,
            (Some(name), Some(node)) => {
                lock(&self.missing).remove(name);
                NodeFact::Exists(node)
            }
            (Some(name), None) if self.is_gone(name).await? => NodeFact::Gone,
            (Some(_), None) => {
                self.queue.add_after(Key::Pod(key.clone()), QUARANTINE);
                NodeFact::Missing
            }
        };
        match nodes::collect(&pod, fact) {
            Some(reason) => self.delete(key, &pod, reason).await,
            None => Ok(()),
        }
    }

    /// Whether the node has been missing for the quarantine and is not there now.
    async fn is_gone(&self, name: &str) -> Result<bool, PodGcError> {
        let since = {
            let mut missing = lock(&self.missing);
            *missing.entry(name.to_owned()).or_insert_with(Instant::now)
        };
        if since.elapsed() < QUARANTINE {
            return Ok(false);
        }
        let api: Api<Node> = Api::all(self.ctx.client.clone());
        let live = api.get_opt(name).await;
        Ok(live.map_err(|source| PodGcError::Node { node: name.to_owned(), source })?.is_none())
    }

    async fn thin_out(&self) -> Result<(), PodGcError> {
        let all = self.ctx.caches.pods.list();
        for pod in nodes::surplus_finished(all.iter().map(Arc::as_ref), nodes::FINISHED_PODS_MAX) {
            self.delete(&ObjectKey::of(pod), pod, nodes::Reason::Finished).await?;
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, pod: &Pod, reason: nodes::Reason) -> Result<(), PodGcError> {
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        if let Some(failed) = nodes::status_before_deletion(pod, reason, self.ctx.clock.now()) {
            match api.replace_status(&key.name, &PostParams::default(), &failed).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) => return Ok(()),
                Err(source) => return Err(PodGcError::Status { pod: key.clone(), source }),
            }
        }
        tracing::info!(pod = %key, ?reason, "deleting a pod that no node will finish");
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let params = DeleteParams { grace_period_seconds: Some(0), ..exactly(uid, None, None) };
        deleted(api.delete(&key.name, &params).await).map_err(|source| PodGcError::Delete { pod: key.clone(), source })
    }
}
