//! The Node object and its lease, as the real agent keeps them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use stead_api::preparation::PREPARES;
use stead_client::{Cache, Change, ListScope};
use tokio::sync::Notify;

use crate::cluster::machine::Machine;

const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// Registers the node, again whenever its object is deleted, and renews its lease for ever.
pub(super) async fn keep_registered(machine: Machine, client: Client) {
    let deleted = Arc::new(Notify::new());
    let tell = Arc::clone(&deleted);
    let own = ListScope { fields: Some(format!("metadata.name={}", machine.name())), ..ListScope::default() };
    let nodes: Cache<Node> = Cache::start(Api::all(client.clone()), own);
    nodes.on_change(move |change| match change {
        Change::Deleted { .. } => tell.notify_one(),
        Change::Applied { .. } => {}
    });
    loop {
        while let Err(error) = register(&machine, &client).await {
            tracing::debug!(%error, "cannot register the node");
            tokio::time::sleep(RETRY).await;
        }
        tokio::select! {
            biased;
            () = deleted.notified() => {}
            () = keep_renewing(&machine, &client) => {}
        }
    }
}

async fn keep_renewing(machine: &Machine, client: &Client) {
    loop {
        if let Err(error) = renew(machine, client).await {
            tracing::debug!(%error, "cannot renew the lease");
        }
        tokio::time::sleep(RENEW).await;
    }
}

async fn register(machine: &Machine, client: &Client) -> kube::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let name = machine.name();
    let mut node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    if machine.prepares() {
        node["metadata"]["annotations"] = json!({PREPARES: "true"});
    }
    let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {}
        answer => drop(answer?),
    }
    let held = api.get_status(name).await?;
    if held.status.is_some_and(|status| status.conditions.is_some_and(|conditions| !conditions.is_empty())) {
        return Ok(());
    }
    let time = seconds(machine.wall().now());
    let room = json!({"cpu": "8", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    let status = json!({"status": {
        "allocatable": room, "capacity": room,
        "addresses": [{"type": "InternalIP", "address": machine.ip()}, {"type": "Hostname", "address": name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                        "lastHeartbeatTime": time, "lastTransitionTime": time}],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)
}

async fn renew(machine: &Machine, client: &Client) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let name = machine.name();
    let time = machine.wall().now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await {
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        answer => return answer.map(drop),
    }
    let lease: Lease =
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &lease).await.map(drop)
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
