//! A whole control plane in the test process: real store, real API server, all controllers, and a node
//! that only claims to run pods.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use stead_apiserver::{ApiServer, Config, Identity, NoNodes};
use stead_client::{Cache, Change, ObjectKey, WorkQueue};
use stead_controllers::storage::LocalVolumeDirs;
use stead_controllers::{Context, Controllers, Settings, bootstrap};
use stead_store::{Embedded, Limits};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) ctx: Context,
    directory: TempDir,
    shutdown: CancellationToken,
    controllers: Option<Controllers>,
    node: Option<tokio::task::JoinHandle<()>>,
}

impl World {
    /// A cluster without nodes.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Embedded::open(&directory.path().join("store"), Limits::default()).expect("a store"));
        let server = ApiServer::new(Config::default(), store, Arc::new(NoNodes));
        let client = Client::new(server.local_service(Identity::component("system:stead")), "default");
        let ctx = Context::start(client.clone());
        let shutdown = CancellationToken::new();
        let controllers = Controllers::start(&ctx, settings(&directory), &shutdown);
        let world = Self { client, ctx, directory, shutdown, controllers: Some(controllers), node: None };
        let accounts = &world.ctx.caches.service_accounts;
        world
            .until("the default ServiceAccount", accounts, |all| {
                all.iter().any(|a| namespace(&a.metadata) == "default")
            })
            .await;
        world
    }

    /// The same with a node `n1` that runs whatever it is given.
    pub(crate) async fn with_node() -> Self {
        let mut world = Self::start().await;
        world.join_node().await;
        world
    }

    /// Lets the node join.
    pub(crate) async fn join_node(&mut self) {
        let node = json!({
            "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                       "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let node: Node = serde_json::from_value(node).expect("a Node");
        let api: Api<Node> = Api::all(self.client.clone());
        let created = api.create(&PostParams::default(), &node).await.expect("a Node");
        let node = Node { metadata: created.metadata, ..node };
        api.replace_status("n1", &PostParams::default(), &node).await.expect("its status");
        self.node =
            Some(tokio::spawn(pretend(self.client.clone(), self.ctx.caches.pods.clone(), self.shutdown.clone())));
    }

    pub(crate) fn volumes_dir(&self) -> PathBuf {
        self.directory.path().join("volumes")
    }

    /// Creates an object from its manifest.
    pub(crate) async fn create<K>(&self, namespace: &str, manifest: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(manifest).expect("a manifest");
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &object).await.expect("created")
    }

    /// Waits until the objects of a cache satisfy a condition.
    pub(crate) async fn until<K>(&self, what: &str, cache: &Cache<K>, holds: impl Fn(&[Arc<K>]) -> bool)
    where
        K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let (changed, mut changes) = watch::channel(());
        cache.on_change(move |_| {
            changed.send_replace(());
        });
        let wait = async {
            while !holds(&cache.list()) {
                changes.changed().await.expect("the cache lives");
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{what}: not within {PATIENCE:?}; there is {:#?}", cache.list());
        }
    }

    /// Stops the controllers, and starts others that know nothing.
    pub(crate) async fn restart_controllers(&mut self) {
        self.shutdown.cancel();
        self.ended().await;
        self.shutdown = CancellationToken::new();
        self.ctx = Context::start(self.client.clone());
        self.controllers = Some(Controllers::start(&self.ctx, settings(&self.directory), &self.shutdown));
        self.ctx.caches.synced().await;
    }

    /// The store's revision once nobody has written for a while; fails when writing does not end.
    pub(crate) async fn quiet(&self) -> String {
        const STILL_READS: usize = 10;
        const READS_MAX: usize = 200;
        let api: Api<Node> = Api::all(self.client.clone());
        let (mut last, mut still) = (String::new(), 0);
        for _ in 0..READS_MAX {
            let listed = api.list(&ListParams::default()).await.expect("listed");
            let revision = listed.metadata.resource_version.expect("a revision");
            still = if revision == last { still + 1 } else { 0 };
            if still == STILL_READS {
                return revision;
            }
            last = revision;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("something keeps writing");
    }

    /// Stops everything in order.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.ended().await;
    }

    async fn ended(&mut self) {
        if let Some(controllers) = self.controllers.take() {
            controllers.ended().await;
        }
        if let Some(node) = self.node.take() {
            node.await.expect("the node ends well");
        }
    }
}

fn settings(directory: &TempDir) -> Settings {
    Settings {
        bootstrap: bootstrap::Settings {
            api_cluster_ip: [10, 96, 0, 1].into(),
            api_address: [192, 0, 2, 1].into(),
            api_port: 6443,
            dns_cluster_ip: [10, 96, 0, 10].into(),
        },
        ca_pem: "PEM".to_owned(),
        volume_dirs: Arc::new(LocalVolumeDirs::new("n1", directory.path().join("volumes"))),
    }
}

pub(crate) fn namespace(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// The node: pods bound to it become Ready with an address, and end when asked to.
async fn pretend(client: Client, pods: Cache<Pod>, shutdown: CancellationToken) {
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let on_pod = queue.clone();
    pods.on_change(move |change| match change {
        Change::Applied { new, .. } => on_pod.add(ObjectKey::of(&*new)),
        Change::Deleted { .. } => {}
    });
    let handler = move |key: ObjectKey| {
        let (client, pods) = (client.clone(), pods.clone());
        async move { pretend_pod(&client, &pods, &key).await }
    };
    queue.run(4, shutdown, handler).await;
}

async fn pretend_pod(client: &Client, pods: &Cache<Pod>, key: &ObjectKey) -> Result<(), kube::Error> {
    let Some(pod) = pods.get_key(key) else { return Ok(()) };
    let on_node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some("n1");
    let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    if on_node && pod.metadata.deletion_timestamp.is_some() {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        return match api.delete(&key.name, &now).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            answer => answer.map(|_| ()),
        };
    }
    let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    if !on_node || running {
        return Ok(());
    }
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let ip = format!("10.244.0.{}", uid.bytes().fold(2_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)));
    let time = jiff::Timestamp::now().to_string();
    let status = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": time,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}],
    }});
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(status)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map(|_| ()),
    }
}
