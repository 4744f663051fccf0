//! What makes an object unacceptable, in the words Kubernetes uses (contract
//! `defaults-validation.md`, `statefulset.md` B).
//!
//! One `…_create`, `…_update`, `…_status_update` and `…_warnings` per kind; each looks at the whole
//! object and gives every error it finds. Objects have been defaulted before. What needs other
//! objects, a clock or the requesting user is admission's work, not done here.

mod affinity;
mod amounts;
mod claims;
mod cluster;
mod config;
mod containers;
mod diff;
mod dns;
mod endpoints;
mod env;
mod go;
mod ip;
mod labels;
mod metadata;
mod mounts;
pub(crate) mod names;
mod path;
mod persistent_volumes;
mod pod;
mod pod_scheduling;
mod pod_spec;
mod pod_warnings;
mod probes;
mod projections;
mod records;
mod resources;
mod security;
mod service;
mod service_addresses;
mod special_containers;
mod stateful_set;
mod volumes;
mod workloads;

pub use claims::{
    persistent_volume_claim_create, persistent_volume_claim_status_update, persistent_volume_claim_update,
    persistent_volume_claim_warnings,
};
pub use cluster::{
    namespace_create, namespace_finalize_update, namespace_status_update, namespace_update, namespace_warnings,
    node_create, node_status_update, node_update, node_warnings,
};
pub use config::{
    config_map_create, config_map_update, config_map_warnings, secret_create, secret_update, secret_warnings,
    service_account_create, service_account_update, service_account_warnings,
};
pub use endpoints::{
    endpoint_slice_create, endpoint_slice_update, endpoint_slice_warnings, endpoints_create, endpoints_update,
    endpoints_warnings,
};
pub use metadata::{NameRule, metadata_create, metadata_update};
pub use persistent_volumes::{
    persistent_volume_create, persistent_volume_status_update, persistent_volume_update, persistent_volume_warnings,
    storage_class_create, storage_class_update, storage_class_warnings,
};
pub use pod::{pod_create, pod_status_update, pod_update};
pub use pod_warnings::pod_warnings;
pub use records::{
    event_create, event_update, event_warnings, lease_create, lease_update, lease_warnings, new_event_create,
    new_event_update,
};
pub use service::{service_create, service_status_update, service_update, service_warnings};
pub use stateful_set::{
    controller_revision_create, controller_revision_update, controller_revision_warnings, stateful_set_create,
    stateful_set_status_update, stateful_set_update, stateful_set_warnings,
};
pub use workloads::{
    deployment_create, deployment_status_update, deployment_update, deployment_warnings, replica_set_create,
    replica_set_status_update, replica_set_update, replica_set_warnings, scale,
};
