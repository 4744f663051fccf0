//! What a controller wrote on behalf of each object, and waiting until the shared caches show it. A write
//! whose answer never came may have been made all the same: its kind is in doubt until the API itself has
//! been asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_client::{Cache, Listed, ObjectKey};

use crate::context::Context;
use crate::locks::lock;
use crate::writer::WriteError;

/// The kinds whose own writes a controller reads back from the shared caches.
pub(crate) trait Tracked:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug
{
    /// Which cache shows them.
    const KIND: TrackedKind;
}

/// See [`Tracked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TrackedKind {
    /// Pods.
    Pods,
    /// PersistentVolumeClaims.
    Claims,
    /// ControllerRevisions.
    Revisions,
    /// StatefulSets.
    StatefulSets,
    /// ReplicaSets.
    ReplicaSets,
    /// Deployments.
    Deployments,
}

macro_rules! tracked {
    ($($type:ty => $kind:ident),* $(,)?) => {
        $(impl Tracked for $type {
            const KIND: TrackedKind = TrackedKind::$kind;
        })*
    };
}

tracked! {
    Pod => Pods,
    PersistentVolumeClaim => Claims,
    ControllerRevision => Revisions,
    StatefulSet => StatefulSets,
    ReplicaSet => ReplicaSets,
    Deployment => Deployments,
}

/// What was written of one kind on behalf of one object.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    /// Revision of the newest write that was answered.
    newest: u64,
    /// Whether there may be others.
    in_doubt: bool,
}

/// The writes of a controller on behalf of each object it works on, per kind written. A plan is only made
/// from caches that show them all.
#[derive(Default)]
pub(crate) struct OwnWrites {
    written: Mutex<HashMap<ObjectKey, BTreeMap<TrackedKind, Written>>>,
}

impl OwnWrites {
    /// Remembers that an object of kind `K` was written on behalf of `owner`, which left it with this metadata.
    pub(crate) fn remember<K: Tracked>(&self, owner: &ObjectKey, written: &ObjectMeta) {
        let revision = written.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.note(owner, K::KIND, |known| known.newest = known.newest.max(revision));
    }

    /// Remembers that an object of kind `K` may have been written on behalf of `owner`.
    pub(crate) fn doubt<K: Tracked>(&self, owner: &ObjectKey) {
        self.note(owner, K::KIND, |known| known.in_doubt = true);
    }

    /// Waits until the caches show everything written on behalf of `owner`. What is in doubt is read from
    /// the API; while that fails, nothing may be planned, and all is still remembered.
    pub(crate) async fn visible(&self, owner: &ObjectKey, ctx: &Context) -> Result<(), WriteError> {
        let Context { caches, client, .. } = ctx;
        // One worker at a time is at work on an owner: nothing is added meanwhile.
        let all = self.lock().get(owner).cloned().unwrap_or_default();
        for (kind, written) in all {
            let view = View { client, owner, written };
            match kind {
                TrackedKind::Pods => view.catch_up(&caches.pods).await?,
                TrackedKind::Claims => view.catch_up(&caches.claims).await?,
                TrackedKind::Revisions => view.catch_up(&caches.controller_revisions).await?,
                TrackedKind::StatefulSets => view.catch_up(&caches.stateful_sets).await?,
                TrackedKind::ReplicaSets => view.catch_up(&caches.replica_sets).await?,
                TrackedKind::Deployments => view.catch_up(&caches.deployments).await?,
            }
        }
        self.lock().remove(owner);
        Ok(())
    }

    fn note(&self, owner: &ObjectKey, kind: TrackedKind, change: impl FnOnce(&mut Written)) {
        change(self.lock().entry(owner.clone()).or_default().entry(kind).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, BTreeMap<TrackedKind, Written>>> {
        lock(&self.written)
    }
}

/// One kind's cache and what it has to show.
struct View<'a> {
    client: &'a Client,
    owner: &'a ObjectKey,
    written: Written,
}

impl View<'_> {
    async fn catch_up<K>(&self, cache: &Cache<K>) -> Result<(), WriteError>
    where
        K: Tracked<Scope = NamespaceResourceScope> + Send + Sync + 'static,
    {
        if self.written.in_doubt {
            let live = self.list::<K>().await?;
            cache.wait_listed(&self.owner.namespace, &live).await;
        }
        cache.wait_revision(self.written.newest).await;
        Ok(())
    }

    /// What the owner's namespace holds now: whatever was written before is in it.
    async fn list<K>(&self) -> Result<Listed, WriteError>
    where
        K: Tracked<Scope = NamespaceResourceScope>,
    {
        let namespace = &self.owner.namespace;
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let list = api.list_metadata(&ListParams::default()).await;
        let list = list.map_err(|error| WriteError::of::<K>("list", ObjectKey::new(namespace, ""), error))?;
        let revision = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let objects = list.items.iter().map(|object| {
            let meta = object.meta();
            (meta.name.clone().unwrap_or_default(), revision(&meta.resource_version).unwrap_or(0))
        });
        // Without a revision only the objects can tell that a cache is new enough.
        Ok(Listed {
            revision: revision(&list.metadata.resource_version).unwrap_or(u64::MAX),
            objects: objects.collect(),
        })
    }
}
