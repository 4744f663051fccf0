//! Deployment and ReplicaSet (contract `defaults-validation.md`, 9).

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetStatus};

use super::pod_spec;
use crate::errors::FieldErrors;
use crate::object::semantically_equal;
use crate::registry::{Cell, Column, Facts, Spec, Subresource};
use crate::selectors::Selector;
use crate::{defaults, table, validation};

impl Spec for Deployment {
    const FACTS: Facts = Facts {
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[Subresource::scale(), Subresource::status("Deployment")],
        has_generation: true,
        storage: "deployments.apps",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Ready"),
        Column::text("Up-to-date"),
        Column::text("Available"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let none = DeploymentStatus::default();
        let status = self.status.as_ref().unwrap_or(&none);
        let spec = self.spec.as_ref();
        let wanted = spec.and_then(|spec| spec.replicas).unwrap_or_default();
        let selector = spec.map(|spec| Selector::try_from(&spec.selector));
        let selector = match selector {
            Some(Ok(selector)) => selector.to_string(),
            Some(Err(_)) => "<invalid>".to_owned(),
            None => String::new(),
        };
        let [containers, images] = table::containers(spec.map(|spec| &spec.template));
        vec![
            table::name(&self.metadata),
            format!("{}/{wanted}", status.ready_replicas.unwrap_or_default()).into(),
            status.updated_replicas.unwrap_or_default().into(),
            status.available_replicas.unwrap_or_default().into(),
            table::age(&self.metadata, now),
            containers,
            images,
            selector.into(),
        ]
    }

    fn set_defaults(&mut self) {
        defaults::deployment(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(DeploymentStatus::default());
        drop_disabled(self);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        drop_disabled(self);
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.metadata.labels.clone_from(&old.metadata.labels);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::deployment_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::deployment_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::deployment_status_update(self, old)
    }

    /// Annotations count: they are copied to the ReplicaSets.
    fn spec_changed(&self, old: &Self) -> bool {
        let annotations = |deployment: &Self| deployment.metadata.annotations.clone().unwrap_or_default();
        !semantically_equal(&self.spec, &old.spec) || annotations(self) != annotations(old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::deployment_warnings(self, old)
    }
}

fn drop_disabled(deployment: &mut Deployment) {
    if let Some(spec) = deployment.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()) {
        pod_spec::drop_disabled(spec);
    }
}

impl Spec for ReplicaSet {
    const FACTS: Facts = Facts {
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[Subresource::scale(), Subresource::status("ReplicaSet")],
        has_generation: true,
        storage: "replicasets.apps",
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
        let none = ReplicaSetStatus::default();
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
            table::selector_text(spec.map(|spec| &spec.selector)),
        ]
    }

    fn set_defaults(&mut self) {
        defaults::replica_set(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(ReplicaSetStatus::default());
    }

    super::spec_and_status!();

    fn validate_create(&self) -> FieldErrors {
        validation::replica_set_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::replica_set_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::replica_set_status_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::replica_set_warnings(self, old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::from_yaml;

    #[test]
    fn annotations_are_a_new_generation_of_a_deployment_and_labels_are_not() {
        let old: Deployment = from_yaml("{metadata: {name: a}, spec: {selector: {}, template: {}}}");
        let mut labelled = old.clone();
        labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(!labelled.spec_changed(&old));
        let mut annotated = old.clone();
        annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(annotated.spec_changed(&old));
        annotated.metadata.annotations = Some(Default::default());
        assert!(!annotated.spec_changed(&old));
    }
}
