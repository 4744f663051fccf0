//! The garbage collector: watches the metadata of every kind, looks at what may have lost its owners and
//! does what `plan::gc` decides (contract 7A). Every absence it acts on comes from a live read, every
//! write names the UID and resourceVersion it was decided on.

mod absent;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ListParams, Patch, PatchParams, PropagationPolicy};
use stead_api::registry::{self, Kind, Scope};
use stead_client::{EventType, Recorder, WorkQueue};
use stead_plan::gc::{self, Coordinates, Finding, Graph, Node, Propagation, Uid, Verdict, Work};
use tokio_util::sync::CancellationToken;

use self::absent::AbsentOwners;
use crate::context::Context;
use crate::locks::lock;
use crate::metadata::{self, Metadata, Sighting};
use crate::outcome::{deleted, exactly, is_not_found};

const WORKERS: usize = 8;

/// Why work on one object has to be done again.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error("cannot read {what}")]
    Read { what: String, source: kube::Error },
    #[error("cannot write {what}")]
    Write { what: String, source: kube::Error },
    #[error("the kind of an owner of {what} is not served")]
    UnknownOwner { what: String },
}

/// Runs the collector until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    let collector = Arc::new(Collector::new(&ctx));
    collector.observe(&ctx);
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = ctx.caches.all_synced() => {}
    }
    collector.complete();
    let queue = collector.queue.clone();
    let handler = move |work: Work| {
        let collector = Arc::clone(&collector);
        async move { collector.process(work).await }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

struct Collector {
    client: kube::Client,
    graph: Mutex<Graph>,
    /// Whether the graph has seen everything there is; before that, nothing is looked at.
    is_complete: AtomicBool,
    queue: WorkQueue<Work>,
    absent: Mutex<AbsentOwners>,
    recorder: Recorder,
}

impl Collector {
    fn new(ctx: &Context) -> Self {
        Self {
            client: ctx.client.clone(),
            graph: Mutex::default(),
            is_complete: AtomicBool::new(false),
            queue: WorkQueue::new(),
            absent: Mutex::default(),
            recorder: ctx.recorder("garbage-collector-controller"),
        }
    }

    fn observe(self: &Arc<Self>, ctx: &Context) {
        let collector = Arc::clone(self);
        metadata::on_any_change(&ctx.caches, move |sighting| collector.sight(sighting));
    }

    fn sight(&self, sighting: Sighting<'_>) {
        let work = if sighting.gone {
            self.graph().remove(sighting.meta.uid.as_deref().unwrap_or_default())
        } else {
            self.graph().apply(coordinates(sighting.kind, sighting.meta), sighting.meta)
        };
        if self.is_complete.load(Ordering::Acquire) {
            self.enqueue(work);
        }
    }

    fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
        let work = self.graph().survey();
        self.enqueue(work);
    }

    fn enqueue(&self, work: Vec<Work>) {
        for work in work {
            self.queue.add(work);
        }
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        lock(&self.graph)
    }

    fn absent(&self) -> MutexGuard<'_, AbsentOwners> {
        lock(&self.absent)
    }

    async fn process(&self, work: Work) -> Result<(), CollectError> {
        let uid = match &work {
            Work::Item(uid) | Work::Orphan(uid) => uid.clone(),
        };
        let Some(node) = self.graph().get(&uid).cloned() else { return Ok(()) };
        let Some(kind) = kind_at(&node.at) else { return Ok(()) };
        let Some(live) = self.read(kind, &node.at.namespace, &node.at.name, &uid).await? else {
            let work = self.graph().remove(&uid);
            self.enqueue(work);
            return Ok(());
        };
        let item = Item { kind, uid, node, meta: live.metadata };
        match work {
            Work::Orphan(_) => self.orphan(&item).await,
            Work::Item(_) if gc::is_waiting_for_dependents(&item.meta) => {
                let blocking = self.graph().blocking(&item.uid);
                let verdict = gc::foreground(&item.meta, blocking.len());
                self.enqueue(blocking.into_iter().map(Work::Item).collect());
                self.execute(&item, verdict).await
            }
            Work::Item(_) => {
                let findings = self.findings(&item).await?;
                let dependents: Vec<bool> =
                    self.graph().dependents(&item.uid).iter().map(|(_, node)| node.waiting).collect();
                self.execute(&item, gc::collect(&item.meta, &findings, &dependents)).await
            }
        }
    }

    async fn execute(&self, item: &Item, verdict: Verdict) -> Result<(), CollectError> {
        match verdict {
            Verdict::Keep => Ok(()),
            Verdict::AskAgain => Err(CollectError::UnknownOwner { what: item.to_string() }),
            Verdict::Patch(patch) => self.patch(item, patch).await.map(|_| ()),
            Verdict::Delete { propagation, first } => {
                let resource_version = match first {
                    None => item.meta.resource_version.clone(),
                    Some(patch) => match self.patch(item, patch).await? {
                        None => return Ok(()),
                        Some(patched) => patched.resource_version,
                    },
                };
                let policy = match propagation {
                    Propagation::Background => PropagationPolicy::Background,
                    Propagation::Foreground => PropagationPolicy::Foreground,
                    Propagation::Orphan => PropagationPolicy::Orphan,
                };
                let params = exactly(&item.uid, resource_version.as_deref(), Some(policy));
                let api = metadata::api(&self.client, item.kind, &item.node.at.namespace);
                tracing::debug!(object = %item, "collecting");
                deleted(api.delete(&item.node.at.name, &params).await).map_err(|source| item.cannot_write(source))
            }
        }
    }

    /// Applies a merge patch; none when the object is gone.
    async fn patch(&self, item: &Item, patch: serde_json::Value) -> Result<Option<ObjectMeta>, CollectError> {
        let api = metadata::api(&self.client, item.kind, &item.node.at.namespace);
        match api.patch(&item.node.at.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(patched) => Ok(Some(patched.metadata)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(source) => Err(item.cannot_write(source)),
        }
    }

    /// Sets every dependent free, found by listing: the graph may not know the newest yet, and what it
    /// missed would be collected with the owner gone.
    async fn orphan(&self, owner: &Item) -> Result<(), CollectError> {
        if !gc::is_orphaning(&owner.meta) {
            return Ok(());
        }
        for kind in metadata::watchable() {
            if kind.facts.scope == Scope::Cluster && !owner.node.at.namespace.is_empty() {
                continue;
            }
            let listed = metadata::api(&self.client, kind, &owner.node.at.namespace).list(&ListParams::default()).await;
            let what = || format!("the {} that {owner} may own", kind.facts.plural);
            let listed = listed.map_err(|source| CollectError::Read { what: what(), source })?;
            for dependent in listed.items {
                let Some(patch) = gc::release(&dependent.metadata, &owner.uid) else { continue };
                self.patch(&Item::of(kind, dependent), patch).await?;
            }
        }
        self.execute(owner, gc::orphan(&owner.meta)).await
    }

    async fn findings(&self, item: &Item) -> Result<Vec<Finding>, CollectError> {
        let mut findings = Vec::new();
        for owner in item.meta.owner_references.iter().flatten() {
            findings.push(self.find(item, owner).await?);
        }
        Ok(findings)
    }

    async fn find(&self, item: &Item, owner: &OwnerReference) -> Result<Finding, CollectError> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let Some(kind) = registry::find_kind(group, version, &owner.kind) else { return Ok(Finding::Unknown) };
        let namespace = match (kind.facts.scope, &*item.node.at.namespace) {
            (Scope::Cluster, _) => "",
            (Scope::Namespaced, "") => return Ok(Finding::Unresolvable),
            (Scope::Namespaced, namespace) => namespace,
        };
        if self.absent().contains(owner, namespace) {
            return Ok(Finding::Absent);
        }
        match self.read(kind, namespace, &owner.name, &owner.uid).await? {
            Some(live) if gc::is_waiting_for_dependents(&live.metadata) => Ok(Finding::Waiting),
            Some(_) => Ok(Finding::Solid),
            None => {
                self.absent().insert(owner, namespace);
                self.warn_of_stranger(item, owner, namespace);
                Ok(Finding::Absent)
            }
        }
    }

    /// A live read of the object with this UID.
    async fn read(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Metadata>, CollectError> {
        let live = metadata::api(&self.client, kind, namespace).get_opt(name).await.map_err(|source| {
            CollectError::Read { what: format!("{} {namespace}/{name}", kind.qualified_plural()), source }
        })?;
        Ok(live.filter(|live| live.metadata.uid.as_deref() == Some(uid)))
    }

    /// Says so when the owner exists, but not where the reference looks for it (contract 7.8).
    fn warn_of_stranger(&self, item: &Item, owner: &OwnerReference, namespace: &str) {
        if self.graph().get(&owner.uid).is_none() {
            return;
        }
        let (gv, kind, name, uid) = (&owner.api_version, &owner.kind, &owner.name, &owner.uid);
        let message = format!(
            "ownerRef [{gv}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \
             {namespace:?}"
        );
        self.recorder.event(&item.reference(), EventType::Warning, "OwnerRefInvalidNamespace", message);
    }
}

/// An object as a live read gave it.
struct Item {
    kind: &'static Kind,
    uid: Uid,
    node: Node,
    meta: ObjectMeta,
}

impl Item {
    fn of(kind: &'static Kind, object: Metadata) -> Self {
        let meta = object.metadata;
        let node = Node {
            at: coordinates(kind, &meta),
            owners: meta.owner_references.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            waiting: gc::is_waiting_for_dependents(&meta),
            orphaning: gc::is_orphaning(&meta),
        };
        Self { kind, uid: Uid::from(meta.uid.as_deref().unwrap_or_default()), node, meta }
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.kind.api_version()),
            kind: Some(self.kind.kind.to_owned()),
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone(),
            uid: self.meta.uid.clone(),
            ..ObjectReference::default()
        }
    }

    fn cannot_write(&self, source: kube::Error) -> CollectError {
        CollectError::Write { what: self.to_string(), source }
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.qualified_plural(), self.node.at.namespace, self.node.at.name)
    }
}

fn coordinates(kind: &Kind, meta: &ObjectMeta) -> Coordinates {
    Coordinates {
        api_version: kind.api_version().into(),
        kind: kind.kind.into(),
        namespace: meta.namespace.as_deref().unwrap_or_default().into(),
        name: meta.name.as_deref().unwrap_or_default().into(),
    }
}

fn kind_at(at: &Coordinates) -> Option<&'static Kind> {
    let (group, version) = at.api_version.split_once('/').unwrap_or(("", &at.api_version));
    registry::find_kind(group, version, &at.kind)
}
