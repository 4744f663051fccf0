//! What the agent sees of a pod and what the planner tells it to do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;
use stead_api::preparation::Request;

use super::preparing::Preparing;
use crate::restarts::Backoff;

/// Something that went wrong and when it may be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Reason shown as a container's waiting reason, e.g. `ErrImagePull`.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Not before.
    pub retry_at: Timestamp,
}

/// Whether the pod's volumes are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Volumes {
    /// Not tried yet.
    #[default]
    Unmounted,
    /// Ready to be used.
    Mounted,
    /// The last try failed.
    Failed(Failure),
}

/// The pod's shared namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its address; the node's with host networking.
    pub ip: IpAddr,
}

/// How one incarnation of a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Its first process runs.
    Running,
    /// Its first process has ended.
    Exited {
        /// Exit code; 128 + signal for a signal death.
        code: i32,
        /// Killed by the kernel for memory.
        oom_killed: bool,
        /// When.
        finished_at: Timestamp,
        /// Termination message.
        message: String,
    },
}

/// One incarnation of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Runtime id.
    pub id: String,
    /// Container name.
    pub name: String,
    /// 0 for the first incarnation; the restart count.
    pub attempt: u32,
    /// Image the incarnation was started from, as the pod named it then.
    pub image: String,
    /// Resolved image.
    pub image_id: String,
    /// When its process was executed.
    pub started_at: Timestamp,
    /// How it stands.
    pub state: InstanceState,
}

impl Instance {
    /// Whether its first process runs.
    pub fn is_running(&self) -> bool {
        self.state == InstanceState::Running
    }
}

/// The image a container is about to be started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// On the node; whether it must be asked for again is the pull policy's business.
    Present,
    /// Pulled, or confirmed, for this very start.
    Pulled,
    /// On its way.
    Pulling {
        /// How the try before this one failed.
        before: Option<Failure>,
    },
    /// The last try failed.
    Failed(Failure),
}

/// How far the postStart hook of a running incarnation has come; absent where it has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It runs.
    Running,
    /// It went well.
    Done,
    /// It did not.
    Failed,
}

/// What probes say of a running incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// The startup probe has passed (or there is none).
    pub started: bool,
    /// The readiness probe has passed (or there is none).
    pub ready: bool,
    /// The liveness probe has failed for good.
    pub liveness_failed: bool,
    /// The startup probe has failed for good.
    pub startup_failed: bool,
}

/// Everything the agent sees of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The pod's volumes.
    pub volumes: Volumes,
    /// The pod's sandbox.
    pub sandbox: Option<Sandbox>,
    /// Why there is no sandbox yet.
    pub sandbox_failure: Option<Failure>,
    /// Every incarnation the runtime still knows, in any order.
    pub instances: Vec<Instance>,
    /// By container name: the image of its next start. Absent when the node does not have it.
    pub images: BTreeMap<String, ImageState>,
    /// By container name: why its last start failed.
    pub start_failures: BTreeMap<String, Failure>,
    /// By incarnation id.
    pub probes: BTreeMap<String, Probed>,
    /// By incarnation id: its postStart hook.
    pub hooks: BTreeMap<String, Hook>,
    /// By container name: how often it was restarted lately.
    pub backoffs: BTreeMap<String, Backoff>,
    /// How far the agent is with making ready for the pod's replacement, if it works on that.
    pub preparing: Option<Preparing>,
    /// The API server no longer has the pod.
    pub gone: bool,
    /// Containers, sandbox and volumes have been removed.
    pub torn_down: bool,
    /// The node's address.
    pub host_ip: Option<IpAddr>,
    /// When the agent first saw the pod.
    pub first_seen: Option<Timestamp>,
}

impl Observed {
    /// The newest incarnation of a container.
    pub fn newest(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().filter(|instance| instance.name == name).max_by_key(|instance| instance.attempt)
    }

    /// The incarnation before the newest.
    pub fn previous(&self, name: &str) -> Option<&Instance> {
        let newest = self.newest(name)?.attempt;
        let older = self.instances.iter().filter(|instance| instance.name == name && instance.attempt < newest);
        older.max_by_key(|instance| instance.attempt)
    }

    /// Whether any container runs.
    pub fn any_running(&self) -> bool {
        self.instances.iter().any(Instance::is_running)
    }
}

/// Why a container is stopped; decides the event's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The pod ends.
    PodEnds,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Its image changed.
    Definition,
    /// Its postStart hook failed.
    PostStart,
}

/// What happened to a pod and is told once, as an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// A container that ended waits before it starts again.
    BackOff {
        /// Container name.
        container: String,
        /// The incarnation that ended.
        id: String,
    },
    /// The pod ran longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
}

/// One thing for the agent to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set the volumes up.
    MountVolumes,
    /// Make the sandbox and connect it.
    CreateSandbox {
        /// The pod has run before: its first sandbox is lost.
        again: bool,
    },
    /// Get the image of a container's next start, in the background.
    Pull {
        /// Container name.
        container: String,
        /// Image as the pod names it.
        image: String,
    },
    /// Start the next incarnation of a container.
    Start {
        /// Container name.
        container: String,
        /// Its restart count.
        attempt: u32,
    },
    /// Run the postStart hook of an incarnation, in the background.
    PostStart {
        /// Incarnation id.
        id: String,
        /// Container name.
        container: String,
    },
    /// Get the images of the pod's replacement, in the background.
    FetchImages {
        /// What is asked for.
        request: Box<Request>,
    },
    /// Run what is to run before the pod is replaced, in the background.
    PrepareHook {
        /// What is asked for.
        request: Box<Request>,
    },
    /// Give up what is done for a request that was taken away.
    StopPreparing,
    /// Stop an incarnation, in the background; again with a shorter grace period to hurry it.
    Stop {
        /// Incarnation id.
        id: String,
        /// Container name.
        container: String,
        /// Seconds between asking and killing.
        grace_s: i64,
        /// Why.
        cause: StopCause,
    },
    /// Remove a dead incarnation that nobody needs any more.
    Forget {
        /// Incarnation id.
        id: String,
    },
    /// Remove every container, the sandbox, the address and the volumes. The logs stay until the pod
    /// is gone.
    TearDown,
    /// Tell the API server that the pod has ended (grace 0, with its UID).
    Delete,
    /// Forget the pod altogether, logs included.
    Finish,
}

impl Action {
    /// The action in one word, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MountVolumes => "mount-volumes",
            Self::CreateSandbox { .. } => "create-sandbox",
            Self::Pull { .. } => "pull",
            Self::Start { .. } => "start",
            Self::PostStart { .. } => "post-start",
            Self::FetchImages { .. } => "fetch-images",
            Self::PrepareHook { .. } => "prepare-hook",
            Self::StopPreparing => "stop-preparing",
            Self::Stop { .. } => "stop",
            Self::Forget { .. } => "forget",
            Self::TearDown => "tear-down",
            Self::Delete => "delete",
            Self::Finish => "finish",
        }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPlan {
    /// In order.
    pub actions: Vec<Action>,
    /// What the API server should show; none when the pod is gone there.
    pub status: Option<PodStatus>,
    /// What is worth an event, each time it is seen; the same news is told once.
    pub news: Vec<News>,
    /// Plan again no later than this.
    pub wake_at: Option<Timestamp>,
}
