//! ConfigMap, Secret and ServiceAccount (contract `defaults-validation.md`, 7).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret, ServiceAccount};

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, DeleteAnswer, Facts, Spec};
use crate::{defaults, table, validation};

impl Spec for ConfigMap {
    const FACTS: Facts = Facts {
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        storage: "configmaps",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Data"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let count =
            self.data.as_ref().map_or(0, |data| data.len()) + self.binary_data.as_ref().map_or(0, |data| data.len());
        vec![table::name(&self.metadata), count.into(), table::age(&self.metadata, now)]
    }

    fn set_defaults(&mut self) {
        defaults::config_map(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::config_map_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::config_map_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::config_map_warnings(self, old)
    }
}

impl Spec for Secret {
    const FACTS: Facts = Facts {
        plural: "secrets",
        singular: "secret",
        storage: "secrets",
        field_selectors: &["type"],
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Type"), Column::text("Data"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let count = self.data.as_ref().map_or(0, |data| data.len());
        vec![
            table::name(&self.metadata),
            table::text(self.type_.as_deref()),
            count.into(),
            table::age(&self.metadata, now),
        ]
    }

    fn set_defaults(&mut self) {
        defaults::secret(self);
    }

    fn prepare_update(&mut self, old: &Self) {
        if self.type_.as_deref().unwrap_or_default().is_empty() {
            self.type_.clone_from(&old.type_);
        }
    }

    fn validate_create(&self) -> FieldErrors {
        validation::secret_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::secret_update(self, old)
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        vec![("type", self.type_.clone().unwrap_or_default())]
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::secret_warnings(self, old)
    }
}

impl Spec for ServiceAccount {
    const FACTS: Facts = Facts {
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        // Without `token`: this server signs no tokens yet.
        delete_answer: DeleteAnswer::Object,
        storage: "serviceaccounts",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        vec![table::name(&self.metadata), table::age(&self.metadata, now)]
    }

    fn set_defaults(&mut self) {
        defaults::service_account(self);
    }

    fn prepare_create(&mut self) {
        keep_secret_names(self);
    }

    fn prepare_update(&mut self, _old: &Self) {
        keep_secret_names(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::service_account_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::service_account_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::service_account_warnings(self, old)
    }
}

/// References to secrets carry nothing but the name.
fn keep_secret_names(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
    }
}
