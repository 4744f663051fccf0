//! The row of a Node.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus};

use super::{UNKNOWN, age, name, or, or_none, text};
use crate::registry::Cell;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

/// The cells of one Node.
pub fn cells(node: &Node, now: Timestamp) -> Vec<Cell> {
    let none = NodeStatus::default();
    let status = node.status.as_ref().unwrap_or(&none);
    let info = status.node_info.clone().unwrap_or_default();
    let kernel = if info.kernel_version.is_empty() { UNKNOWN } else { &info.kernel_version };
    let kernel = match info.architecture.as_str() {
        "" => kernel.to_owned(),
        architecture => format!("{kernel} ({architecture})"),
    };
    vec![
        name(&node.metadata),
        status_text(node, status).into(),
        or_none(Some(&roles_text(node))),
        age(&node.metadata, now),
        text(Some(&info.kubelet_version)),
        or_none(address(status, "InternalIP")),
        or_none(address(status, "ExternalIP")),
        or(Some(&info.os_image), UNKNOWN),
        kernel.into(),
        or(Some(&info.container_runtime_version), UNKNOWN),
    ]
}

fn status_text(node: &Node, status: &NodeStatus) -> String {
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    let word = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let is_cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    if is_cordoned { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

fn roles_text(node: &Node) -> String {
    let roles: BTreeSet<&str> = node
        .metadata
        .labels
        .iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => (key == ROLE_LABEL).then_some(value.as_str()),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(status: &'a NodeStatus, type_: &str) -> Option<&'a str> {
    let found = status.addresses.iter().flatten().find(|address| address.type_ == type_)?;
    Some(&found.address)
}
