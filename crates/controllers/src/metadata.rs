//! The metadata of every kind: typed caches where there are some, otherwise a watch that asks the server
//! for metadata only. For those who look at all kinds alike: the collector and the namespaces.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client};
use stead_api::registry::{self, Kind, Scope};
use stead_client::{Cache, Change, ListScope};

use crate::context::Caches;

/// The metadata of an object of any kind.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// What was seen of one object.
#[derive(Clone, Copy)]
pub struct Sighting<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its metadata; the last known when it is gone.
    pub meta: &'a ObjectMeta,
    /// Whether it is gone.
    pub gone: bool,
}

/// Caches of the kinds that have no typed one.
#[derive(Clone)]
pub struct OtherKinds {
    caches: Vec<(&'static Kind, Cache<Metadata>)>,
}

impl OtherKinds {
    /// Starts a metadata watch of every watchable kind that `is_typed` does not claim.
    pub(crate) fn start(client: &Client, is_typed: impl Fn(&Kind) -> bool) -> Self {
        let kinds = watchable().filter(|kind| !is_typed(kind));
        let start = |kind: &'static Kind| (kind, Cache::start(api(client, kind, ""), ListScope::default()));
        Self { caches: kinds.map(start).collect() }
    }

    /// Waits until every cache has seen all that existed when it started.
    pub(crate) async fn synced(&self) {
        for (_, cache) in &self.caches {
            cache.synced().await;
        }
    }
}

/// Calls `handler` for every object of every watchable kind, now and on each change.
pub fn on_any_change(caches: &Caches, handler: impl Fn(Sighting<'_>) + Clone + Send + Sync + 'static) {
    hook(&caches.pods, handler.clone());
    hook(&caches.nodes, handler.clone());
    hook(&caches.namespaces, handler.clone());
    hook(&caches.services, handler.clone());
    hook(&caches.endpoints, handler.clone());
    hook(&caches.endpoint_slices, handler.clone());
    hook(&caches.claims, handler.clone());
    hook(&caches.volumes, handler.clone());
    hook(&caches.storage_classes, handler.clone());
    hook(&caches.service_accounts, handler.clone());
    hook(&caches.stateful_sets, handler.clone());
    hook(&caches.deployments, handler.clone());
    hook(&caches.replica_sets, handler.clone());
    hook(&caches.controller_revisions, handler.clone());
    for (kind, cache) in &caches.others.caches {
        announce(kind, cache, handler.clone());
    }
}

/// Kinds that can be listed, watched and deleted, each stored one once; events belong to nobody and are
/// left out (contract 7.2).
pub fn watchable() -> impl Iterator<Item = &'static Kind> {
    deletable().filter(|kind| kind.facts.storage != EVENTS && kind.facts.verbs.contains(&"watch"))
}

/// Kinds whose objects can be listed and deleted, each stored one once.
pub fn deletable() -> impl Iterator<Item = &'static Kind> {
    let all = stead_api::kinds::ALL;
    all.iter().enumerate().filter_map(move |(index, kind)| {
        let seen_before = all[..index].iter().any(|before| before.facts.storage == kind.facts.storage);
        let verbs = ["list", "delete"].iter().all(|verb| kind.facts.verbs.contains(verb));
        (verbs && !seen_before).then_some(kind)
    })
}

const EVENTS: &str = "events";

/// Access to the metadata of a kind; `namespace` is empty for all of them, and ignored for cluster-scoped
/// kinds.
pub fn api(client: &Client, kind: &Kind, namespace: &str) -> Api<Metadata> {
    let resource = ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.facts.plural.to_owned(),
    };
    match (kind.facts.scope, namespace) {
        (Scope::Cluster, _) | (Scope::Namespaced, "") => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

fn hook<K>(cache: &Cache<K>, handler: impl Fn(Sighting<'_>) + Send + Sync + 'static)
where
    K: registry::Spec + kube::Resource,
{
    announce(registry::kind_of::<K>(), cache, handler);
}

fn announce<K>(kind: &'static Kind, cache: &Cache<K>, handler: impl Fn(Sighting<'_>) + Send + Sync + 'static)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    cache.on_change(move |change| {
        let gone = match &change {
            Change::Applied { .. } => false,
            Change::Deleted { .. } => true,
        };
        handler(Sighting { kind, meta: kube::Resource::meta(&**change.object()), gone });
    });
}
