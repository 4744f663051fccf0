//! PodTemplate and ReplicationController: stored and listed; no controller of ours acts on them yet.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodTemplate, ReplicationController, ReplicationControllerStatus};

use crate::object::semantically_equal;
use crate::registry::{Cell, Column, DeleteAnswer, Facts, Propagation, Spec, Subresource};
use crate::{defaults, table};

impl Spec for PodTemplate {
    const FACTS: Facts = Facts {
        plural: "podtemplates",
        singular: "podtemplate",
        delete_answer: DeleteAnswer::Object,
        has_generation: true,
        storage: "podtemplates",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] =
        &[Column::NAME, Column::text("Containers"), Column::text("Images"), Column::text("Pod Labels")];

    fn row(&self, _now: Timestamp) -> Vec<Cell> {
        let labels = self.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
        let [containers, images] = table::containers(self.template.as_ref());
        vec![table::name(&self.metadata), containers, images, table::map_text(labels)]
    }

    fn set_defaults(&mut self) {
        defaults::pod_template_spec(self.template.get_or_insert_default());
    }

    fn spec_changed(&self, old: &Self) -> bool {
        !semantically_equal(&self.template, &old.template)
    }
}

impl Spec for ReplicationController {
    const FACTS: Facts = Facts {
        plural: "replicationcontrollers",
        singular: "replicationcontroller",
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[Subresource::scale(), Subresource::status("ReplicationController")],
        default_propagation: Propagation::Orphan,
        has_generation: true,
        storage: "replicationcontrollers",
        field_selectors: &["status.replicas"],
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::integer("Desired"),
        Column::integer("Current"),
        Column::integer("Ready"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let none = ReplicationControllerStatus::default();
        let status = self.status.as_ref().unwrap_or(&none);
        let spec = self.spec.as_ref();
        let [containers, images] = table::containers(spec.and_then(|spec| spec.template.as_ref()));
        vec![
            table::name(&self.metadata),
            spec.and_then(|spec| spec.replicas).unwrap_or_default().into(),
            status.replicas.into(),
            status.ready_replicas.unwrap_or_default().into(),
            table::age(&self.metadata, now),
            containers,
            images,
            table::map_text(spec.and_then(|spec| spec.selector.as_ref())),
        ]
    }

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        let Some(template) = &mut spec.template else { return };
        defaults::pod_template_spec(template);
        let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            spec.selector = labels.cloned();
        }
        if self.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
            self.metadata.labels = labels.cloned();
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(ReplicationControllerStatus::default());
    }

    super::spec_and_status!();

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.replicas", self.status.as_ref().map_or(0, |status| status.replicas).to_string())]
    }
}
