//! Namespace: finalizers and phase belong to the server (contract `defaults-validation.md`, 2).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, DeleteAnswer, Facts, Spec, Subresource};
use crate::validation::NameRule;
use crate::{defaults, table, validation};

/// The entry of `spec.finalizers` that keeps a namespace until its content is gone.
const CONTENT_FINALIZER: &str = "kubernetes";

impl Spec for Namespace {
    const FACTS: Facts = Facts {
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        subresources: &[Subresource::of("finalize", "Namespace", &["update"]), Subresource::status("Namespace")],
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        delete_answer: DeleteAnswer::Object,
        storage: "namespaces",
        field_selectors: &["status.phase"],
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Status"), Column::AGE];
    const NAME_RULE: NameRule = NameRule::Label;

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        vec![table::name(&self.metadata), table::text(phase(self)), table::age(&self.metadata, now)]
    }

    fn set_defaults(&mut self) {
        defaults::namespace(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None });
        let finalizers = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == CONTENT_FINALIZER) {
            finalizers.push(CONTENT_FINALIZER.to_owned());
        }
    }

    fn prepare_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource_update(&mut self, subresource: &str, old: &Self) {
        match subresource {
            "finalize" => self.status.clone_from(&old.status),
            _ => self.spec.clone_from(&old.spec),
        }
    }

    fn validate_create(&self) -> FieldErrors {
        validation::namespace_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::namespace_update(self, old)
    }

    fn validate_subresource_update(&self, subresource: &str, old: &Self) -> FieldErrors {
        match subresource {
            "status" => validation::namespace_status_update(self, old),
            _ => validation::namespace_update(self, old),
        }
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.phase", phase(self).unwrap_or_default().to_owned())]
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::namespace_warnings(self, old)
    }
}

fn phase(namespace: &Namespace) -> Option<&str> {
    namespace.status.as_ref()?.phase.as_deref()
}
