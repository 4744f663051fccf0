//! The StatefulSet controller: observes a set and what is around it, asks `plan::statefulset` what to
//! do, and does it. It decides nothing.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_client::{Cache, Change, ObjectKey, Recorder, WorkQueue, reference_to};
use stead_plan::ids::Target;
use stead_plan::pods::controller_of;
use stead_plan::statefulset::ordinals::{claim_ordinal_of, ordinal_of};
use stead_plan::statefulset::revisions::RevisionName;
use stead_plan::statefulset::{self, Action, Observed, Plan, events, render};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::framework::{OwnWrites, Tracked, WORKERS, WriteError, Writer, slow_start, tell, until};

const COMPONENT: &str = "statefulset-controller";

/// Works on StatefulSets until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    watch(&ctx, &queue);
    ctx.caches.synced().await;
    let controller =
        Arc::new(Controller { recorder: ctx.recorder(COMPONENT), own: OwnWrites::default(), queue: queue.clone(), ctx });
    queue
        .run(WORKERS, shutdown.clone(), move |key| {
            let (controller, shutdown) = (Arc::clone(&controller), shutdown.clone());
            async move {
                tokio::select! {
                    outcome = controller.sync(&key) => outcome,
                    () = shutdown.cancelled() => Ok(()),
                }
            }
        })
        .await;
}

struct Controller {
    ctx: Context,
    queue: WorkQueue<ObjectKey>,
    recorder: Recorder,
    own: OwnWrites,
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let caches = &self.ctx.caches;
        self.own.visible(key, caches).await;
        let Some(set) = caches.stateful_sets.get_key(key) else { return Ok(()) };
        let pods = caches.pods.list_in(&key.namespace);
        let claims = caches.claims.list_in(&key.namespace);
        let revisions = caches.controller_revisions.list_in(&key.namespace);
        let now = Timestamp::now();
        let plan = statefulset::plan(&set, &Observed { pods: &pods, claims: &claims, revisions: &revisions }, now);
        if let Some(at) = plan.wake_at {
            self.queue.add_after(key.clone(), until(at, now));
        }
        let execution = Execution {
            controller: self,
            writer: Writer::new(&self.ctx.client, &self.own, key),
            templates: templates(&set, &plan, &revisions)?,
            about: reference_to(set.as_ref()),
            set: &set,
            key,
        };
        execution.carry_out(&plan).await
    }
}

/// The templates of the revisions at which the plan makes pods.
fn templates(
    set: &StatefulSet,
    plan: &Plan,
    revisions: &[Arc<ControllerRevision>],
) -> Result<HashMap<RevisionName, PodTemplateSpec>, WriteError> {
    let mut templates = HashMap::new();
    for action in plan.actions() {
        let Action::CreatePod { revision, .. } = action else { continue };
        if templates.contains_key(revision) {
            continue;
        }
        let stored = revisions.iter().find(|stored| stored.metadata.name.as_deref() == Some(&revision.0));
        let template = render::template(set, revision, stored.map(Arc::as_ref)).ok_or_else(|| {
            let namespace = set.metadata.namespace.clone().unwrap_or_default();
            WriteError::BadRevision { key: ObjectKey::new(namespace, &revision.0) }
        })?;
        templates.insert(revision.clone(), template);
    }
    Ok(templates)
}

/// One plan being carried out.
struct Execution<'a> {
    controller: &'a Controller,
    writer: Writer<'a>,
    templates: HashMap<RevisionName, PodTemplateSpec>,
    about: ObjectReference,
    set: &'a StatefulSet,
    key: &'a ObjectKey,
}

impl Execution<'_> {
    /// All batches, up to the first that fails, and the status in any case (G4).
    async fn carry_out(&self, plan: &Plan) -> Result<(), WriteError> {
        for note in &plan.notes {
            self.tell(note);
        }
        let mut outcome = Ok(());
        for batch in &plan.batches {
            outcome = slow_start(batch, |action| self.act(action)).await;
            if outcome.is_err() {
                break;
            }
        }
        if plan.status_changed {
            let put = |set: &mut StatefulSet| set.status = Some(plan.status.clone());
            self.writer.write_status(self.set.clone(), put).await?;
        }
        outcome
    }

    /// One action and the event that tells of it.
    async fn act(&self, action: &Action) -> Result<(), WriteError> {
        let outcome = self.write(action).await;
        let note = match &outcome {
            Ok(()) => events::succeeded(&self.key.name, action),
            Err(error) if error.is_already_exists() || error.is_conflict() => None,
            Err(error) => events::failed(&self.key.name, action, &error.text()),
        };
        if let Some(note) = note {
            self.tell(&note);
        }
        outcome
    }

    async fn write(&self, action: &Action) -> Result<(), WriteError> {
        let set = self.set;
        let caches = &self.controller.ctx.caches;
        match action {
            Action::ConfirmSet => self.confirm().await,
            Action::AdoptRevision(target) => {
                let seen = self.seen(&caches.controller_revisions, target)?;
                let metadata = render::adopted(set, &seen.metadata);
                self.replace(ControllerRevision { metadata, ..ControllerRevision::clone(&seen) }).await
            }
            Action::CreateRevision { name, hash, number } => {
                self.create(&render::revision(set, name, hash, *number)).await
            }
            Action::RenumberRevision { target, number } => {
                let seen = self.seen(&caches.controller_revisions, target)?;
                self.replace(ControllerRevision { revision: *number, ..ControllerRevision::clone(&seen) }).await
            }
            Action::DeleteRevision(target) => self.writer.delete::<ControllerRevision>(target).await,
            Action::AdoptPod(target) => self.rewrite_pod(target, |meta| render::adopted(set, meta)).await,
            Action::ReleasePod(target) => self.rewrite_pod(target, |meta| render::released(set, meta)).await,
            Action::RelabelPod { target, ordinal } => {
                self.rewrite_pod(target, |meta| render::relabelled(set, meta, *ordinal)).await
            }
            Action::OwnClaim { target, ordinal, owner } => {
                let seen = self.seen(&caches.claims, target)?;
                self.replace(render::owned_claim(set, &seen, *ordinal, owner)).await
            }
            Action::CreateClaim { name, template, ordinal } => match render::claim(set, template, *ordinal) {
                Some(claim) => self.create(&claim).await,
                None => Err(self.changed(name)),
            },
            Action::CreatePod { ordinal, revision } => match self.templates.get(revision) {
                Some(template) => self.create(&render::pod(set, template, revision, *ordinal)).await,
                None => Err(self.changed(&revision.0)),
            },
            Action::DeletePod { target, .. } => self.writer.delete::<Pod>(target).await,
        }
    }

    /// The set as the API has it now is the one that was planned for (M2).
    async fn confirm(&self) -> Result<(), WriteError> {
        let live = self.writer.read::<StatefulSet>(&self.key.name).await?;
        let same = live.is_some_and(|live| {
            live.metadata.uid == self.set.metadata.uid && live.metadata.deletion_timestamp.is_none()
        });
        if same { Ok(()) } else { Err(self.changed(&self.key.name)) }
    }

    /// The object decided on, if the cache still shows it in that state.
    fn seen<K: Tracked + Send + Sync + 'static>(&self, cache: &Cache<K>, target: &Target) -> Result<Arc<K>, WriteError> {
        let seen = cache.get(&self.key.namespace, &target.name);
        seen.filter(|seen| Target::of(seen.meta()) == *target).ok_or_else(|| self.changed(&target.name))
    }

    async fn rewrite_pod(&self, target: &Target, change: impl Fn(&ObjectMeta) -> ObjectMeta) -> Result<(), WriteError> {
        let seen = self.seen(&self.controller.ctx.caches.pods, target)?;
        self.replace(Pod { metadata: change(&seen.metadata), ..Pod::clone(&seen) }).await
    }

    async fn create<K>(&self, object: &K) -> Result<(), WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        self.writer.create(object).await.map(drop)
    }

    async fn replace<K>(&self, object: K) -> Result<(), WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        self.writer.replace(&object).await.map(drop)
    }

    fn changed(&self, name: &str) -> WriteError {
        WriteError::Changed { key: ObjectKey::new(self.key.namespace.clone(), name) }
    }

    fn tell(&self, note: &events::Note) {
        tell(&self.controller.recorder, &self.about, note.warning, note.reason, &note.message);
    }
}

/// Puts the sets that a change concerns on the queue (G1; claims too, unlike Kubernetes, E7 and S1).
fn watch(ctx: &Context, queue: &WorkQueue<ObjectKey>) {
    let caches = &ctx.caches;
    caches.stateful_sets.on_change({
        let queue = queue.clone();
        move |change| queue.add(ObjectKey::of(change.object().as_ref()))
    });
    caches.pods.on_change({
        let queue = queue.clone();
        move |change| states(&change).for_each(|pod| enqueue_pod(&queue, &pod.metadata))
    });
    caches.controller_revisions.on_change({
        let queue = queue.clone();
        move |change| states(&change).for_each(|revision| enqueue_owner(&queue, &revision.metadata))
    });
    caches.claims.on_change({
        let (queue, sets) = (queue.clone(), caches.stateful_sets.clone());
        move |change| enqueue_claim(&queue, &sets, change.object())
    });
}

/// The old and the new state of what changed.
fn states<K>(change: &Change<K>) -> impl Iterator<Item = &Arc<K>> {
    let (first, second) = match change {
        Change::Applied { old, new } => (old.as_ref(), Some(new)),
        Change::Deleted { old } => (Some(old), None),
    };
    first.into_iter().chain(second)
}

/// The set that owns the object.
fn enqueue_owner(queue: &WorkQueue<ObjectKey>, meta: &ObjectMeta) {
    if let Some(owner) = controller_of(meta).filter(|owner| owner.kind == statefulset::KIND) {
        queue.add(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), &owner.name));
    }
}

/// The set that owns the pod, and the one whose name the pod's name is made of: it may want to adopt
/// the pod, or wait for the name.
fn enqueue_pod(queue: &WorkQueue<ObjectKey>, meta: &ObjectMeta) {
    enqueue_owner(queue, meta);
    let name = meta.name.as_deref().unwrap_or_default();
    let Some((set, _)) = name.rsplit_once('-') else { return };
    if ordinal_of(set, name).is_some() {
        queue.add(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), set));
    }
}

/// The sets one of whose templates the claim may come from.
fn enqueue_claim(queue: &WorkQueue<ObjectKey>, sets: &Cache<StatefulSet>, claim: &PersistentVolumeClaim) {
    let (Some(namespace), Some(name)) = (&claim.metadata.namespace, &claim.metadata.name) else { return };
    for set in sets.list_in(namespace) {
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        let names = templates.filter_map(|template| template.metadata.name.as_deref());
        if names.into_iter().any(|template| claim_ordinal_of(template, set_name, name).is_some()) {
            queue.add(ObjectKey::of(set.as_ref()));
        }
    }
}
