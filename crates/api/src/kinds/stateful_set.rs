//! StatefulSet and ControllerRevision (contract `statefulset.md`, A to C).

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};

use super::pod_spec;
use crate::errors::FieldErrors;
use crate::object::semantically_equal;
use crate::registry::{Cell, Column, Facts, Spec, Subresource};
use crate::validation::NameRule;
use crate::{defaults, table, validation};

impl Spec for StatefulSet {
    const FACTS: Facts = Facts {
        plural: "statefulsets",
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        subresources: &[Subresource::scale(), Subresource::status("StatefulSet")],
        has_generation: true,
        storage: "statefulsets.apps",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] =
        &[Column::NAME, Column::text("Ready"), Column::AGE, Column::wide("Containers"), Column::wide("Images")];
    const NAME_RULE: NameRule = NameRule::Label;

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let ready = self.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let wanted = self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        let [containers, images] = table::containers(self.spec.as_ref().map(|spec| &spec.template));
        vec![
            table::name(&self.metadata),
            format!("{ready}/{wanted}").into(),
            table::age(&self.metadata, now),
            containers,
            images,
        ]
    }

    fn set_defaults(&mut self) {
        defaults::stateful_set(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(StatefulSetStatus::default());
        prepare_template(self);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        prepare_template(self);
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::stateful_set_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::stateful_set_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::stateful_set_status_update(self, old)
    }

    fn spec_changed(&self, old: &Self) -> bool {
        !semantically_equal(&self.spec, &old.spec)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::stateful_set_warnings(self, old)
    }
}

fn prepare_template(set: &mut StatefulSet) {
    if let Some(spec) = set.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()) {
        pod_spec::drop_disabled(spec);
    }
}

impl Spec for ControllerRevision {
    const FACTS: Facts = Facts {
        plural: "controllerrevisions",
        singular: "controllerrevision",
        storage: "controllerrevisions.apps",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] =
        &[Column::NAME, Column::text("Controller"), Column::text("Revision"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        vec![
            table::name(&self.metadata),
            table::or_none(controller_text(self).as_deref()),
            self.revision.into(),
            table::age(&self.metadata, now),
        ]
    }

    fn set_defaults(&mut self) {
        defaults::controller_revision(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::controller_revision_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::controller_revision_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::controller_revision_warnings(self, old)
    }
}

/// `statefulset.apps/web`
fn controller_text(revision: &ControllerRevision) -> Option<String> {
    let owner = revision.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let kind = match owner.api_version.split_once('/') {
        Some((group, _)) => format!("{}.{group}", owner.kind),
        None => owner.kind.clone(),
    };
    Some(format!("{}/{}", kind.to_lowercase(), owner.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::from_yaml;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    fn set(yaml: &str) -> StatefulSet {
        from_yaml(&format!("{{metadata: {{name: web}}, spec: {{selector: {{}}, template: {{}}, {yaml}}}}}"))
    }

    #[test]
    fn max_unavailable_is_kept_and_not_filled_in() {
        // Kubernetes 1.36 drops the field (C5); 1.37 keeps it.
        let strategy = |set: &StatefulSet| set.spec.clone().unwrap().update_strategy.unwrap().rolling_update.unwrap();
        let mut created = set("updateStrategy: {rollingUpdate: {maxUnavailable: 2, partition: 1}}");
        created.prepare_create();
        assert_eq!(strategy(&created).max_unavailable, Some(IntOrString::Int(2)));
        let mut plain = set("updateStrategy: {rollingUpdate: {partition: 1}}");
        plain.prepare_create();
        plain.set_defaults();
        assert_eq!(strategy(&plain).max_unavailable, None);
    }

    #[test]
    fn only_a_change_of_the_spec_is_a_new_generation() {
        let old = set("replicas: 1");
        let mut labelled = old.clone();
        labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(!labelled.spec_changed(&old));
        assert!(!set("replicas: 1, volumeClaimTemplates: []").spec_changed(&old));
        assert!(set("replicas: 2").spec_changed(&old));
    }

    #[test]
    fn status_and_spec_do_not_touch_each_other() {
        let mut old = set("replicas: 1");
        old.status = Some(StatefulSetStatus { replicas: 7, ..Default::default() });
        let mut write = set("replicas: 2");
        write.prepare_update(&old);
        assert_eq!(write.status, old.status);
        let mut status_write = set("replicas: 2");
        status_write.status = Some(StatefulSetStatus { replicas: 8, ..Default::default() });
        status_write.prepare_subresource_update("status", &old);
        assert_eq!(status_write.spec, old.spec);
        assert_eq!(status_write.status.unwrap().replicas, 8);
    }
}
