//! What the API fills in when a client leaves it out (contract `defaults-validation.md`).

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Fills in a Namespace.
pub fn namespace(_object: &mut Namespace) {}

/// Fills in a Node.
pub fn node(_object: &mut Node) {}

/// Fills in a Pod.
pub fn pod(_object: &mut Pod) {}

/// Fills in a Service.
pub fn service(_object: &mut Service) {}

/// Fills in a Endpoints.
pub fn endpoints(_object: &mut Endpoints) {}

/// Fills in a EndpointSlice.
pub fn endpoint_slice(_object: &mut EndpointSlice) {}

/// Fills in a ConfigMap.
pub fn config_map(_object: &mut ConfigMap) {}

/// Fills in a Secret.
pub fn secret(_object: &mut Secret) {}

/// Fills in a ServiceAccount.
pub fn service_account(_object: &mut ServiceAccount) {}

/// Fills in a PersistentVolume.
pub fn persistent_volume(_object: &mut PersistentVolume) {}

/// Fills in a PersistentVolumeClaim.
pub fn persistent_volume_claim(_object: &mut PersistentVolumeClaim) {}

/// Fills in a StorageClass.
pub fn storage_class(_object: &mut StorageClass) {}

/// Fills in a StatefulSet.
pub fn stateful_set(_object: &mut StatefulSet) {}

/// Fills in a ControllerRevision.
pub fn controller_revision(_object: &mut ControllerRevision) {}

/// Fills in a Deployment.
pub fn deployment(_object: &mut Deployment) {}

/// Fills in a ReplicaSet.
pub fn replica_set(_object: &mut ReplicaSet) {}

/// Fills in a Event.
pub fn event(_object: &mut Event) {}

/// Fills in a Lease.
pub fn lease(_object: &mut Lease) {}

/// Fills in a pod template.
pub fn pod_template_spec(_template: &mut PodTemplateSpec) {}
