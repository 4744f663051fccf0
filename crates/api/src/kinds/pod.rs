//! Pod: its status belongs to the node, its spec is nearly immutable
//! (contract `defaults-validation.md`, 4.2).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, PodStatus};

use super::{pod_spec, qos_class};
use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, DeleteAnswer, Facts, RowCondition, Spec, Subresource};
use crate::{defaults, table, validation};

const STREAM_VERBS: &[&str] = &["create", "get"];
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

impl Spec for Pod {
    const FACTS: Facts = Facts {
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource::of("attach", "PodAttachOptions", STREAM_VERBS),
            Subresource::of("binding", "Binding", &["create"]),
            Subresource::of("ephemeralcontainers", "Pod", &["get", "patch", "update"]),
            Subresource { group: "policy", version: "v1", ..Subresource::of("eviction", "Eviction", &["create"]) },
            Subresource::of("exec", "PodExecOptions", STREAM_VERBS),
            Subresource::of("log", "Pod", &["get"]),
            Subresource::of("portforward", "PodPortForwardOptions", STREAM_VERBS),
            Subresource::of("proxy", "PodProxyOptions", PROXY_VERBS),
            Subresource::of("resize", "Pod", &["get", "patch", "update"]),
            Subresource::status("Pod"),
        ],
        delete_answer: DeleteAnswer::Object,
        has_generation: true,
        storage: "pods",
        field_selectors: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
            "spec.host",
        ],
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Ready"),
        Column::text("Status"),
        Column::text("Restarts"),
        Column::AGE,
        Column::wide("IP"),
        Column::wide("Node"),
        Column::wide("Nominated Node"),
        Column::wide("Readiness Gates"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::pod::cells(self, now)
    }

    fn row_condition(&self) -> Option<RowCondition> {
        table::pod::condition(self)
    }

    fn set_defaults(&mut self) {
        defaults::pod(self);
    }

    fn prepare_create(&mut self) {
        let spec = self.spec.get_or_insert_default();
        pod_spec::drop_disabled(spec);
        pod_spec::expand_label_keys(spec, &self.metadata.labels.clone().unwrap_or_default());
        let sent_class = self.status.take().and_then(|status| status.qos_class).filter(|class| !class.is_empty());
        self.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(sent_class.unwrap_or_else(|| qos_class(spec).to_owned())),
            conditions: gated(spec).then(|| vec![gated_condition()]),
            ..PodStatus::default()
        });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource_update(&mut self, subresource: &str, old: &Self) {
        match subresource {
            "ephemeralcontainers" => {
                let containers = self.spec.take().and_then(|spec| spec.ephemeral_containers);
                restore(self, old);
                self.spec.get_or_insert_default().ephemeral_containers = containers;
            }
            "resize" => {
                let sent = self.spec.take().unwrap_or_default();
                restore(self, old);
                resize(self.spec.get_or_insert_default(), sent);
            }
            _ => prepare_status(self, old),
        }
    }

    fn validate_create(&self) -> FieldErrors {
        validation::pod_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::pod_update(self, old)
    }

    fn validate_subresource_update(&self, subresource: &str, old: &Self) -> FieldErrors {
        match subresource {
            "status" => validation::pod_status_update(self, old),
            _ => FieldErrors::default(),
        }
    }

    fn spec_changed(&self, old: &Self) -> bool {
        !crate::object::semantically_equal(&self.spec, &old.spec)
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let none = (PodSpec::default(), PodStatus::default());
        let spec = self.spec.as_ref().unwrap_or(&none.0);
        let status = self.status.as_ref().unwrap_or(&none.1);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        vec![
            ("spec.nodeName", text(&spec.node_name)),
            ("spec.host", text(&spec.node_name)),
            ("spec.restartPolicy", text(&spec.restart_policy)),
            ("spec.schedulerName", text(&spec.scheduler_name)),
            ("spec.serviceAccountName", text(&spec.service_account_name)),
            ("spec.hostNetwork", spec.host_network.unwrap_or_default().to_string()),
            ("status.phase", text(&status.phase)),
            ("status.podIP", text(&status.pod_ip)),
            // Accepted, and never filled, by Kubernetes too.
            ("status.podIPs", String::new()),
            ("status.nominatedNodeName", text(&status.nominated_node_name)),
        ]
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::pod_warnings(self, old)
    }
}

fn gated(spec: &PodSpec) -> bool {
    spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
}

fn gated_condition() -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    }
}

/// Takes everything from `old` but what tells two writes apart.
fn restore(pod: &mut Pod, old: &Pod) {
    let sent_version = pod.metadata.resource_version.take();
    let managed_fields = pod.metadata.managed_fields.take();
    pod.clone_from(old);
    pod.metadata.resource_version = sent_version;
    pod.metadata.managed_fields = managed_fields;
}

fn prepare_status(pod: &mut Pod, old: &Pod) {
    pod.spec.clone_from(&old.spec);
    pod.metadata.owner_references.clone_from(&old.metadata.owner_references);
    pod.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
    let (Some(status), Some(before)) = (&mut pod.status, &old.status) else { return };
    if status.qos_class.as_deref().unwrap_or_default().is_empty() {
        status.qos_class.clone_from(&before.qos_class);
    }
    if status.observed_generation.unwrap_or_default() == 0 {
        status.observed_generation = before.observed_generation;
    }
}

/// Takes resources and resize policies alone, of the containers that kept place and name.
fn resize(spec: &mut PodSpec, sent: PodSpec) {
    fn take(containers: &mut [Container], sent: Vec<Container>) {
        for (container, sent) in containers.iter_mut().zip(sent).filter(|(old, sent)| old.name == sent.name) {
            container.resources = sent.resources;
            container.resize_policy = sent.resize_policy;
        }
    }
    take(&mut spec.containers, sent.containers);
    take(spec.init_containers.as_deref_mut().unwrap_or_default(), sent.init_containers.unwrap_or_default());
    spec.resources = sent.resources;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::from_yaml;

    #[test]
    fn a_new_pod_is_pending_whatever_was_sent() {
        let mut pod: Pod = from_yaml(
            "{metadata: {name: a}, spec: {containers: [{name: c, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}}]}, status: {phase: Running, podIP: 1.2.3.4}}",
        );
        pod.prepare_create();
        let status = pod.status.unwrap();
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        assert_eq!(status.qos_class.as_deref(), Some("Guaranteed"));
        assert_eq!(status.pod_ip, None);
    }

    #[test]
    fn writes_to_status_leave_the_spec_alone_and_writes_to_the_pod_the_status() {
        let old: Pod = from_yaml(
            "{metadata: {name: a}, spec: {nodeName: n, containers: []}, status: {phase: Running, qosClass: Burstable, observedGeneration: 3}}",
        );
        let mut status_write: Pod = from_yaml(
            "{metadata: {name: a, labels: {x: y}}, spec: {nodeName: other, containers: []}, status: {phase: Failed}}",
        );
        status_write.prepare_subresource_update("status", &old);
        assert_eq!(status_write.spec, old.spec);
        let status = status_write.status.unwrap();
        assert_eq!(
            (status.phase.as_deref(), status.qos_class.as_deref(), status.observed_generation),
            (Some("Failed"), Some("Burstable"), Some(3))
        );
        assert!(status_write.metadata.labels.is_some(), "labels may be changed through the status");

        let mut write: Pod =
            from_yaml("{metadata: {name: a}, spec: {nodeName: n, containers: []}, status: {phase: Failed}}");
        write.prepare_update(&old);
        assert_eq!(write.status, old.status);
        assert!(!write.spec_changed(&old));
    }

    #[test]
    fn an_ephemeral_container_is_all_that_its_subresource_takes() {
        let old: Pod = from_yaml("{metadata: {name: a, labels: {x: y}}, spec: {nodeName: n, containers: []}}");
        let mut new: Pod = from_yaml(
            "{metadata: {name: a}, spec: {nodeName: m, containers: [], ephemeralContainers: [{name: debug}]}}",
        );
        new.prepare_subresource_update("ephemeralcontainers", &old);
        let spec = new.spec.as_ref().unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("n"));
        assert_eq!(spec.ephemeral_containers.as_ref().unwrap()[0].name, "debug");
        assert!(new.metadata.labels.is_some());
        assert!(new.spec_changed(&old));
    }
}
