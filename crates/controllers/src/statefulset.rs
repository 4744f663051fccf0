//! The StatefulSet controller: observes a set and what is around it, asks `plan::statefulset` what to
//! do, and does it. It decides nothing.

mod batches;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplateSpec};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Patch;
use serde_json::Value;
use stead_client::{Cache, ObjectKey, WorkQueue, reference_to};
use stead_plan::claims::class_of_claim;
use stead_plan::ids::Uid;
use stead_plan::pods::{adopted, controller_of, released};
use stead_plan::statefulset::news::{self, News};
use stead_plan::statefulset::ordinals::{claim_ordinal_of, ordinal_of};
use stead_plan::statefulset::revisions::RevisionName;
use stead_plan::statefulset::views::Volumes;
use stead_plan::statefulset::{self, Action, Memory, Observed, Plan, conditions, events, render};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::framework::{self, Parts, Reconcile, enqueue_owner, states, tell, until};
use crate::locks::lock;
use crate::own_writes::Tracked;
use crate::writer::{WriteError, Writer};

const COMPONENT: &str = "statefulset-controller";
/// A set of so many pods or claims has what its last plan was made of kept for the next one.
const REMEMBERED_MIN: usize = 50;
/// A set of replicas that do not wait for each other, of which there was nothing to do but to count them, rests
/// so many times as long as that took, and no longer than this: of a burst of them that become ready not each
/// needs a count of its own.
const REST_TIMES: u32 = 10;
const REST_MAX: Duration = Duration::from_millis(100);
/// What a set has made itself is counted with what comes of it, and after this long at the latest.
const COUNT_PATIENCE: Duration = Duration::from_millis(20);

/// Works on StatefulSets until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    let told = Told::default();
    let watch = |ctx: &Context, queue: &WorkQueue<ObjectKey>| watch(ctx, queue, &told);
    let controller = |parts| Controller { parts, memories: Mutex::default(), told: told.clone() };
    framework::run(ctx, COMPONENT, watch, controller, shutdown).await;
}

struct Controller {
    parts: Parts,
    /// What the last plans for large sets were made of.
    memories: Mutex<HashMap<ObjectKey, Memory>>,
    told: Told,
}

/// The last status that was written of each set: what comes back is no news.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<HashMap<ObjectKey, StatefulSetStatus>>>);

impl Told {
    fn note(&self, key: &ObjectKey, status: &StatefulSetStatus) {
        lock(&self.0).insert(key.clone(), status.clone());
    }

    fn is_of(&self, key: &ObjectKey, set: &StatefulSet) -> bool {
        lock(&self.0).get(key) == set.status.as_ref()
    }

    fn forget(&self, key: &ObjectKey) {
        lock(&self.0).remove(key);
    }
}

impl Reconcile for Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let Parts { ctx, queue, own, .. } = &self.parts;
        let caches = &ctx.caches;
        own.visible(key, ctx).await?;
        let Some(set) = caches.stateful_sets.get_key(key) else {
            lock(&self.memories).remove(key);
            self.told.forget(key);
            return Ok(());
        };
        let begun = Instant::now();
        let pods = caches.pods.list_in(&key.namespace);
        let claims = caches.claims.list_in(&key.namespace);
        let revisions = caches.controller_revisions.list_in(&key.namespace);
        let now = ctx.clock.now();
        let observed = Observed {
            pods: &pods,
            claims: &claims,
            revisions: &revisions,
            volumes: &KnownVolumes(&caches.volumes),
            nodes: &caches.nodes.list(),
            classes: &caches.storage_classes.list(),
        };
        let plan = self.plan(key, &set, &observed, now);
        if statefulset::may_rest(&set, &plan) {
            queue.rest(key.clone(), (begun.elapsed() * REST_TIMES).min(REST_MAX));
        }
        if let Some(at) = plan.wake_at {
            queue.add_after(key.clone(), until(at, now));
        }
        let execution = Execution {
            controller: self,
            writer: Writer::new(&ctx.client, own, key),
            templates: templates(&set, &plan, &revisions),
            about: reference_to(set.as_ref()),
            set: &set,
            key,
        };
        execution.carry_out(&plan).await
    }
}

impl Controller {
    /// Plans for a set; a large one with what is remembered of it. A key is worked on by one worker at a time.
    fn plan(&self, key: &ObjectKey, set: &StatefulSet, observed: &Observed<'_>, now: Timestamp) -> Plan {
        let mut memory = lock(&self.memories).remove(key).unwrap_or_default();
        let plan = statefulset::plan_remembering(set, observed, now, &mut memory);
        if memory.size() >= REMEMBERED_MIN {
            lock(&self.memories).insert(key.clone(), memory);
        }
        plan
    }
}

/// The volumes of the shared cache.
struct KnownVolumes<'a>(&'a Cache<PersistentVolume>);

impl Volumes for KnownVolumes<'_> {
    fn named(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.0.get("", name)
    }
}

/// The templates of the revisions at which the plan makes pods, or lets nodes make ready for them, as far
/// as they can be read.
fn templates(
    set: &StatefulSet,
    plan: &Plan,
    revisions: &[Arc<ControllerRevision>],
) -> HashMap<RevisionName, PodTemplateSpec> {
    let mut templates = HashMap::new();
    for action in plan.actions() {
        let (Action::CreatePod { revision, .. } | Action::Prepare { revision, .. }) = action else { continue };
        if templates.contains_key(revision) {
            continue;
        }
        let stored = revisions.iter().find(|stored| stored.metadata.name.as_deref() == Some(&revision.0));
        if let Some(template) = render::template(set, revision, stored.map(Arc::as_ref)) {
            templates.insert(revision.clone(), template);
        }
    }
    templates
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
    /// All batches, as far as they go, and then the status that holds (G4).
    async fn carry_out(&self, plan: &Plan) -> Result<(), WriteError> {
        for note in &plan.notes {
            self.tell(note);
        }
        let (undone, outcome) = batches::carry_out(plan, |action| self.act(action)).await;
        if let Some(status) = statefulset::status_after(self.set, plan, &undone) {
            let put = |set: &mut StatefulSet| {
                let status = conditions::onto(set.status.as_ref(), status);
                self.controller.told.note(self.key, &status);
                set.status = Some(status);
            };
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
        let caches = &self.controller.parts.ctx.caches;
        let adopt = |meta: &ObjectMeta| adopted(meta, render::reference(set));
        match action {
            Action::ConfirmSet => self.writer.confirm(set).await,
            Action::AdoptRevision(target) => self.writer.rewrite(&caches.controller_revisions, target, adopt).await,
            Action::CreateRevision { name, hash, number } => {
                self.create(&render::revision(set, name, hash, *number)).await
            }
            Action::RenumberRevision { target, number } => {
                let seen = self.writer.seen(&caches.controller_revisions, target)?;
                self.replace(ControllerRevision { revision: *number, ..ControllerRevision::clone(&seen) }).await
            }
            Action::DeleteRevision(target) => self.writer.delete::<ControllerRevision>(target).await,
            Action::AdoptPod(target) => self.writer.rewrite(&caches.pods, target, adopt).await,
            Action::ReleasePod(target) => {
                let uid = Uid(set.metadata.uid.clone().unwrap_or_default());
                self.writer.rewrite(&caches.pods, target, |meta| released(meta, &uid)).await
            }
            Action::RelabelPod { target, ordinal } => {
                self.writer.rewrite(&caches.pods, target, |meta| render::relabelled(set, meta, *ordinal)).await
            }
            Action::OwnClaim { target, ordinal, owner } => {
                let seen = self.writer.seen(&caches.claims, target)?;
                self.replace(render::owned_claim(set, &seen, *ordinal, owner)).await
            }
            Action::CreateClaim { name, template, ordinal } => match render::claim(set, template, *ordinal) {
                Some(claim) => self.create(&claim).await,
                None => Err(self.writer.changed(name)),
            },
            Action::CreatePod { ordinal, revision } => {
                self.create(&render::pod(set, self.template(revision)?, revision, *ordinal)).await
            }
            Action::Prepare { target, revision, at, .. } => {
                let template = self.template(revision)?;
                let asked = |meta: &ObjectMeta| render::asked(set, meta, template, revision, *at);
                self.writer.rewrite(&caches.pods, target, asked).await
            }
            Action::Withdraw { target, .. } => self.writer.rewrite(&caches.pods, target, render::unasked).await,
            Action::DeletePod { target, .. } => self.writer.delete::<Pod>(target).await,
            Action::DeleteClaim { target, .. } => self.writer.delete::<PersistentVolumeClaim>(target).await,
            Action::GrowClaim { target, storage, .. } => {
                let seen = self.writer.seen(&caches.claims, target)?;
                self.replace(render::grown_claim(&seen, storage)).await
            }
            Action::Remember { key, value } => {
                self.patch_set(Patch::Merge(render::remembered(set, key, value.as_deref()))).await
            }
            Action::RollBack { to, from } => {
                let stored = caches.controller_revisions.get(&self.key.namespace, &to.0);
                match stored.and_then(|stored| render::rollback(set, &stored, from)) {
                    Some(patch) => self.patch_set(Patch::Strategic(patch)).await,
                    None => Err(self.writer.changed(&to.0)),
                }
            }
        }
    }

    fn template(&self, revision: &RevisionName) -> Result<&PodTemplateSpec, WriteError> {
        let unread = || WriteError::BadRevision { key: ObjectKey::new(self.key.namespace.clone(), &revision.0) };
        self.templates.get(revision).ok_or_else(unread)
    }

    async fn patch_set(&self, patch: Patch<Value>) -> Result<(), WriteError> {
        self.writer.patch::<StatefulSet>(&self.key.name, &patch).await.map(drop)
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

    fn tell(&self, note: &events::Note) {
        tell(&self.controller.parts.recorder, &self.about, note.warning, note.reason, &note.message);
    }
}

/// Puts the sets that a change is news to on the queue (G1; claims too, unlike Kubernetes, E7 and S1).
fn watch(ctx: &Context, queue: &WorkQueue<ObjectKey>, told: &Told) {
    let caches = &ctx.caches;
    caches.stateful_sets.on_change({
        let (queue, told) = (queue.clone(), told.clone());
        move |change| {
            let key = ObjectKey::of(change.object().as_ref());
            let sides = change.sides();
            if !matches!(sides, (Some(before), Some(after)) if news::only_told(before, after) && told.is_of(&key, after)) {
                queue.add(key);
            }
        }
    });
    caches.pods.on_change({
        let (queue, sets, nodes) = (queue.clone(), caches.stateful_sets.clone(), caches.nodes.clone());
        move |change| {
            let prepares = |node: &str| nodes.get("", node).is_some_and(|node| statefulset::prepares(&node));
            let (before, after) = change.sides();
            let (before, after) = (before.map(Arc::as_ref), after.map(Arc::as_ref));
            let concerned: BTreeSet<_> = states(&change).flat_map(|pod| sets_of_pod(&pod.metadata)).collect();
            for key in concerned {
                let news = |set: Arc<StatefulSet>| news::of_pod(&set, prepares, before, after);
                hear(&queue, sets.get_key(&key).map_or(News::Now, news), key);
            }
        }
    });
    caches.controller_revisions.on_change({
        let queue = queue.clone();
        move |change| states(&change).for_each(|revision| enqueue_owner(&queue, statefulset::KIND, &revision.metadata))
    });
    // Whether a node answers requests decides how its pods are replaced.
    caches.nodes.on_change({
        let (queue, pods) = (queue.clone(), caches.pods.clone());
        move |change| {
            let (before, after) = change.sides();
            if before.is_some_and(|node| statefulset::prepares(node))
                != after.is_some_and(|node| statefulset::prepares(node))
            {
                let node = change.object().metadata.name.clone();
                let of_node = |pod: &&Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) == node;
                let pods = pods.list();
                pods.iter().filter(of_node).flat_map(|pod| sets_of_pod(&pod.metadata)).for_each(|key| queue.add(key));
            }
        }
    });
    caches.claims.on_change({
        let (queue, sets, classes) = (queue.clone(), caches.stateful_sets.clone(), caches.storage_classes.clone());
        move |change| {
            let (before, after) = change.sides();
            let (before, after) = (before.map(Arc::as_ref), after.map(Arc::as_ref));
            for set in sets_of_claim(&sets, change.object()) {
                hear(&queue, news::of_claim(&set, &classes.list(), before, after), ObjectKey::of(set.as_ref()));
            }
        }
    });
    // Whether volumes of a class can grow decides whether its claims follow their template.
    caches.storage_classes.on_change({
        let (queue, sets, claims) = (queue.clone(), caches.stateful_sets.clone(), caches.claims.clone());
        move |change| {
            let (before, after) = change.sides();
            let grows = |class: Option<&Arc<StorageClass>>| class.and_then(|class| class.allow_volume_expansion);
            if grows(before) != grows(after) {
                let class = change.object().metadata.name.clone().unwrap_or_default();
                let of_class = |claim: &&Arc<PersistentVolumeClaim>| class_of_claim(claim) == class;
                let claims = claims.list();
                let sets = claims.iter().filter(of_class).flat_map(|claim| sets_of_claim(&sets, claim));
                sets.for_each(|set| queue.add(ObjectKey::of(set.as_ref())));
            }
        }
    });
}

/// Puts the set on the queue, as urgent as the news is.
fn hear(queue: &WorkQueue<ObjectKey>, news: News, set: ObjectKey) {
    match news {
        News::None => {}
        News::Soon => queue.add_after(set, COUNT_PATIENCE),
        News::Now => queue.add(set),
    }
}

/// The set that owns the pod, and the one whose name the pod's name is made of: it may want to adopt
/// the pod, or wait for the name.
fn sets_of_pod(meta: &ObjectMeta) -> impl Iterator<Item = ObjectKey> {
    let name = meta.name.as_deref().unwrap_or_default();
    let namesake = name.rsplit_once('-').map(|(set, _)| set).filter(|set| ordinal_of(set, name).is_some());
    let owner = controller_of(meta).filter(|owner| owner.kind == statefulset::KIND).map(|owner| owner.name.as_str());
    let key = |set: &str| ObjectKey::new(meta.namespace.clone().unwrap_or_default(), set);
    [owner.map(key), namesake.map(key)].into_iter().flatten()
}

/// The sets one of whose templates the claim may come from.
fn sets_of_claim(sets: &Cache<StatefulSet>, claim: &PersistentVolumeClaim) -> Vec<Arc<StatefulSet>> {
    let (Some(namespace), Some(name)) = (&claim.metadata.namespace, &claim.metadata.name) else { return Vec::new() };
    let mut sets = sets.list_in(namespace);
    sets.retain(|set| {
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        let names = templates.filter_map(|template| template.metadata.name.as_deref());
        names.into_iter().any(|template| claim_ordinal_of(template, set_name, name).is_some())
    });
    sets
}
