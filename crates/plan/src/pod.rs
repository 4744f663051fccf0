//! The life of one pod on its node: what to start, stop and report, given what the agent sees.
//!
//! [`plan`] is total and deterministic. The agent executes the actions, writes the status when it
//! differs from what the API server has, and plans again when something happens or at `wake_at`.
//! Behaviour: contract `pods.md`, sections 1.3–1.6 and 2.

mod conditions;
mod containers;
mod ends;
mod lifecycle;
mod preparing;
mod qos;
mod simulated;
mod status;
mod view;

pub use containers::{Declared, declared, is_sidecar};
pub use lifecycle::plan;
pub use preparing::{Part, Preparing};
pub use qos::{Qos, qos_class};
pub use simulated::{is_up, status_when_up};
pub use status::{CONTAINER_ID_SCHEME, long_name};
pub use view::{
    Action, Failure, Hook, ImageState, Instance, InstanceState, News, Observed, PodPlan, Probed, Sandbox, StopCause,
    Volumes,
};
