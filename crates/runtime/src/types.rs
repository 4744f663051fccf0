//! What the agent and the supervisor say to each other about sandboxes and containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A pod's sandbox; the pod UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SandboxId(pub String);

/// One incarnation of one container; unique for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(pub String);

/// What a sandbox is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The pod UID.
    pub id: SandboxId,
    /// Pod namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// Host name inside the sandbox.
    pub hostname: String,
    /// Use the node's network namespace and host name.
    pub host_network: bool,
    /// Sysctls set in the sandbox's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Path of the pod's cgroup below each hierarchy's root, e.g. `kubepods/burstable/pod<uid>`.
    pub cgroup: String,
    /// Limits of the pod cgroup as a whole.
    pub resources: Resources,
}

/// A sandbox as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// What it was made from.
    pub spec: SandboxSpec,
    /// Path of its network namespace; none with `host_network`.
    pub netns: Option<PathBuf>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Cgroup limits; none leaves the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `cpu.shares` scale (1024 = one CPU's worth); converted to a weight under cgroup v2.
    pub cpu_shares: Option<u64>,
    /// CPU quota per period, in µs.
    pub cpu_quota_us: Option<i64>,
    /// CPU period, in µs.
    pub cpu_period_us: Option<u64>,
    /// Memory limit, in bytes.
    pub memory_limit_bytes: Option<i64>,
    /// Most processes.
    pub pids_max: Option<i64>,
}

/// Where a container's root file system comes from: image layers under an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Read-only layer directories, lowest first.
    pub layers: Vec<PathBuf>,
    /// Mount the root read-only.
    pub readonly: bool,
}

/// A bind mount from the node into the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// Path on the node.
    pub source: PathBuf,
    /// Path in the container.
    pub destination: PathBuf,
    /// Mount it read-only.
    pub readonly: bool,
    /// Propagation: `private`, `rslave` or `rshared`.
    pub propagation: Propagation,
}

/// Mount propagation of a volume (contract `pods.md` 5.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Nothing crosses.
    #[default]
    Private,
    /// Later mounts on the node appear in the container.
    HostToContainer,
    /// Both ways; privileged containers only.
    Bidirectional,
}

/// Who the process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Supplemental groups.
    pub additional_gids: Vec<u32>,
    /// Home directory, for `HOME` where the environment has none; `/` if it is not known.
    #[serde(default)]
    pub home: Option<String>,
}

/// Seccomp profile of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The runtime's default profile.
    #[default]
    RuntimeDefault,
    /// No filter.
    Unconfined,
}

/// What a container is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its identity.
    pub id: ContainerId,
    /// The sandbox it joins.
    pub sandbox: SandboxId,
    /// Container name in the pod.
    pub name: String,
    /// Restart count: 0 for the first incarnation.
    pub attempt: u32,
    /// Image as the pod names it, kept for status after an agent restart.
    pub image: String,
    /// Resolved image reference (`repo@sha256:…` or the image id), for status.
    pub image_id: String,
    /// Root file system.
    pub rootfs: RootFs,
    /// Full argument vector, never empty.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Working directory; created if missing.
    pub cwd: PathBuf,
    /// Who it runs as.
    pub user: User,
    /// Volumes and managed files.
    pub mounts: Vec<BindMount>,
    /// Cgroup limits of this container.
    pub resources: Resources,
    /// `oom_score_adj` to try for; lowering may be refused by the kernel and is then left alone.
    pub oom_score_adj: i32,
    /// Full privileges.
    pub privileged: bool,
    /// Capabilities on top of the default set, without `CAP_`; `ALL` is known.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken from the default set, without `CAP_`; `ALL` is known.
    pub capabilities_drop: Vec<String>,
    /// Sets no_new_privs.
    pub no_new_privileges: bool,
    /// Seccomp profile.
    pub seccomp: Seccomp,
    /// Share the node's PID namespace.
    pub host_pid: bool,
    /// Allocate a terminal for the container.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin: bool,
    /// Log file written in the CRI line format.
    pub log_path: PathBuf,
    /// Opaque words of the agent, given back by `list` (hashes, grace periods, …).
    pub annotations: BTreeMap<String, String>,
}

/// How a container stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Its first process runs.
    Running {
        /// Process id on the node.
        pid: i32,
    },
    /// Its first process has ended.
    Exited {
        /// Exit code; 128 + signal for a signal death.
        code: i32,
        /// Whether the kernel killed it for memory.
        oom_killed: bool,
        /// When it was reaped.
        finished_at: Timestamp,
    },
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// What it was made from.
    pub spec: ContainerSpec,
    /// When its process was executed.
    pub started_at: Timestamp,
    /// How it stands.
    pub state: ContainerState,
}

/// Everything the supervisor knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// Containers, running and exited, until removed.
    pub containers: Vec<ContainerInfo>,
}

/// A process to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Argument vector.
    pub args: Vec<String>,
    /// Whether `stdin` is a terminal that becomes the controlling one.
    pub tty: bool,
}

/// Why the runtime could not do it; the text is what a pod's status shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RuntimeError {
    /// No such container or sandbox.
    #[error("{0} not found")]
    NotFound(String),
    /// The process could not be executed (missing binary, bad user, …).
    #[error("failed to start container: {0}")]
    Start(String),
    /// The specification is refused (image with unsafe paths, …).
    #[error("failed to create container: {0}")]
    Create(String),
    /// The supervisor is not reachable.
    #[error("supervisor is not reachable: {0}")]
    Unreachable(String),
    /// Anything else the kernel refused.
    #[error("{0}")]
    Other(String),
}
