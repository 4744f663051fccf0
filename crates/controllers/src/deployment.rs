//! The Deployment controller: observes a Deployment and its ReplicaSets, asks `plan::deployment` for
//! the next step, and takes it. It decides nothing.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_client::{Cache, ObjectKey, WorkQueue, reference_to};
use stead_plan::deployment::{self, Action, Note, Observed, Plan};
use stead_plan::ids::Uid;
use stead_plan::labels;
use stead_plan::pods::{adopted, controller_of, released};
use stead_plan::replicaset;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::framework::{self, Parts, Reconcile, enqueue_owner, states, tell, until};
use crate::slow_start::up_to_a_failure;
use crate::writer::{WriteError, Writer};

const COMPONENT: &str = "deployment-controller";

/// Works on Deployments until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    framework::run(ctx, COMPONENT, watch, Controller, shutdown).await;
}

struct Controller(Parts);

impl Reconcile for Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let Parts { ctx, queue, own, .. } = &self.0;
        let caches = &ctx.caches;
        own.visible(key, ctx).await?;
        let Some(deployment) = caches.deployments.get_key(key) else { return Ok(()) };
        let sets = caches.replica_sets.list_in(&key.namespace);
        let pods = caches.pods.list_in(&key.namespace);
        let now = ctx.clock.now();
        let plan = deployment::plan(&deployment, &Observed { sets: &sets, pods: &pods }, now);
        if let Some(at) = plan.wake_at {
            queue.add_after(key.clone(), until(at, now));
        }
        let execution = Execution {
            controller: self,
            writer: Writer::new(&ctx.client, own, key),
            about: reference_to(deployment.as_ref()),
            deployment: &deployment,
        };
        execution.carry_out(plan, now).await
    }
}

/// One plan being carried out.
struct Execution<'a> {
    controller: &'a Controller,
    writer: Writer<'a>,
    about: ObjectReference,
    deployment: &'a Deployment,
}

impl Execution<'_> {
    /// All batches, up to the first that fails, and the status with a set that could not be made.
    async fn carry_out(&self, plan: Plan, now: Timestamp) -> Result<(), WriteError> {
        for note in &plan.notes {
            self.tell(note);
        }
        let mut outcome = Ok(());
        for batch in &plan.batches {
            outcome = up_to_a_failure(batch, |action| self.act(action)).await;
            if outcome.is_err() {
                break;
            }
        }
        let Plan { mut status, revision, mut status_changed, .. } = plan;
        if let Err((Some(set), error)) = &outcome {
            self.tell(&deployment::creation_failed(&mut status, set, &error.text(), now));
            status_changed = true;
        }
        if status_changed {
            let put = |deployment: &mut Deployment| {
                deployment.status = Some(status.clone());
                if let Some(revision) = &revision {
                    let annotations = deployment.metadata.annotations.get_or_insert_default();
                    annotations.insert(deployment::REVISION.to_owned(), revision.clone());
                }
            };
            self.writer.write_status(self.deployment.clone(), put).await?;
        }
        outcome.map_err(|(_, error)| error)
    }

    /// One action and the event that tells of it; a failure comes with the name of the set that could not
    /// be made, if that is what failed.
    async fn act(&self, action: &Action) -> Result<(), (Option<String>, WriteError)> {
        match self.write(action).await {
            Ok(()) => {
                if let Some(note) = deployment::succeeded(action) {
                    self.tell(&note);
                }
                Ok(())
            }
            Err(error) => {
                let set = match action {
                    Action::CreateSet(set) if !error.is_already_exists() && !error.is_namespace_terminating() => {
                        set.metadata.name.clone()
                    }
                    Action::CreateSet(_)
                    | Action::UpdateSet { .. }
                    | Action::DeleteSet(_)
                    | Action::AdoptSet(_)
                    | Action::ReleaseSet(_)
                    | Action::ConfirmDeployment => None,
                };
                Err((set, error))
            }
        }
    }

    async fn write(&self, action: &Action) -> Result<(), WriteError> {
        let sets = &self.controller.0.ctx.caches.replica_sets;
        match action {
            Action::ConfirmDeployment => self.writer.confirm(self.deployment).await,
            Action::AdoptSet(target) => {
                let adopt = |meta: &ObjectMeta| adopted(meta, deployment::reference(self.deployment));
                self.writer.rewrite(sets, target, adopt).await
            }
            Action::ReleaseSet(target) => {
                let uid = Uid(self.deployment.metadata.uid.clone().unwrap_or_default());
                self.writer.rewrite(sets, target, |meta| released(meta, &uid)).await
            }
            Action::CreateSet(set) => self.writer.create(set.as_ref()).await.map(drop),
            Action::UpdateSet { set, .. } => self.writer.replace(set.as_ref()).await.map(drop),
            Action::DeleteSet(target) => self.writer.delete::<ReplicaSet>(target).await,
        }
    }

    fn tell(&self, note: &Note) {
        tell(&self.controller.0.recorder, &self.about, note.warning, note.reason, &note.message);
    }
}

/// Puts the Deployments that a change concerns on the queue. Pods matter through the status of their
/// sets, and for strategy Recreate when the last of them goes.
fn watch(ctx: &Context, queue: &WorkQueue<ObjectKey>) {
    let caches = &ctx.caches;
    caches.deployments.on_change({
        let queue = queue.clone();
        move |change| queue.add(ObjectKey::of(change.object().as_ref()))
    });
    caches.replica_sets.on_change({
        let (queue, deployments) = (queue.clone(), caches.deployments.clone());
        move |change| states(&change).for_each(|set| enqueue_set(&queue, &deployments, &set.metadata))
    });
    caches.pods.on_change({
        let (queue, sets) = (queue.clone(), caches.replica_sets.clone());
        move |change| {
            if let stead_client::Change::Deleted { old } = &change {
                enqueue_grandparent(&queue, &sets, &old.metadata);
            }
        }
    });
}

/// The Deployment that owns the set; where nobody does, every Deployment that could.
fn enqueue_set(queue: &WorkQueue<ObjectKey>, deployments: &Cache<Deployment>, set: &ObjectMeta) {
    if controller_of(set).is_some() {
        enqueue_owner(queue, deployment::KIND, set);
        return;
    }
    for deployment in deployments.list_in(set.namespace.as_deref().unwrap_or_default()) {
        if deployment.spec.as_ref().is_some_and(|spec| labels::matches(&spec.selector, set.labels.as_ref())) {
            queue.add(ObjectKey::of(deployment.as_ref()));
        }
    }
}

/// The Deployment of the set that owned the pod.
fn enqueue_grandparent(queue: &WorkQueue<ObjectKey>, sets: &Cache<ReplicaSet>, pod: &ObjectMeta) {
    let owner = controller_of(pod).filter(|owner| owner.kind == replicaset::KIND);
    let namespace = pod.namespace.as_deref().unwrap_or_default();
    if let Some(set) = owner.and_then(|owner| sets.get(namespace, &owner.name)) {
        enqueue_owner(queue, deployment::KIND, &set.metadata);
    }
}
