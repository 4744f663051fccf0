//! PersistentVolume, PersistentVolumeClaim and StorageClass (contract `defaults-validation.md`, 8).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
    PersistentVolumeStatus, TypedLocalObjectReference, TypedObjectReference,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, DeleteAnswer, Facts, Spec, Subresource};
use crate::{defaults, table, validation};

impl Spec for PersistentVolume {
    const FACTS: Facts = Facts {
        plural: "persistentvolumes",
        singular: "persistentvolume",
        short_names: &["pv"],
        subresources: &[Subresource::status("PersistentVolume")],
        delete_answer: DeleteAnswer::Object,
        storage: "persistentvolumes",
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Capacity"),
        Column::text("Access Modes"),
        Column::text("Reclaim Policy"),
        Column::text("Status"),
        Column::text("Claim"),
        Column::text("StorageClass"),
        Column::text("VolumeAttributesClass"),
        Column::text("Reason"),
        Column::AGE,
        Column::wide("VolumeMode"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::volume::volume_cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::persistent_volume(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(PersistentVolumeStatus { phase: Some("Pending".to_owned()), ..Default::default() });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    /// The time of the last change of phase.
    fn stamp(&mut self, old: Option<&Self>, now: Timestamp) {
        let Some(status) = &mut self.status else { return };
        let before = old.and_then(|old| old.status.as_ref());
        let is_same_phase = before.is_some_and(|before| before.phase == status.phase);
        let before = before.and_then(|before| before.last_phase_transition_time.clone());
        let is_set_by_client =
            status.last_phase_transition_time.is_some() && status.last_phase_transition_time != before;
        if is_same_phase && status.last_phase_transition_time.is_none() {
            status.last_phase_transition_time = before;
        } else if !is_same_phase && !is_set_by_client {
            status.last_phase_transition_time = Some(Time(now));
        }
    }

    fn validate_create(&self) -> FieldErrors {
        validation::persistent_volume_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::persistent_volume_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::persistent_volume_status_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::persistent_volume_warnings(self, old)
    }
}

impl Spec for PersistentVolumeClaim {
    const FACTS: Facts = Facts {
        plural: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        short_names: &["pvc"],
        subresources: &[Subresource::status("PersistentVolumeClaim")],
        delete_answer: DeleteAnswer::Object,
        storage: "persistentvolumeclaims",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Volume"),
        Column::text("Capacity"),
        Column::text("Access Modes"),
        Column::text("StorageClass"),
        Column::text("VolumeAttributesClass"),
        Column::AGE,
        Column::wide("VolumeMode"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::volume::claim_cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::persistent_volume_claim(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(PersistentVolumeClaimStatus { phase: Some("Pending".to_owned()), ..Default::default() });
        if let Some(spec) = &mut self.spec {
            align_data_source(spec);
        }
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        if let Some(spec) = &mut self.spec {
            align_data_source(spec);
        }
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::persistent_volume_claim_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::persistent_volume_claim_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::persistent_volume_claim_status_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::persistent_volume_claim_warnings(self, old)
    }
}

/// The two ways to name a data source say the same, or one is filled in from the other.
fn align_data_source(spec: &mut PersistentVolumeClaimSpec) {
    if spec.data_source_ref.as_ref().is_some_and(|source| source.namespace.is_some()) {
        spec.data_source_ref = None;
    }
    if spec.data_source_ref.is_none() && !spec.data_source.as_ref().is_none_or(is_known_source) {
        spec.data_source = None;
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                namespace: None,
            });
        }
        (None, Some(source)) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
            });
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

fn is_known_source(source: &TypedLocalObjectReference) -> bool {
    let group = source.api_group.as_deref().unwrap_or_default();
    matches!(
        (group, source.kind.as_str()),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

impl Spec for StorageClass {
    const FACTS: Facts = Facts {
        plural: "storageclasses",
        singular: "storageclass",
        short_names: &["sc"],
        delete_answer: DeleteAnswer::Object,
        storage: "storageclasses.storage.k8s.io",
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Provisioner"),
        Column::text("ReclaimPolicy"),
        Column::text("VolumeBindingMode"),
        Column::text("AllowVolumeExpansion"),
        Column::AGE,
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::volume::class_cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::storage_class(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::storage_class_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::storage_class_update(self, old)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::storage_class_warnings(self, old)
    }
}
