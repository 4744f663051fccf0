//! What the agent is told about its node and its cluster.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Settings of one agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Name of the Node object.
    pub node_name: String,
    /// Where pods, volumes and logs live.
    pub data_dir: PathBuf,
    /// Address other components reach this node at.
    pub node_ip: Ipv4Addr,
    /// Address of the cluster DNS.
    pub cluster_dns: Ipv4Addr,
    /// Domain of the cluster, `cluster.local`.
    pub cluster_domain: String,
    /// Cgroup under which all pods of this node live, e.g. `stead/1a2b3c`.
    pub cgroup_root: String,
    /// Most pods on this node.
    pub pods_max: u32,
}

impl AgentConfig {
    /// Directory of one pod.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(uid)
    }

    /// Directory of the logs of one pod.
    pub fn log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.data_dir.join("logs").join(format!("{namespace}_{name}_{uid}"))
    }

    /// Log file of one incarnation of a container.
    pub fn log_file(log_dir: &Path, container: &str, attempt: u32) -> PathBuf {
        log_dir.join(container).join(format!("{attempt}.log"))
    }
}
