//! What a pod may be told of itself: fields of its object and resources of its containers, as the downward API
//! writes them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use stead_api::amount::Amount;

use super::{EnvError, PodFacts, Sources};

/// A field of the pod as the downward API gives it.
pub fn field_value(pod: &Pod, field: &ObjectFieldSelector, facts: &PodFacts) -> Result<String, EnvError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let path = field.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(EnvError::Field(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => go_map(meta.labels.as_ref()),
        "metadata.annotations" => go_map(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.clone(),
        _ => return Err(EnvError::Field(path.to_owned())),
    })
}

/// A map as the downward API writes it: sorted `key="quoted value"` lines.
fn go_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// A resource of a container in units of the divisor, rounded up.
pub fn resource_value(
    pod: &Pod,
    own: &Container,
    field: &ResourceFieldSelector,
    sources: &impl Sources,
) -> Result<String, EnvError> {
    let all = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let container = match field.container_name.as_deref().filter(|name| !name.is_empty()) {
        None => own,
        Some(name) => all
            .into_iter()
            .find(|container| container.name == name)
            .ok_or_else(|| EnvError::Container(name.to_owned()))?,
    };
    let unreadable = || EnvError::Resource(field.resource.clone());
    let (list, resource) = field.resource.split_once('.').ok_or_else(unreadable)?;
    let resources = container.resources.as_ref();
    let amount = match list {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(unreadable()),
    };
    let amount = match amount.and_then(|list| list.get(resource)) {
        Some(text) => Amount::parse(&text.0).ok_or_else(unreadable)?,
        None if list == "limits" => sources.allocatable(resource).unwrap_or_default(),
        None => Amount::ZERO,
    };
    let divisor = match field.divisor.as_ref().map(|divisor| divisor.0.as_str()) {
        None | Some("" | "0") => Some(Amount::from_units(1)),
        Some(text) => Amount::parse(text),
    };
    let divisor = divisor.map(Amount::milli).filter(|milli| *milli > 0).ok_or_else(unreadable)?;
    Ok(amount.milli().max(0).unsigned_abs().div_ceil(divisor.unsigned_abs()).to_string())
}
