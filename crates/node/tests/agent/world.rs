//! One node: a store, an API server, and an agent that can be ended and started again.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ContainerStatus, Event, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount,
};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stead_apiserver::{ApiServer, Config, Identity, NoNodes};
use stead_client::{Cache, ListScope};
use stead_image::{ImageConfig, ImageStore, Mirror, RegistryConfig};
use stead_node::{Agent, AgentConfig};
use stead_runtime::{ContainerId, ContainerInfo};
use stead_store::{Embedded, Limits};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

use crate::process::{Machine, Process};
use crate::runtime::{Shared, Watched, runs};

/// Nothing here takes longer unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The image that is on the node.
pub(crate) const IMAGE: &str = "web:1";

pub(crate) struct World {
    pub(crate) client: Client,
    /// What was asked of the API server, as paths with their queries.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// Requests with this in their path are never answered.
    pub(crate) unanswered: Arc<Mutex<Option<&'static str>>>,
    pub(crate) runtime: Watched,
    pub(crate) network: Shared,
    pub(crate) pods: Cache<Pod>,
    pub(crate) images: Arc<ImageStore>,
    agent: Mutex<Option<Process>>,
    directory: TempDir,
}

impl Drop for World {
    /// Nothing of a world stays.
    fn drop(&mut self) {
        self.end_agent();
        let removed = std::fs::remove_dir_all(self.dir());
        if !std::thread::panicking() {
            removed.expect("nobody is left who writes there");
        }
    }
}

impl World {
    /// A node with an agent.
    pub(crate) async fn start() -> Self {
        Self::with_mirror(None).await
    }

    /// The same; images of `slow.test` are asked for at this address.
    pub(crate) async fn with_mirror(mirror: Option<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Embedded::open(&directory.path().join("store"), Limits::default()).expect("a store"));
        let server = ApiServer::new(Config::default(), store, Arc::new(NoNodes));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let unanswered: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let (log, silent) = (Arc::clone(&asked), Arc::clone(&unanswered));
        let service = server.local_service(Identity::component("system:stead"));
        // What the server does goes on when a client of it is killed.
        let of_server = tokio::runtime::Handle::current();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let path = request.uri().to_string();
            let is_silent = silent.lock().expect("no test panics here").is_some_and(|part| path.contains(part));
            log.lock().expect("no test panics here").push(path);
            let answer = AbortOnDropHandle::new(of_server.spawn(service.clone().oneshot(request)));
            async move { if is_silent { std::future::pending().await } else { answer.await.expect("no request panics") } }
        });
        let client = Client::new(service, "default");
        let mirrors = mirror.map(|url| ("slow.test".to_owned(), vec![Mirror { url }])).into_iter().collect();
        let registry = RegistryConfig { mirrors, ..RegistryConfig::default() };
        let images = ImageStore::open(&directory.path().join("images"), registry).expect("an image store");
        let world = Self {
            pods: Cache::start(Api::all(client.clone()), ListScope::default()),
            runtime: Watched::new(),
            network: Shared::default(),
            images: Arc::new(images),
            client,
            asked,
            unanswered,
            agent: Mutex::default(),
            directory,
        };
        world.image(IMAGE, None);
        for name in ["default", "kube-node-lease"] {
            let namespace = object::<Namespace>(json!({"metadata": {"name": name}}));
            Api::all(world.client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
        }
        world.create::<ServiceAccount>(json!({"metadata": {"name": "default"}})).await;
        world.start_agent().await;
        world
    }

    /// Kills the agent: containers, files and objects stay as they are.
    pub(crate) fn end_agent(&mut self) {
        self.agent = Mutex::default();
    }

    /// Starts an agent that knows nothing but what it finds.
    pub(crate) async fn start_agent(&self) {
        let config = AgentConfig {
            node_name: "n1".to_owned(),
            data_dir: self.directory.path().to_owned(),
            node_ip: Ipv4Addr::new(192, 0, 2, 1),
            cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
            cluster_domain: "cluster.local".to_owned(),
            cgroup_root: "test".to_owned(),
            pods_max: 10,
        };
        let machine = Machine {
            client: self.client.clone(),
            runtime: self.runtime.clone(),
            network: self.network.clone(),
            images: Arc::clone(&self.images),
        };
        let process = Process::start(config, machine).await;
        *self.agent.lock().expect("no test panics here") = Some(process);
    }

    /// The agent that was started last.
    pub(crate) fn agent(&self) -> Agent<Watched, Shared> {
        self.agent.lock().expect("no test panics here").as_ref().expect("one was started").agent()
    }

    /// What `stead down` leaves: files and objects, and nothing that runs. To be called without an agent.
    pub(crate) fn take_everything_down(&mut self) {
        self.runtime = Watched::new();
        self.network = Shared::default();
    }

    /// Makes an image of its own content that runs as this user; gives the directory of its layer.
    pub(crate) fn image(&self, name: &str, user: Option<&str>) -> PathBuf {
        let program = self.dir().join("program");
        std::fs::write(&program, format!("#! {name}")).expect("written");
        let (entrypoint, user) = (vec!["/bin/web".to_owned()], user.map(str::to_owned));
        let config = ImageConfig { entrypoint, user, ..ImageConfig::default() };
        let image = self.images.install_builtin(name, &program, config).expect("an image");
        image.layers.first().expect("a layer").clone()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create<K>(&self, manifest: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + serde::Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "default");
        api.create(&PostParams::default(), &object(manifest)).await.expect("created")
    }

    /// Creates a pod that is bound to the node, with the given fields of its spec; gives its UID.
    pub(crate) async fn pod(&self, name: &str, spec: Value) -> String {
        let mut manifest = json!({"metadata": {"name": name}, "spec": {
            "nodeName": "n1", "terminationGracePeriodSeconds": 5, "containers": [{"name": "c", "image": IMAGE}],
        }});
        for (field, value) in spec.as_object().expect("fields of a spec") {
            manifest["spec"][field] = value.clone();
        }
        self.create::<Pod>(manifest).await.metadata.uid.expect("a uid")
    }

    /// Deletes a pod with so much grace, or with its own.
    pub(crate) async fn delete(&self, name: &str, grace_s: Option<u32>) {
        let params = DeleteParams { grace_period_seconds: grace_s, ..DeleteParams::default() };
        self.pod_api().delete(name, &params).await.expect("asked for");
    }

    /// Makes a bound claim whose volume is a directory of this node; gives that directory.
    pub(crate) async fn claim(&self, name: &str) -> PathBuf {
        let path = self.dir().join("volumes").join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "local", "volumeName": format!("pv-{name}")});
        let claim: PersistentVolumeClaim = self.create(json!({"metadata": {"name": name}, "spec": spec})).await;
        let volume = json!({"metadata": {"name": format!("pv-{name}")}, "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "local",
            "local": {"path": path}, "claimRef": {"namespace": "default", "name": name, "uid": claim.metadata.uid},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}},
        }});
        let volume: PersistentVolume = object(volume);
        Api::all(self.client.clone()).create(&PostParams::default(), &volume).await.expect("a volume");
        path
    }

    /// Waits, on the watch, until a pod satisfies a condition; none is a pod that is not there.
    pub(crate) async fn until(&self, what: &str, name: &str, holds: impl Fn(Option<&Pod>) -> bool) -> Option<Arc<Pod>> {
        let (changed, mut changes) = watch::channel(());
        self.pods.on_change(move |_| {
            changed.send_replace(());
        });
        let wait = async {
            loop {
                self.assert_invariants().await;
                let pod = self.pods.get("default", name);
                if holds(pod.as_deref()) {
                    return pod;
                }
                changes.changed().await.expect("the cache lives");
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(pod) => pod,
            Err(_) => panic!(
                "{what}: not within {PATIENCE:?}; there is {:#?}\nand was asked {:?}\nand told {:#?}",
                self.pods.get("default", name),
                self.runtime.fake.calls(),
                self.told(name).await,
            ),
        }
    }

    pub(crate) async fn until_running(&self, name: &str, uid: &str) -> Arc<Pod> {
        let pod = self.until("running", name, |pod| {
            pod.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid) && phase(pod) == "Running" && is_up(pod))
        });
        pod.await.expect("just seen")
    }

    pub(crate) async fn until_gone(&self, name: &str) {
        self.until("gone", name, |pod| pod.is_none()).await;
    }

    /// Waits for something that no watch tells.
    pub(crate) async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.assert_invariants().await;
            if let Some(found) = look().await {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// I1, and I3: of each pod name that a claim's lock names, there is one UID.
    pub(crate) async fn assert_invariants(&self) {
        self.runtime.assert_no_identity_twice().await;
        for users in self.locks() {
            let mut names: Vec<&str> = users.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "a claim has two users of one name: {users}");
        }
    }

    /// What every lock of a claim says.
    pub(crate) fn locks(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir().join("volumes")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let locks = paths.filter(|path| path.extension().is_some_and(|extension| extension == "users"));
        // One may be taken away between the two looks.
        locks.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }

    /// The newest incarnation of a container of the pod with this UID.
    pub(crate) async fn container(&self, uid: &str, name: &str) -> Option<ContainerInfo> {
        use stead_runtime::Runtime;
        let inventory = self.runtime.fake.list().await.expect("a fake answers");
        let named =
            inventory.containers.into_iter().filter(|found| found.spec.sandbox.0 == uid && found.spec.name == name);
        named.max_by_key(|found| found.spec.attempt)
    }

    /// Waits until an incarnation runs.
    pub(crate) async fn until_runs(&self, uid: &str, name: &str, attempt: u32) -> ContainerId {
        self.eventually(&format!("{name} runs for the {attempt}. time"), async || {
            let found = self.container(uid, name).await?;
            (found.spec.attempt == attempt && runs(&found)).then_some(found.spec.id)
        })
        .await
    }

    /// Every event about a pod so far, as `Reason: message`.
    pub(crate) async fn told(&self, name: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let events = api.list(&ListParams::default()).await.expect("listed").items;
        let about = events.into_iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        about
            .map(|event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect()
    }

    /// Waits until an event about a pod begins like this.
    pub(crate) async fn until_told(&self, name: &str, beginning: &str) {
        self.eventually(beginning, async || {
            self.told(name).await.iter().any(|event| event.starts_with(beginning)).then_some(())
        })
        .await;
    }

    /// Nothing is left of any pod: no container, sandbox, address, directory, log or lock.
    pub(crate) async fn assert_nothing_left(&self) {
        use stead_net::Network;
        use stead_runtime::Runtime;
        self.eventually("everything given back", async || {
            let inventory = self.runtime.fake.list().await.expect("a fake answers");
            let entries = |dir: &str| std::fs::read_dir(self.dir().join(dir)).map_or(0, Iterator::count);
            let left = (
                inventory.containers.len() + inventory.sandboxes.len(),
                self.network.addresses().len(),
                entries("pods") + entries("logs"),
                self.locks().len(),
            );
            (left == (0, 0, 0, 0)).then_some(())
        })
        .await;
    }
}

fn object<K: DeserializeOwned>(manifest: Value) -> K {
    serde_json::from_value(manifest).expect("a manifest")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Status of a container, init or regular.
pub(crate) fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == container)
}

/// The reason why a container waits.
pub(crate) fn waits(pod: &Pod, container: &str) -> Option<String> {
    status(pod, container)?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

fn is_up(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.is_some_and(|all| all.iter().all(|status| status.state.as_ref().is_some_and(|s| s.running.is_some())))
}

/// A volume and its mount, of a claim.
pub(crate) fn with_claim(claim: &str) -> Value {
    json!({
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        "containers": [{"name": "c", "image": IMAGE, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
    })
}
