//! The set of the stories.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "web".to_owned())])
}

/// The class of all claims here; its volumes can grow.
pub(super) fn growing_class() -> StorageClass {
    StorageClass {
        metadata: ObjectMeta { name: Some("standard".to_owned()), ..ObjectMeta::default() },
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    }
}

/// What a claim of `size` asks for.
pub(crate) fn claim_spec(size: &str) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: Some("standard".to_owned()),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size.to_owned()))])),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    }
}

/// A set called `web` with `replicas` replicas of image `a` and one claim template `data`.
pub(crate) fn web(replicas: i32) -> StatefulSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            containers: vec![Container { name: "web".to_owned(), image: Some("a".to_owned()), ..Container::default() }],
            ..PodSpec::default()
        }),
    };
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".to_owned()), ..ObjectMeta::default() },
        spec: Some(claim_spec("1Gi")),
        ..PersistentVolumeClaim::default()
    };
    StatefulSet {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some("set-1".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            service_name: Some("web".to_owned()),
            template,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            volume_claim_templates: Some(vec![claim]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

pub(crate) fn parallel(spec: &mut StatefulSetSpec) {
    spec.pod_management_policy = Some("Parallel".to_owned());
}

pub(crate) fn retention(spec: &mut StatefulSetSpec, when_scaled: &str, when_deleted: &str) {
    spec.persistent_volume_claim_retention_policy = Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_scaled: Some(when_scaled.to_owned()),
        when_deleted: Some(when_deleted.to_owned()),
    });
}
