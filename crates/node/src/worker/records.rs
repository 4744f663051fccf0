//! The record of each pod on disk: enough to take a pod away properly whose deletion the agent slept
//! through.

use std::fs;
use std::io;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;

use crate::config::AgentConfig;

const RECORD: &str = "pod.json";

/// Writes the record of a pod.
pub(super) fn record(config: &AgentConfig, pod: &Pod) -> io::Result<()> {
    let dir = config.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
    fs::create_dir_all(&dir)?;
    let path = dir.join(RECORD);
    let fresh = dir.join(format!("{RECORD}.new"));
    fs::write(&fresh, serde_json::to_vec(pod)?)?;
    fs::rename(fresh, path)
}

/// Every pod with a record. A record that cannot be parsed is an error: its pod would be forgotten.
pub(crate) fn recorded_pods(config: &AgentConfig) -> Result<Vec<Pod>, (PathBuf, io::Error)> {
    let root = config.data_dir.join("pods");
    fs::create_dir_all(&root).map_err(|error| (root.clone(), error))?;
    let mut pods = Vec::new();
    for entry in fs::read_dir(&root).map_err(|error| (root.clone(), error))? {
        let path = entry.map_err(|error| (root.clone(), error))?.path().join(RECORD);
        match fs::read(&path) {
            Ok(bytes) => pods.push(serde_json::from_slice(&bytes).map_err(|error| (path, error.into()))?),
            // The worker stopped before it wrote the record, so it had made nothing yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(pods)
}
