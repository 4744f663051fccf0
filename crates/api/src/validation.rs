//! What makes an object unacceptable, in the words Kubernetes uses (contract `defaults-validation.md`).

use crate::errors::FieldErrors;
use crate::registry::Scope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The rule a kind's names follow (contract 1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 label of at most 63 characters.
    Label,
    /// A DNS-1123 subdomain of at most 253 characters.
    Subdomain,
    /// Anything that can be one segment of a URL path.
    PathSegment,
}

/// Everything wrong with the metadata of a new object.
pub fn metadata_create(_meta: &ObjectMeta, _rule: NameRule, _scope: Scope) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to an object's metadata.
pub fn metadata_update(_new: &ObjectMeta, _old: &ObjectMeta) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a new Namespace.
pub fn namespace_create(_object: &Namespace) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Namespace.
pub fn namespace_update(_new: &Namespace, _old: &Namespace) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a Namespace.
pub fn namespace_status_update(_new: &Namespace, _old: &Namespace) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn namespace_warnings(_object: &Namespace, _old: Option<&Namespace>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Node.
pub fn node_create(_object: &Node) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Node.
pub fn node_update(_new: &Node, _old: &Node) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a Node.
pub fn node_status_update(_new: &Node, _old: &Node) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn node_warnings(_object: &Node, _old: Option<&Node>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Pod.
pub fn pod_create(_object: &Pod) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Pod.
pub fn pod_update(_new: &Pod, _old: &Pod) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a Pod.
pub fn pod_status_update(_new: &Pod, _old: &Pod) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn pod_warnings(_object: &Pod, _old: Option<&Pod>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Service.
pub fn service_create(_object: &Service) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Service.
pub fn service_update(_new: &Service, _old: &Service) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a Service.
pub fn service_status_update(_new: &Service, _old: &Service) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn service_warnings(_object: &Service, _old: Option<&Service>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Endpoints.
pub fn endpoints_create(_object: &Endpoints) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Endpoints.
pub fn endpoints_update(_new: &Endpoints, _old: &Endpoints) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn endpoints_warnings(_object: &Endpoints, _old: Option<&Endpoints>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new EndpointSlice.
pub fn endpoint_slice_create(_object: &EndpointSlice) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a EndpointSlice.
pub fn endpoint_slice_update(_new: &EndpointSlice, _old: &EndpointSlice) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn endpoint_slice_warnings(_object: &EndpointSlice, _old: Option<&EndpointSlice>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new ConfigMap.
pub fn config_map_create(_object: &ConfigMap) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a ConfigMap.
pub fn config_map_update(_new: &ConfigMap, _old: &ConfigMap) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn config_map_warnings(_object: &ConfigMap, _old: Option<&ConfigMap>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Secret.
pub fn secret_create(_object: &Secret) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Secret.
pub fn secret_update(_new: &Secret, _old: &Secret) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn secret_warnings(_object: &Secret, _old: Option<&Secret>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new ServiceAccount.
pub fn service_account_create(_object: &ServiceAccount) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a ServiceAccount.
pub fn service_account_update(_new: &ServiceAccount, _old: &ServiceAccount) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn service_account_warnings(_object: &ServiceAccount, _old: Option<&ServiceAccount>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new PersistentVolume.
pub fn persistent_volume_create(_object: &PersistentVolume) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a PersistentVolume.
pub fn persistent_volume_update(_new: &PersistentVolume, _old: &PersistentVolume) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a PersistentVolume.
pub fn persistent_volume_status_update(_new: &PersistentVolume, _old: &PersistentVolume) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn persistent_volume_warnings(_object: &PersistentVolume, _old: Option<&PersistentVolume>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new PersistentVolumeClaim.
pub fn persistent_volume_claim_create(_object: &PersistentVolumeClaim) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a PersistentVolumeClaim.
pub fn persistent_volume_claim_update(_new: &PersistentVolumeClaim, _old: &PersistentVolumeClaim) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a PersistentVolumeClaim.
pub fn persistent_volume_claim_status_update(_new: &PersistentVolumeClaim, _old: &PersistentVolumeClaim) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn persistent_volume_claim_warnings(_object: &PersistentVolumeClaim, _old: Option<&PersistentVolumeClaim>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new StorageClass.
pub fn storage_class_create(_object: &StorageClass) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a StorageClass.
pub fn storage_class_update(_new: &StorageClass, _old: &StorageClass) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn storage_class_warnings(_object: &StorageClass, _old: Option<&StorageClass>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new StatefulSet.
pub fn stateful_set_create(_object: &StatefulSet) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a StatefulSet.
pub fn stateful_set_update(_new: &StatefulSet, _old: &StatefulSet) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a StatefulSet.
pub fn stateful_set_status_update(_new: &StatefulSet, _old: &StatefulSet) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn stateful_set_warnings(_object: &StatefulSet, _old: Option<&StatefulSet>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new ControllerRevision.
pub fn controller_revision_create(_object: &ControllerRevision) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a ControllerRevision.
pub fn controller_revision_update(_new: &ControllerRevision, _old: &ControllerRevision) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn controller_revision_warnings(_object: &ControllerRevision, _old: Option<&ControllerRevision>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Deployment.
pub fn deployment_create(_object: &Deployment) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Deployment.
pub fn deployment_update(_new: &Deployment, _old: &Deployment) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a Deployment.
pub fn deployment_status_update(_new: &Deployment, _old: &Deployment) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn deployment_warnings(_object: &Deployment, _old: Option<&Deployment>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new ReplicaSet.
pub fn replica_set_create(_object: &ReplicaSet) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a ReplicaSet.
pub fn replica_set_update(_new: &ReplicaSet, _old: &ReplicaSet) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to the status of a ReplicaSet.
pub fn replica_set_status_update(_new: &ReplicaSet, _old: &ReplicaSet) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn replica_set_warnings(_object: &ReplicaSet, _old: Option<&ReplicaSet>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Event.
pub fn event_create(_object: &Event) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Event.
pub fn event_update(_new: &Event, _old: &Event) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn event_warnings(_object: &Event, _old: Option<&Event>) -> Vec<String> {
    Vec::new()
}

/// Everything wrong with a new Lease.
pub fn lease_create(_object: &Lease) -> FieldErrors {
    FieldErrors::default()
}

/// Everything wrong with a change to a Lease.
pub fn lease_update(_new: &Lease, _old: &Lease) -> FieldErrors {
    FieldErrors::default()
}

/// Texts for `Warning:` headers.
pub fn lease_warnings(_object: &Lease, _old: Option<&Lease>) -> Vec<String> {
    Vec::new()
}
