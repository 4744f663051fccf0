//! Values as Go prints them inside messages. The types Kubernetes works with internally have no JSON
//! names, so their Go field names and all zero fields show; the shared meta types print in wire form
//! but in the order of their Go fields (contract `defaults-validation.md`, 1.3).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{RollingUpdateDeployment, RollingUpdateStatefulSetStrategy};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

/// An owner reference in the order of its Go fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerReference<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_owner_deletion: Option<bool>,
}

impl<'a> From<&'a meta::OwnerReference> for OwnerReference<'a> {
    fn from(owner: &'a meta::OwnerReference) -> Self {
        Self {
            api_version: &owner.api_version,
            kind: &owner.kind,
            name: &owner.name,
            uid: &owner.uid,
            controller: owner.controller,
            block_owner_deletion: owner.block_owner_deletion,
        }
    }
}

/// A label selector in the order of its Go fields, empty parts left out.
#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LabelSelector<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    match_labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_expressions: Option<&'a Vec<meta::LabelSelectorRequirement>>,
}

impl<'a> From<&'a meta::LabelSelector> for LabelSelector<'a> {
    fn from(selector: &'a meta::LabelSelector) -> Self {
        Self {
            match_labels: selector.match_labels.as_ref().filter(|labels| !labels.is_empty()),
            match_expressions: selector.match_expressions.as_ref().filter(|list| !list.is_empty()),
        }
    }
}

/// The update strategy of a workload; `R` is the kind's block of numbers.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Strategy<'a, R> {
    #[serde(rename = "Type")]
    pub type_: &'a str,
    pub rolling_update: Option<R>,
}

/// The numbers of a Deployment's rolling update.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeploymentRollingUpdate<'a> {
    max_unavailable: Option<&'a IntOrString>,
    max_surge: Option<&'a IntOrString>,
}

impl<'a> From<&'a RollingUpdateDeployment> for DeploymentRollingUpdate<'a> {
    fn from(block: &'a RollingUpdateDeployment) -> Self {
        Self { max_unavailable: block.max_unavailable.as_ref(), max_surge: block.max_surge.as_ref() }
    }
}

/// The numbers of a StatefulSet's rolling update.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetRollingUpdate<'a> {
    partition: i32,
    max_unavailable: Option<&'a IntOrString>,
}

impl<'a> From<&'a RollingUpdateStatefulSetStrategy> for SetRollingUpdate<'a> {
    fn from(block: &'a RollingUpdateStatefulSetStrategy) -> Self {
        Self { partition: block.partition.unwrap_or_default(), max_unavailable: block.max_unavailable.as_ref() }
    }
}

/// A port of a Service of which only protocol and number matter.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServicePort<'a> {
    name: &'a str,
    protocol: &'a str,
    app_protocol: Option<&'a str>,
    port: i32,
    target_port: i32,
    node_port: i32,
}

impl<'a> ServicePort<'a> {
    pub(super) fn of(protocol: &'a str, port: i32) -> Self {
        Self { name: "", protocol, app_protocol: None, port, target_port: 0, node_port: 0 }
    }
}

/// A taint of a node.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Taint<'a> {
    key: &'a str,
    value: &'a str,
    effect: &'a str,
    time_added: Option<&'a meta::Time>,
}

impl<'a> From<&'a v1::Taint> for Taint<'a> {
    fn from(taint: &'a v1::Taint) -> Self {
        Self {
            key: &taint.key,
            value: taint.value.as_deref().unwrap_or_default(),
            effect: &taint.effect,
            time_added: taint.time_added.as_ref(),
        }
    }
}

/// An address of a node.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NodeAddress<'a> {
    #[serde(rename = "Type")]
    type_: &'a str,
    address: &'a str,
}

impl<'a> From<&'a v1::NodeAddress> for NodeAddress<'a> {
    fn from(address: &'a v1::NodeAddress) -> Self {
        Self { type_: &address.type_, address: &address.address }
    }
}

/// The security context of a container. The parts that are types of their own print in wire form.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecurityContext<'a> {
    capabilities: Option<Capabilities<'a>>,
    privileged: Option<bool>,
    #[serde(rename = "SELinuxOptions")]
    se_linux_options: Option<&'a v1::SELinuxOptions>,
    windows_options: Option<&'a v1::WindowsSecurityContextOptions>,
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    run_as_non_root: Option<bool>,
    read_only_root_filesystem: Option<bool>,
    allow_privilege_escalation: Option<bool>,
    proc_mount: Option<&'a str>,
    seccomp_profile: Option<Profile<'a>>,
    app_armor_profile: Option<Profile<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Capabilities<'a> {
    add: Option<&'a Vec<String>>,
    drop: Option<&'a Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Profile<'a> {
    #[serde(rename = "Type")]
    type_: &'a str,
    localhost_profile: Option<&'a str>,
}

impl<'a> From<&'a v1::SecurityContext> for SecurityContext<'a> {
    fn from(context: &'a v1::SecurityContext) -> Self {
        let capabilities = context.capabilities.as_ref();
        let seccomp = context.seccomp_profile.as_ref();
        let app_armor = context.app_armor_profile.as_ref();
        Self {
            capabilities: capabilities.map(|of| Capabilities { add: of.add.as_ref(), drop: of.drop.as_ref() }),
            privileged: context.privileged,
            se_linux_options: context.se_linux_options.as_ref(),
            windows_options: context.windows_options.as_ref(),
            run_as_user: context.run_as_user,
            run_as_group: context.run_as_group,
            run_as_non_root: context.run_as_non_root,
            read_only_root_filesystem: context.read_only_root_filesystem,
            allow_privilege_escalation: context.allow_privilege_escalation,
            proc_mount: context.proc_mount.as_deref(),
            seccomp_profile: seccomp
                .map(|of| Profile { type_: &of.type_, localhost_profile: of.localhost_profile.as_deref() }),
            app_armor_profile: app_armor
                .map(|of| Profile { type_: &of.type_, localhost_profile: of.localhost_profile.as_deref() }),
        }
    }
}
