//! DaemonSet: stored and listed; no controller of ours acts on it yet.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus, RollingUpdateDaemonSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::{Cell, Column, Facts, Spec, Subresource};
use crate::{defaults, table};

impl Spec for DaemonSet {
    const FACTS: Facts = Facts {
        plural: "daemonsets",
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[Subresource::status("DaemonSet")],
        has_generation: true,
        storage: "daemonsets.apps",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::integer("Desired"),
        Column::integer("Current"),
        Column::integer("Ready"),
        Column::integer("Up-to-date"),
        Column::integer("Available"),
        Column::text("Node Selector"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let none = DaemonSetStatus::default();
        let status = self.status.as_ref().unwrap_or(&none);
        let template = self.spec.as_ref().map(|spec| &spec.template);
        let nodes = template.and_then(|template| template.spec.as_ref()?.node_selector.as_ref());
        let [containers, images] = table::containers(template);
        vec![
            table::name(&self.metadata),
            status.desired_number_scheduled.into(),
            status.current_number_scheduled.into(),
            status.number_ready.into(),
            status.updated_number_scheduled.unwrap_or_default().into(),
            status.number_available.unwrap_or_default().into(),
            table::map_text(nodes),
            table::age(&self.metadata, now),
            containers,
            images,
            table::selector_text(self.spec.as_ref().map(|spec| &spec.selector)),
        ]
    }

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        defaults::pod_template_spec(&mut spec.template);
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.get_or_insert_with(|| "RollingUpdate".to_owned()) == "RollingUpdate" {
            let RollingUpdateDaemonSet { max_unavailable, max_surge } = strategy.rolling_update.get_or_insert_default();
            max_unavailable.get_or_insert(IntOrString::Int(1));
            max_surge.get_or_insert(IntOrString::Int(0));
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(DaemonSetStatus::default());
    }

    super::spec_and_status!();
}
