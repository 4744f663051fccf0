//! Which object, and which part of it, an event is about.

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use stead_client::reference_to;
use stead_plan::pod::declared;

/// A reference to one container of a pod.
pub(crate) fn container_reference(pod: &Pod, container: &str) -> ObjectReference {
    let init = declared(pod).iter().any(|declared| declared.init && declared.spec.name == container);
    let list = if init { "initContainers" } else { "containers" };
    ObjectReference { field_path: Some(format!("spec.{list}{{{container}}}")), ..reference_to(pod) }
}

/// How a container is declared.
pub(crate) fn declaration<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    declared(pod).into_iter().map(|declared| declared.spec).find(|container| container.name == name)
}
