//! Lease (contract `defaults-validation.md`, 10).

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, Facts, Spec};
use crate::{defaults, table, validation};

impl Spec for Lease {
    const FACTS: Facts = Facts {
        plural: "leases",
        singular: "lease",
        put_may_create: true,
        unconditional_update: false,
        storage: "leases.coordination.k8s.io",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Holder"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let holder = self.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        vec![table::name(&self.metadata), table::text(holder), table::age(&self.metadata, now)]
    }

    fn set_defaults(&mut self) {
        defaults::lease(self);
    }

    fn prepare_create(&mut self) {
        drop_coordinated(self);
    }

    fn prepare_update(&mut self, _old: &Self) {
        drop_coordinated(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::lease_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::lease_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::lease_warnings(self, old)
    }
}

/// Coordinated leader election is gated off.
fn drop_coordinated(lease: &mut Lease) {
    if let Some(spec) = &mut lease.spec {
        spec.strategy = None;
        spec.preferred_holder = None;
    }
}
