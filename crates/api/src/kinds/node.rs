//! Node (contract `defaults-validation.md`, 3).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, Facts, Spec, Subresource};
use crate::{defaults, table, validation};

impl Spec for Node {
    const FACTS: Facts = Facts {
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        subresources: &[
            Subresource::of("proxy", "NodeProxyOptions", &["create", "delete", "get", "patch", "update"]),
            Subresource::status("Node"),
        ],
        storage: "nodes",
        field_selectors: &["spec.unschedulable"],
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Roles"),
        Column::AGE,
        Column::text("Version"),
        Column::wide("Internal-IP"),
        Column::wide("External-IP"),
        Column::wide("OS-Image"),
        Column::wide("Kernel-Version"),
        Column::wide("Container-Runtime"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::node::cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::node(self);
    }

    fn prepare_create(&mut self) {
        // Status stays: a node registers itself with what it has.
        if let Some(spec) = &mut self.spec {
            spec.config_source = None;
        }
        if let Some(status) = &mut self.status {
            status.config = None;
        }
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::node_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::node_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::node_status_update(self, old)
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let is_cordoned = self.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
        vec![("spec.unschedulable", is_cordoned.to_string())]
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::node_warnings(self, old)
    }
}
