//! The record of each pod on disk: enough to take a pod away properly whose deletion the agent slept
//! through.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_disk::{Durability, replace};
use stead_net::Network;
use stead_runtime::{Inventory, Runtime};

use super::{RETRY_FIRST, Worker};
use crate::agent::Inner;
use crate::config::AgentConfig;

const RECORD: &str = "pod.json";

/// Writes the record of a pod before anything is made for it, trying until it is there or the pod is no
/// longer wanted. False: the agent shuts down.
pub(super) async fn keep<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) -> bool {
    loop {
        let (pod, over) = {
            let state = worker.state();
            (Arc::clone(&state.pod), state.gone || state.torn_down)
        };
        if over || pod.metadata.deletion_timestamp.is_some() {
            return true;
        }
        let config = inner.config.clone();
        let written = tokio::task::spawn_blocking(move || record(&config, &pod)).await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => return true,
            Err(error) => tracing::error!(pod = %worker.key, %error, "cannot record the pod, trying again"),
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return false,
            () = worker.wake.notified() => {}
            () = tokio::time::sleep(RETRY_FIRST) => {}
        }
    }
}

fn record(config: &AgentConfig, pod: &Pod) -> io::Result<()> {
    let dir = config.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
    fs::create_dir_all(&dir)?;
    replace(&dir.join(RECORD), &serde_json::to_vec(pod)?, 0o600, Durability::Process)
}

/// Every pod that an earlier agent made something for, by UID: those with a record and those with a
/// sandbox. Of a pod whose record is lost or damaged only the names of its sandbox are known, which is
/// enough to take it away.
pub(crate) fn known_pods(
    config: &AgentConfig,
    inventory: &Inventory,
) -> Result<BTreeMap<String, Pod>, (PathBuf, io::Error)> {
    let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
    for sandbox in &inventory.sandboxes {
        let spec = &sandbox.spec;
        pods.insert(spec.id.0.clone(), bare(&spec.id.0, &spec.namespace, &spec.name));
    }
    let root = config.data_dir.join("pods");
    fs::create_dir_all(&root).map_err(|error| (root.clone(), error))?;
    for entry in fs::read_dir(&root).map_err(|error| (root.clone(), error))? {
        let dir = entry.map_err(|error| (root.clone(), error))?.path();
        let Some(uid) = dir.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        match read(&dir.join(RECORD)) {
            Ok(pod) => {
                pods.insert(uid, pod);
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "no readable record of a pod");
                pods.entry(uid.clone()).or_insert_with(|| bare(&uid, "", &uid));
            }
        }
    }
    Ok(pods)
}

fn read(path: &std::path::Path) -> io::Result<Pod> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn bare(uid: &str, namespace: &str, name: &str) -> Pod {
    let metadata = ObjectMeta {
        uid: Some(uid.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        // Whatever still runs of it gets the least there is.
        deletion_grace_period_seconds: Some(1),
        ..ObjectMeta::default()
    };
    Pod { metadata, ..Pod::default() }
}
