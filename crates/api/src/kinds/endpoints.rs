//! Endpoints and EndpointSlice (contract `defaults-validation.md`, 6).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::errors::FieldErrors;
use crate::object::semantically_equal;
use crate::registry::{Cell, Column, Facts, Spec};
use crate::{defaults, table, validation};

impl Spec for Endpoints {
    const FACTS: Facts = Facts {
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        put_may_create: true,
        storage: "endpoints",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Endpoints"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::endpoints::cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::endpoints(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::endpoints_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::endpoints_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::endpoints_warnings(self, old)
    }
}

impl Spec for EndpointSlice {
    const FACTS: Facts = Facts {
        plural: "endpointslices",
        singular: "endpointslice",
        has_generation: true,
        storage: "endpointslices.discovery.k8s.io",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] =
        &[Column::NAME, Column::text("AddressType"), Column::text("Ports"), Column::text("Endpoints"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::endpoints::slice_cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::endpoint_slice(self);
    }

    fn prepare_create(&mut self) {
        drop_topology(self);
    }

    fn prepare_update(&mut self, _old: &Self) {
        drop_topology(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::endpoint_slice_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::endpoint_slice_update(self, old)
    }

    fn spec_changed(&self, old: &Self) -> bool {
        let content = |slice: &Self| (slice.address_type.clone(), slice.endpoints.clone(), slice.ports.clone());
        self.metadata.labels != old.metadata.labels || !semantically_equal(&content(self), &content(old))
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::endpoint_slice_warnings(self, old)
    }
}

/// discovery/v1 has no way to say it.
fn drop_topology(slice: &mut EndpointSlice) {
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.deprecated_topology = None;
    }
}
