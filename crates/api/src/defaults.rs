//! What the API fills in when a client leaves it out (contract `defaults-validation.md`,
//! `statefulset.md` A). One function per kind, run on every decode, also from the store.
//!
//! It fills in constants and values derived from the object itself; what needs the cluster, a clock
//! or the old object is admission's and the handlers' work.

mod config;
mod containers;
mod network;
mod pod_spec;
mod quantities;
mod storage;
mod volumes;
mod workloads;

pub use config::{config_map, event, lease, namespace, node, secret, service_account};
pub use network::{endpoint_slice, endpoints, service};
pub use pod_spec::{pod, pod_template_spec};
pub use storage::{persistent_volume, persistent_volume_claim, storage_class};
pub use workloads::{controller_revision, deployment, replica_set, stateful_set};

/// Fills in a text that is absent or empty, which Go does not tell apart.
fn fill(field: &mut Option<String>, default: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(default.to_owned());
    }
}

/// Whether a text is absent or empty.
fn unset(field: &Option<String>) -> bool {
    field.as_deref().unwrap_or_default().is_empty()
}
