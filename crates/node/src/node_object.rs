//! The Node object: registration, status and heartbeat (contract `pods.md`, section 10).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use stead_api::preparation::PREPARES;
use stead_client::{Change, EventType, reference_to};
use tokio::sync::Notify;

use crate::agent::Inner;
use crate::config::AgentConfig;

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_S: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
/// Status is written on change, and in any case once in so many renewals.
const RENEWALS_PER_STATUS: u32 = 30;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(7);
/// Memory kept back from pods (contract rule 6).
const EVICTION_BYTES: i64 = 100 << 20;

/// What the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpus: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) disk_bytes: i64,
    pub(crate) pods: i64,
}

impl Capacity {
    /// Asks the kernel.
    pub(crate) fn measure(config: &AgentConfig) -> Self {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total_kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok());
        let disk = rustix::fs::statvfs(&config.data_dir).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        Self {
            cpus: std::thread::available_parallelism().map_or(1, |cpus| i64::try_from(cpus.get()).unwrap_or(1)),
            memory_bytes: total_kib.unwrap_or(0).saturating_mul(1024),
            disk_bytes: i64::try_from(disk).unwrap_or(i64::MAX),
            pods: config.pods_max.into(),
        }
    }

    /// What pods may have of a resource, in its unit.
    pub(crate) fn allocatable(&self, resource: &str) -> Option<i64> {
        match resource {
            "cpu" => Some(self.cpus),
            "memory" => Some((self.memory_bytes - EVICTION_BYTES).max(0)),
            "ephemeral-storage" => Some(self.disk_bytes / 10 * 9),
            _ => None,
        }
    }

    fn list(&self, reserve: bool) -> BTreeMap<String, Quantity> {
        let part = |resource: &str, whole: i64| match self.allocatable(resource) {
            Some(part) if reserve => part,
            _ => whole,
        };
        let memory = part("memory", self.memory_bytes);
        let disk = part("ephemeral-storage", self.disk_bytes);
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(disk.to_string())),
            ("pods".to_owned(), Quantity(self.pods.to_string())),
        ])
    }
}

/// Keeps the node registered, and its status and lease fresh, until shutdown. A node object that somebody
/// deletes while the agent runs comes back: without one its pods would be taken for lost.
pub(crate) async fn keep_registered<R, N>(inner: Arc<Inner<R, N>>) {
    let deleted = Arc::new(Notify::new());
    let (tell, name) = (Arc::clone(&deleted), inner.config.node_name.clone());
    inner.caches.nodes.on_change(move |change| match change {
        Change::Deleted { old } if old.metadata.name.as_deref() == Some(name.as_str()) => tell.notify_one(),
        Change::Deleted { .. } | Change::Applied { .. } => {}
    });
    let Some(mut node) = until_registered(&inner).await else { return };
    inner.recorder.event(&reference_to(&node), EventType::Normal, "Starting", "Starting kubelet.");
    let mut renewals = 0_u32;
    let mut ticks = tokio::time::interval(RENEW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = deleted.notified() => {
                tracing::warn!("the node's object was deleted; registering again");
                let Some(again) = until_registered(&inner).await else { return };
                node = again;
            }
            _ = ticks.tick() => {}
        }
        if let Err(error) = renew(&inner, &node).await {
            tracing::warn!(%error, "cannot renew the node's lease");
        }
        if renewals.is_multiple_of(RENEWALS_PER_STATUS)
            && let Err(error) = write_status(&inner, &node).await
        {
            tracing::warn!(%error, "cannot write the node's status");
        }
        renewals = renewals.wrapping_add(1);
    }
}

/// The node's object once it is there; none when the agent is shut down before.
async fn until_registered<R, N>(inner: &Inner<R, N>) -> Option<Node> {
    let mut backoff = RETRY_FIRST;
    loop {
        match register(inner).await {
            Ok(node) => return Some(node),
            Err(error) => tracing::warn!(%error, "cannot register the node, trying again"),
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return None,
            () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(RETRY_MAX),
        }
    }
}

async fn register<R, N>(inner: &Inner<R, N>) -> Result<Node, kube::Error> {
    let api: Api<Node> = Api::all(inner.client.clone());
    let node = match api.create(&PostParams::default(), &new_node(inner)).await {
        Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {
            let own = serde_json::json!({"metadata": {"labels": labels(&inner.config), "annotations": annotations()}});
            api.patch(&inner.config.node_name, &PatchParams::default(), &Patch::Merge(own)).await?
        }
        other => other?,
    };
    write_status(inner, &node).await
}

fn labels(config: &AgentConfig) -> BTreeMap<String, String> {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    [("kubernetes.io/hostname", config.node_name.as_str()), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", arch)]
        .into_iter()
        .chain([("beta.kubernetes.io/os", "linux"), ("beta.kubernetes.io/arch", arch)])
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What this agent can be asked for that others cannot.
fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([(PREPARES.to_owned(), "true".to_owned())])
}

fn new_node<R, N>(inner: &Inner<R, N>) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(inner.config.node_name.clone()),
            labels: Some(labels(&inner.config)),
            annotations: Some(annotations()),
            ..ObjectMeta::default()
        },
        status: Some(status(inner, &[])),
        ..Node::default()
    }
}

/// Writes the status, and takes away the taint that a node is created with.
async fn write_status<R, N>(inner: &Inner<R, N>, node: &Node) -> Result<Node, kube::Error> {
    let api: Api<Node> = Api::all(inner.client.clone());
    let name = node.metadata.name.clone().unwrap_or_default();
    let current = api.get(&name).await?;
    let old = current.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let patch = serde_json::json!({"status": status(inner, &old)});
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await
}

fn status<R, N>(inner: &Inner<R, N>, old: &[NodeCondition]) -> NodeStatus {
    let config = &inner.config;
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        capacity: Some(inner.capacity.list(false)),
        allocatable: Some(inner.capacity.list(true)),
        conditions: Some(conditions(old)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: 10250 }) }),
        node_info: Some(system_info()),
        ..NodeStatus::default()
    }
}

fn conditions(old: &[NodeCondition]) -> Vec<NodeCondition> {
    let now = Time(Timestamp::now());
    let all = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    all.map(|(type_, status, reason, message)| {
        let before = old.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: before
                .and_then(|before| before.last_transition_time.clone())
                .or_else(|| Some(now.clone())),
        }
    })
    .to_vec()
}

fn system_info() -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let release = read("/etc/os-release");
    let pretty = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned());
    let version = env!("CARGO_PKG_VERSION");
    NodeSystemInfo {
        machine_id: read("/etc/machine-id"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        os_image: pretty.unwrap_or_else(|| "Linux".to_owned()),
        container_runtime_version: format!("stead://{version}"),
        kubelet_version: format!("v1.36.2+stead.{version}"),
        operating_system: "linux".to_owned(),
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        ..NodeSystemInfo::default()
    }
}

/// Renews the node's lease, which goes with this very node object.
async fn renew<R, N>(inner: &Inner<R, N>, node: &Node) -> Result<(), kube::Error> {
    let api: Api<Lease> = Api::namespaced(inner.client.clone(), LEASE_NAMESPACE);
    let name = &inner.config.node_name;
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let spec = LeaseSpec {
        holder_identity: Some(name.clone()),
        lease_duration_seconds: Some(LEASE_S),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = serde_json::json!({"metadata": {"ownerReferences": [owner]}, "spec": spec});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        other => return other.map(drop),
    }
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(LEASE_NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
