//! What every controller is given: the client, the shared caches (one watch per kind) and the way
//! to write events. It decides nothing and starts no controller.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, Client};
use stead_client::{Cache, Clock, ListScope, Recorder};

use crate::chosen::Chosen;
use crate::metadata::OtherKinds;

/// The shared caches. Clones share the objects and the watches.
#[derive(Clone)]
pub struct Caches {
    /// Pods of all namespaces.
    pub pods: Cache<Pod>,
    /// Nodes.
    pub nodes: Cache<Node>,
    /// Namespaces.
    pub namespaces: Cache<Namespace>,
    /// Services.
    pub services: Cache<Service>,
    /// Endpoints (the old kind).
    pub endpoints: Cache<Endpoints>,
    /// EndpointSlices.
    pub endpoint_slices: Cache<EndpointSlice>,
    /// PersistentVolumeClaims.
    pub claims: Cache<PersistentVolumeClaim>,
    /// PersistentVolumes.
    pub volumes: Cache<PersistentVolume>,
    /// StorageClasses.
    pub storage_classes: Cache<StorageClass>,
    /// ServiceAccounts.
    pub service_accounts: Cache<ServiceAccount>,
    /// StatefulSets.
    pub stateful_sets: Cache<StatefulSet>,
    /// Deployments.
    pub deployments: Cache<Deployment>,
    /// ReplicaSets.
    pub replica_sets: Cache<ReplicaSet>,
    /// ControllerRevisions.
    pub controller_revisions: Cache<ControllerRevision>,
    /// The metadata of every other kind.
    pub others: OtherKinds,
}

/// The kinds that have a typed cache.
const TYPED: [&str; 14] = [
    "Pod",
    "Node",
    "Namespace",
    "Service",
    "Endpoints",
    "EndpointSlice",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "ServiceAccount",
    "StatefulSet",
    "Deployment",
    "ReplicaSet",
    "ControllerRevision",
];

impl Caches {
    /// Starts one watch per kind. Must be called within a tokio runtime.
    pub fn start(client: &Client) -> Self {
        Self {
            pods: everything(client),
            nodes: everything(client),
            namespaces: everything(client),
            services: everything(client),
            endpoints: everything(client),
            endpoint_slices: everything(client),
            claims: everything(client),
            volumes: everything(client),
            storage_classes: everything(client),
            service_accounts: everything(client),
            stateful_sets: everything(client),
            deployments: everything(client),
            replica_sets: everything(client),
            controller_revisions: everything(client),
            others: OtherKinds::start(client, |kind| TYPED.contains(&kind.kind)),
        }
    }

    /// Waits until every cache but those of [`Caches::others`] has seen all that existed when it started.
    pub async fn synced(&self) {
        self.pods.synced().await;
        self.nodes.synced().await;
        self.namespaces.synced().await;
        self.services.synced().await;
        self.endpoints.synced().await;
        self.endpoint_slices.synced().await;
        self.claims.synced().await;
        self.volumes.synced().await;
        self.storage_classes.synced().await;
        self.service_accounts.synced().await;
        self.stateful_sets.synced().await;
        self.deployments.synced().await;
        self.replica_sets.synced().await;
        self.controller_revisions.synced().await;
    }

    /// The same of every cache, for those who look at all kinds.
    pub async fn all_synced(&self) {
        self.synced().await;
        self.others.synced().await;
    }
}

fn everything<K>(client: &Client) -> Cache<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    Cache::start(Api::all(client.clone()), ListScope::default())
}

/// What a controller works with. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Context {
    /// The API, as the controllers' own identity.
    pub client: Client,
    /// What is observed.
    pub caches: Caches,
    /// What time it is.
    pub clock: Clock,
    /// What the scheduler has decided and nobody has written yet.
    pub(crate) chosen: Chosen,
}

impl Context {
    /// A context with freshly started caches and the machine's clock. Must be called within a tokio runtime.
    pub fn start(client: Client) -> Self {
        Self::start_with(client, Clock::system())
    }

    /// The same by another clock.
    pub fn start_with(client: Client, clock: Clock) -> Self {
        let caches = Caches::start(&client);
        Self { client, caches, clock, chosen: Chosen::default() }
    }

    /// A recorder of events of `component`, e.g. `endpoint-controller`.
    pub fn recorder(&self, component: &str) -> Recorder {
        Recorder::with_clock(self.client.clone(), component, "", self.clock.clone())
    }
}
