//! The scheduler: keeps the picture of nodes and pods up to date, asks `plan::scheduler` for a node and
//! binds (contract 8). Room is taken in the picture before it is taken in the API, so several pods can be
//! bound at once.

mod volumes;
mod waiting;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use stead_client::{Change, EventType, ObjectKey, Recorder, WorkQueue, reference_to};
use stead_plan::claims;
use stead_plan::scheduler::{self, Cluster, Decision, Seed, VolumeStep};
use tokio_util::sync::CancellationToken;

use self::volumes::SeenVolumes;
use self::waiting::Waiting;
use crate::context::Context;
use crate::locks::lock;
use crate::outcome::{is_conflict, is_not_found, seen};
use crate::storage::observe::Related;

/// Pods being bound at once.
const WORKERS: usize = 16;
/// A pod that fits nowhere is looked at again after this long, whatever happens (contract 8.13).
const FORGOTTEN_RETRY: Duration = Duration::from_secs(300);

/// Why a pod has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum ScheduleError {
    #[error("cannot bind {pod} to {node}")]
    Bind { pod: ObjectKey, node: String, source: kube::Error },
    #[error("cannot read a claim of {pod}")]
    Claim { pod: ObjectKey, source: kube::Error },
    #[error("cannot write a claim or a volume for {pod}")]
    Volume { pod: ObjectKey, source: kube::Error },
    #[error("cannot write the status of {pod}")]
    Status { pod: ObjectKey, source: kube::Error },
}

/// Runs until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    let scheduler = Arc::new(Scheduler {
        recorder: ctx.recorder(scheduler::DEFAULT_SCHEDULER),
        related: Related::new(&ctx.caches),
        ctx,
        cluster: Mutex::default(),
        bound: Mutex::default(),
        waiting: Mutex::default(),
        queue: WorkQueue::new(),
        turn: AtomicUsize::new(0),
    });
    scheduler.observe();
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = scheduler.ctx.caches.synced() => {}
    }
    let queue = scheduler.queue.clone();
    let handler = move |key: ObjectKey| {
        let scheduler = Arc::clone(&scheduler);
        async move { scheduler.process(&key).await }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

struct Scheduler {
    ctx: Context,
    related: Related,
    recorder: Recorder,
    cluster: Mutex<Cluster>,
    /// UIDs of pods bound by us whose binding the cache has not shown yet.
    bound: Mutex<HashSet<String>>,
    waiting: Mutex<Waiting>,
    queue: WorkQueue<ObjectKey>,
    turn: AtomicUsize,
}

impl Scheduler {
    fn observe(self: &Arc<Self>) {
        let caches = &self.ctx.caches;
        let scheduler = Arc::clone(self);
        caches.nodes.on_change(move |change| scheduler.see_node(&change));
        let scheduler = Arc::clone(self);
        caches.pods.on_change(move |change| scheduler.see_pod(&change));
        let scheduler = Arc::clone(self);
        caches.claims.on_change(move |change| scheduler.wake_users(&ObjectKey::of(&**change.object())));
        let scheduler = Arc::clone(self);
        self.ctx.chosen.on_withdrawn(move |claim| scheduler.wake_users(claim));
        let scheduler = Arc::clone(self);
        caches.volumes.on_change(move |change| {
            let claimed = change.object().spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
            if !claimed {
                scheduler.wake_all();
            }
        });
        let scheduler = Arc::clone(self);
        caches.storage_classes.on_change(move |_| scheduler.wake_all());
    }

    fn see_node(&self, change: &Change<Node>) {
        match change {
            Change::Applied { old, new } => {
                lock(&self.cluster).set_node(new);
                if old.as_ref().is_none_or(|old| scheduler::is_relevant_node_change(old, new)) {
                    self.wake_all();
                }
            }
            Change::Deleted { old } => {
                lock(&self.cluster).remove_node(old.metadata.name.as_deref().unwrap_or_default());
                self.wake_all();
            }
        }
    }

    fn see_pod(&self, change: &Change<Pod>) {
        let pod = change.object();
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty());
        let gone = match change {
            Change::Applied { .. } => stead_plan::pods::phase(pod).is_terminal(),
            Change::Deleted { .. } => true,
        };
        if gone {
            lock(&self.cluster).remove(uid);
            lock(&self.bound).remove(uid);
            lock(&self.waiting).forget(&ObjectKey::of(&**pod));
            if node.is_some() {
                self.wake_all();
            }
            return;
        }
        if let Some(node) = node {
            lock(&self.cluster).place(pod, node);
            lock(&self.bound).remove(uid);
            lock(&self.waiting).forget(&ObjectKey::of(&**pod));
            return;
        }
        let changed = match change {
            Change::Applied { old: Some(old), new } => old.spec != new.spec || old.metadata.uid != new.metadata.uid,
            Change::Applied { old: None, .. } | Change::Deleted { .. } => true,
        };
        if changed && scheduler::is_ours(pod) {
            self.queue.add(ObjectKey::of(&**pod));
        }
    }

    /// Something changed about a claim that pods wait for.
    fn wake_users(&self, claim: &ObjectKey) {
        let pods = lock(&self.waiting).of_claim(claim);
        pods.into_iter().for_each(|pod| self.queue.add(pod));
    }

    /// Something changed that may make room for pods that fit nowhere.
    fn wake_all(&self) {
        for (pod, delay) in lock(&self.waiting).wake(tokio::time::Instant::now()) {
            if delay.is_zero() {
                self.queue.add(pod);
            } else {
                self.queue.add_after(pod, delay);
            }
        }
    }

    async fn process(&self, key: &ObjectKey) -> Result<(), ScheduleError> {
        let Some(pod) = self.ctx.caches.pods.get_key(key) else { return Ok(()) };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if !scheduler::is_ours(&pod) || scheduler::is_gated(&pod) || lock(&self.bound).contains(&uid) {
            return Ok(());
        }
        // Before anything is read: what changes while the decision is made brings the pod back.
        let changes = {
            let mut waiting = lock(&self.waiting);
            waiting.register(key, claims::claims_of(&pod));
            waiting.changes()
        };
        let volumes = SeenVolumes::of(&self.ctx, &self.related, &pod).await;
        let volumes = volumes.map_err(|source| ScheduleError::Claim { pod: key.clone(), source })?;
        match self.decide(&pod, &uid, &volumes) {
            Decision::Bind { node } => self.bind(key, &pod, &uid, node).await,
            Decision::Prepare { steps, .. } => {
                let written = self.prepare(key, steps).await;
                if written.is_err() {
                    lock(&self.cluster).remove(&uid);
                }
                written
            }
            Decision::Unschedulable { message } => self.refuse(key, &pod, message, changes).await,
        }
    }

    /// Decides and takes the room in one go. What the pod itself took before is given back first.
    fn decide(&self, pod: &Pod, uid: &str, volumes: &SeenVolumes) -> Decision {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut cluster = lock(&self.cluster);
        cluster.remove(uid);
        let decision = scheduler::decide(&cluster, pod, volumes, Seed { start: turn, tie: turn });
        match &decision {
            Decision::Bind { node } | Decision::Prepare { node, .. } => cluster.place(pod, node),
            Decision::Unschedulable { .. } => {}
        }
        decision
    }

    async fn bind(&self, key: &ObjectKey, pod: &Pod, uid: &str, node: String) -> Result<(), ScheduleError> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: Some(uid.to_owned()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.clone()),
                ..ObjectReference::default()
            },
        };
        lock(&self.bound).insert(uid.to_owned());
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        let answer: kube::Result<serde::de::IgnoredAny> =
            api.create_subresource("binding", &key.name, &PostParams::default(), &binding).await;
        let Err(source) = answer else {
            let message = format!("Successfully assigned {key} to {node}");
            self.recorder.event(&reference_to(pod), EventType::Normal, "Scheduled", message);
            return Ok(());
        };
        lock(&self.bound).remove(uid);
        lock(&self.cluster).remove(uid);
        if is_not_found(&source) || (is_conflict(&source) && self.is_settled(key, uid).await) {
            return Ok(());
        }
        Err(ScheduleError::Bind { pod: key.clone(), node, source })
    }

    /// Whether the pod has a node or is going, so that there is nothing left to bind; the watch brings
    /// what it is.
    async fn is_settled(&self, key: &ObjectKey, uid: &str) -> bool {
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        match api.get_opt(&key.name).await {
            Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(uid) => !scheduler::is_ours(&pod),
            Ok(_) => true,
            Err(_) => false,
        }
    }

    async fn prepare(&self, key: &ObjectKey, steps: Vec<VolumeStep>) -> Result<(), ScheduleError> {
        let failed = |source| ScheduleError::Volume { pod: key.clone(), source };
        let params = PostParams::default();
        for step in steps {
            match step {
                VolumeStep::Reserve(volume) => {
                    let api: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
                    let name = volume.metadata.name.clone().unwrap_or_default();
                    let written = api.replace(&name, &params, &volume).await.map_err(failed)?;
                    seen(&self.ctx.caches.volumes, &written.metadata).await;
                }
                VolumeStep::SelectNode(claim) => {
                    let api: Api<PersistentVolumeClaim> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
                    let name = claim.metadata.name.clone().unwrap_or_default();
                    let written = api.replace(&name, &params, &claim).await.map_err(failed)?;
                    seen(&self.ctx.caches.claims, &written.metadata).await;
                }
                VolumeStep::Provision(claim) => self.ctx.chosen.choose(&claim),
            }
        }
        Ok(())
    }

    /// Says why no node will do, once per reason, and waits for a change.
    async fn refuse(&self, key: &ObjectKey, pod: &Pod, message: String, changes: u64) -> Result<(), ScheduleError> {
        let again = lock(&self.waiting).park(key, tokio::time::Instant::now(), changes);
        self.queue.add_after(key.clone(), again.unwrap_or(FORGOTTEN_RETRY));
        let note = scheduler::note(&message);
        self.recorder.event(&reference_to(pod), EventType::Warning, "FailedScheduling", note);
        let Some(condition) = scheduler::unschedulable_condition(pod, &message, Time(self.ctx.clock.now())) else {
            return Ok(());
        };
        let patch = serde_json::json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(source) => Err(ScheduleError::Status { pod: key.clone(), source }),
        }
    }
}
