//! The kinds Stead serves, one file per kind or per close family. Each implements
//! [`Spec`](crate::registry::Spec) for a k8s-openapi type with the facts of the contract
//! (`resources.tsv`); defaults and validation live in their own modules.

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::api::storage::v1 as storage;

use crate::registry::Kind;

mod batch_jobs;
mod cluster_policy;
mod config;
mod daemon_set;
mod deployment;
mod endpoints;
mod event;
mod lease;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod pod_spec;
mod pod_template;
mod qos;
mod quotas;
mod roles;
mod service;
mod stateful_set;
mod volumes;

pub use qos::qos_class;

/// Every kind, in discovery order: groups as Kubernetes ranks them, resources by name.
pub static ALL: &[Kind] = &[
    Kind::of::<core::ConfigMap>(),
    Kind::of::<core::Endpoints>(),
    Kind::of::<core::Event>(),
    Kind::of::<core::LimitRange>(),
    Kind::of::<core::Namespace>(),
    Kind::of::<core::Node>(),
    Kind::of::<core::PersistentVolumeClaim>(),
    Kind::of::<core::PersistentVolume>(),
    Kind::of::<core::Pod>(),
    Kind::of::<core::PodTemplate>(),
    Kind::of::<core::ReplicationController>(),
    Kind::of::<core::ResourceQuota>(),
    Kind::of::<core::Secret>(),
    Kind::of::<core::ServiceAccount>(),
    Kind::of::<core::Service>(),
    Kind::of::<apps::ControllerRevision>(),
    Kind::of::<apps::DaemonSet>(),
    Kind::of::<apps::Deployment>(),
    Kind::of::<apps::ReplicaSet>(),
    Kind::of::<apps::StatefulSet>(),
    Kind::of::<batch::CronJob>(),
    Kind::of::<batch::Job>(),
    Kind::of::<networking::IngressClass>(),
    Kind::of::<networking::Ingress>(),
    Kind::of::<networking::NetworkPolicy>(),
    Kind::of::<policy::PodDisruptionBudget>(),
    Kind::of::<rbac::ClusterRoleBinding>(),
    Kind::of::<rbac::ClusterRole>(),
    Kind::of::<rbac::RoleBinding>(),
    Kind::of::<rbac::Role>(),
    Kind::of::<storage::StorageClass>(),
    Kind::of::<scheduling::PriorityClass>(),
    Kind::of::<coordination::Lease>(),
    Kind::of::<discovery::EndpointSlice>(),
];
