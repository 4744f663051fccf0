//! The simulated Node objects and their leases: made, kept fresh, taken away.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use stead_client::kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use stead_client::kube::{self, Api, Client, ResourceExt};
use stead_plan::nodes::{SIMULATED_LABEL, is_simulated};
use tokio_util::sync::CancellationToken;

use super::{Addresses, SimulateError};

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_S: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
/// Requests about nodes in flight at once.
const AT_ONCE: usize = 16;

/// Which nodes to simulate.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// How many.
    pub count: u32,
    /// Their names are this, a dash and a number from 0.
    pub prefix: String,
    /// Pods that fit on one.
    pub pods_per_node: u32,
    /// Processors of one.
    pub cpus: u32,
    /// Memory of one, in GiB.
    pub memory_gib: u32,
}

/// A node that is simulated here.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) name: String,
    pub(super) ip: Ipv4Addr,
}

impl Fleet {
    /// Gives every node its name and its address.
    pub(super) fn place(&self, addresses: &mut Addresses) -> Result<Vec<Placed>, SimulateError> {
        let place = |n: u32| {
            let ip = addresses.take().ok_or(SimulateError::NoRoom(self.count))?;
            Ok(Placed { name: format!("{}-{n}", self.prefix), ip })
        };
        (0..self.count).map(place).collect()
    }

    /// Makes the nodes and their leases, until `stopping`. Nodes that an earlier run left are taken over.
    ///
    /// What has been asked for is waited for, also when something fails: a request given up would be carried
    /// out all the same, and a node could appear after all were taken away.
    pub(super) async fn register(
        &self,
        client: &Client,
        placed: &[Placed],
        stopping: &CancellationToken,
    ) -> Result<(), SimulateError> {
        let failed_already = CancellationToken::new();
        let register = |node: &'_ Placed| {
            let (node, failed_already) = (node.clone(), failed_already.clone());
            async move {
                if stopping.is_cancelled() || failed_already.is_cancelled() {
                    return Ok(());
                }
                let registered = self.register_with_lease(client, &node).await;
                if registered.is_err() {
                    failed_already.cancel();
                }
                registered
            }
        };
        let outcomes: Vec<_> = stream::iter(placed).map(register).buffer_unordered(AT_ONCE).collect().await;
        outcomes.into_iter().collect()
    }

    async fn register_with_lease(&self, client: &Client, node: &Placed) -> Result<(), SimulateError> {
        let made = self.register_one(client, node).await?;
        let lease = renew(client, &node.name, made.uid().as_deref()).await;
        lease.map_err(|source| failed(format!("make the lease of node {}", node.name), source))
    }

    async fn register_one(&self, client: &Client, node: &Placed) -> Result<Node, SimulateError> {
        let api: Api<Node> = Api::all(client.clone());
        let what = || format!("register node {}", node.name);
        let wanted = self.node(node, Timestamp::now());
        match api.create(&PostParams::default(), &wanted).await {
            Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {}
            answer => return answer.map_err(|source| failed(what(), source)),
        }
        let held = api.get(&node.name).await.map_err(|source| failed(what(), source))?;
        if !is_simulated(&held) {
            return Err(SimulateError::Foreign(node.name.clone()));
        }
        let status = Patch::Merge(serde_json::json!({"status": wanted.status}));
        let answer = api.patch_status(&node.name, &PatchParams::default(), &status).await;
        answer.map_err(|source| failed(what(), source))
    }

    /// Takes the nodes away; their leases are collected after them. That one is gone already is fine.
    pub(super) async fn remove(&self, client: &Client, placed: &[Placed]) -> Result<(), SimulateError> {
        let all = stream::iter(placed).map(|node| async move {
            let api: Api<Node> = Api::all(client.clone());
            let what = || format!("remove node {}", node.name);
            let held = api.get_opt(&node.name).await.map_err(|source| failed(what(), source))?;
            let Some(held) = held.filter(is_simulated) else { return Ok(()) };
            let preconditions = Preconditions { uid: held.uid(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match api.delete(&node.name, &params).await {
                Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
                answer => answer.map(drop).map_err(|source| failed(what(), source)),
            }
        });
        all.buffer_unordered(AT_ONCE).try_collect().await
    }

    fn node(&self, node: &Placed, now: Timestamp) -> Node {
        let labels = [("kubernetes.io/hostname", &*node.name), ("kubernetes.io/os", "linux")];
        let labels = labels.into_iter().chain([("kubernetes.io/arch", "amd64"), (SIMULATED_LABEL, "true")]);
        let amounts = BTreeMap::from([
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Gi", self.memory_gib))),
            ("ephemeral-storage".to_owned(), Quantity("1Ti".to_owned())),
            ("pods".to_owned(), Quantity(self.pods_per_node.to_string())),
        ]);
        let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
        Node {
            metadata: ObjectMeta {
                name: Some(node.name.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
                ..ObjectMeta::default()
            },
            status: Some(NodeStatus {
                addresses: Some(vec![
                    address("InternalIP", node.ip.to_string()),
                    address("Hostname", node.name.clone()),
                ]),
                capacity: Some(amounts.clone()),
                allocatable: Some(amounts),
                conditions: Some(conditions(now)),
                node_info: Some(system_info()),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }
}

/// Renews the leases for as long as the nodes are to look alive.
pub(super) async fn keep_leases(client: &Client, placed: &[Placed]) {
    let mut ticks = tokio::time::interval(RENEW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The leases were just made.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let renewals = stream::iter(placed).map(|node| async move {
            if let Err(error) = renew(client, &node.name, None).await {
                tracing::warn!(node = node.name, %error, "cannot renew a lease, trying again");
            }
        });
        renewals.buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

fn conditions(now: Timestamp) -> Vec<NodeCondition> {
    let all = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("Ready", "True", "KubeletReady"),
    ];
    all.map(|(type_, status, reason)| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some("this node is simulated".to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    })
    .to_vec()
}

fn system_info() -> NodeSystemInfo {
    let version = env!("CARGO_PKG_VERSION");
    NodeSystemInfo {
        os_image: "simulated".to_owned(),
        container_runtime_version: format!("simulated://{version}"),
        kubelet_version: format!("v1.36.2+stead.{version}"),
        operating_system: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        ..NodeSystemInfo::default()
    }
}

/// Renews the lease of a node, or makes it; one that is made with the node's UID goes with the node.
async fn renew(client: &Client, name: &str, node_uid: Option<&str>) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(client.clone(), LEASE_NAMESPACE);
    let spec = LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(LEASE_S),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(serde_json::json!({"spec": spec}));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        answer => return answer.map(drop),
    }
    let owner = |uid: &str| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: node_uid.map(|uid| vec![owner(uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}

fn failed(what: String, source: kube::Error) -> SimulateError {
    SimulateError::Api { what, source: Box::new(source) }
}
