//! The ReplicaSet controller: observes a set and its pods, asks `plan::replicaset` what to do, and does
//! it. It decides nothing.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_client::{Cache, ObjectKey, WorkQueue, reference_to};
use stead_plan::ids::Uid;
use stead_plan::labels;
use stead_plan::pods::{adopted, controller_of, released};
use stead_plan::replicaset::{self, Action, Failure, Observed, Plan};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::framework::{self, Parts, Reconcile, enqueue_owner, states, tell, until};
use crate::slow_start::up_to_a_failure;
use crate::writer::{WriteError, Writer};

const COMPONENT: &str = "replicaset-controller";

/// Works on ReplicaSets until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    framework::run(ctx, COMPONENT, watch, Controller, shutdown).await;
}

struct Controller(Parts);

impl Reconcile for Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let Parts { ctx, queue, own, .. } = &self.0;
        let caches = &ctx.caches;
        own.visible(key, ctx).await?;
        let Some(set) = caches.replica_sets.get_key(key) else { return Ok(()) };
        let pods = caches.pods.list_in(&key.namespace);
        let siblings = caches.replica_sets.list_in(&key.namespace);
        let now = ctx.clock.now();
        let plan = replicaset::plan(&set, &Observed { pods: &pods, sets: &siblings }, now);
        if let Some(at) = plan.wake_at {
            queue.add_after(key.clone(), until(at, now));
        }
        let execution = Execution {
            controller: self,
            writer: Writer::new(&ctx.client, own, key),
            about: reference_to(set.as_ref()),
            set: &set,
        };
        execution.carry_out(&plan, now).await
    }
}

/// One plan being carried out.
struct Execution<'a> {
    controller: &'a Controller,
    writer: Writer<'a>,
    about: ObjectReference,
    set: &'a ReplicaSet,
}

impl Execution<'_> {
    /// All batches, up to the first that fails, and the status with what went wrong.
    async fn carry_out(&self, plan: &Plan, now: Timestamp) -> Result<(), WriteError> {
        let mut outcome = Ok(());
        for batch in &plan.batches {
            outcome = up_to_a_failure(batch, |action| self.act(action)).await;
            if outcome.is_err() {
                break;
            }
        }
        let failure = match &outcome {
            Err((action, error)) => failure_of(action, error),
            Ok(()) => None,
        };
        if let Some(status) = replicaset::finish(self.set, &plan.status, failure.as_ref(), now) {
            let put = |set: &mut ReplicaSet| set.status = Some(status.clone());
            self.writer.write_status(self.set.clone(), put).await?;
        }
        outcome.map_err(|(_, error)| error)
    }

    /// One action and the event that tells of it (contract 0.4).
    async fn act<'a>(&self, action: &'a Action) -> Result<(), (&'a Action, WriteError)> {
        let outcome = self.write(action).await;
        match (&outcome, action) {
            (Ok(Some(name)), Action::CreatePod) => {
                self.tell(false, "SuccessfulCreate", &format!("Created pod: {name}"))
            }
            (Ok(_), Action::DeletePod(target)) => {
                self.tell(false, "SuccessfulDelete", &format!("Deleted pod: {}", target.name));
            }
            (Err(error), Action::CreatePod) if !error.is_namespace_terminating() => {
                self.tell(true, "FailedCreate", &format!("Error creating: {}", error.text()));
            }
            (Err(error), Action::DeletePod(_)) if !error.is_conflict() => {
                self.tell(true, "FailedDelete", &format!("Error deleting: {}", error.text()));
            }
            (Ok(_) | Err(_), _) => {}
        }
        outcome.map(drop).map_err(|error| (action, error))
    }

    /// Gives the name of a pod that was made.
    async fn write(&self, action: &Action) -> Result<Option<String>, WriteError> {
        let pods = &self.controller.0.ctx.caches.pods;
        match action {
            Action::ConfirmSet => self.writer.confirm(self.set).await?,
            Action::AdoptPod(target) => {
                let adopt = |meta: &ObjectMeta| adopted(meta, replicaset::reference(self.set));
                self.writer.rewrite(pods, target, adopt).await?;
            }
            Action::ReleasePod(target) => {
                let uid = Uid(self.set.metadata.uid.clone().unwrap_or_default());
                self.writer.rewrite(pods, target, |meta| released(meta, &uid)).await?;
            }
            Action::CreatePod => return Ok(self.writer.create(&replicaset::pod(self.set)).await?.name),
            Action::DeletePod(target) => self.writer.delete::<Pod>(target).await?,
        }
        Ok(None)
    }

    fn tell(&self, warning: bool, reason: &str, message: &str) {
        tell(&self.controller.0.recorder, &self.about, warning, reason, message);
    }
}

/// What the status says of a failed action; nothing of one that merely came too late.
fn failure_of(action: &Action, error: &WriteError) -> Option<Failure> {
    let creating = match action {
        Action::CreatePod => true,
        Action::DeletePod(_) => false,
        Action::ConfirmSet | Action::AdoptPod(_) | Action::ReleasePod(_) => return None,
    };
    (!error.is_conflict()).then(|| Failure { creating, message: error.text() })
}

/// Puts the sets that a change concerns on the queue.
fn watch(ctx: &Context, queue: &WorkQueue<ObjectKey>) {
    let caches = &ctx.caches;
    caches.replica_sets.on_change({
        let queue = queue.clone();
        move |change| queue.add(ObjectKey::of(change.object().as_ref()))
    });
    caches.pods.on_change({
        let (queue, sets) = (queue.clone(), caches.replica_sets.clone());
        move |change| states(&change).for_each(|pod| enqueue_pod(&queue, &sets, &pod.metadata))
    });
}

/// The set that owns the pod; where nobody does, every set that could.
fn enqueue_pod(queue: &WorkQueue<ObjectKey>, sets: &Cache<ReplicaSet>, pod: &ObjectMeta) {
    if controller_of(pod).is_some() {
        enqueue_owner(queue, replicaset::KIND, pod);
        return;
    }
    for set in sets.list_in(pod.namespace.as_deref().unwrap_or_default()) {
        if set.spec.as_ref().is_some_and(|spec| labels::matches(&spec.selector, pod.labels.as_ref())) {
            queue.add(ObjectKey::of(set.as_ref()));
        }
    }
}
