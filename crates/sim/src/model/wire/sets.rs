//! What sets look like.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Probe};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_plan::statefulset;

use super::super::objects::{Going, Set, Spec, Strategy};
use super::super::preparing;
use super::{CLAIM, MIN_READY_S, SET, Wire, ago, annotations, claims, uid_text};

impl Wire {
    /// The set with `status`.
    pub(crate) fn set(&self, set: &Set, status: Option<StatefulSetStatus>) -> StatefulSet {
        let Set { uid, version, generation, going, spec, notes, status: _ } = *set;
        let mut wire = self.set.clone();
        wire.metadata.uid = Some(uid_text(uid));
        wire.metadata.resource_version = Some(version.0.to_string());
        wire.metadata.generation = Some(generation.into());
        wire.metadata.deletion_timestamp = (going != Going::No).then(|| ago(1));
        wire.metadata.annotations = Some(annotations::of(&spec.wishes, &notes, |template| self.name_of(template)));
        if self.prepares {
            let hook = (statefulset::wishes::PREPARE_HOOK.to_owned(), preparing::HOOK.to_owned());
            wire.metadata.annotations.get_or_insert_default().extend([hook]);
        }
        wire.status = status;
        let retention = |delete: bool| Some(if delete { "Delete" } else { "Retain" }.to_owned());
        wire.spec = Some(StatefulSetSpec {
            replicas: Some(spec.replicas.into()),
            ordinals: Some(StatefulSetOrdinals { start: Some(spec.start.into()) }),
            pod_management_policy: Some(if spec.parallel { "Parallel" } else { "OrderedReady" }.to_owned()),
            update_strategy: Some(strategy(spec)),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: retention(spec.deleted_delete),
                when_scaled: retention(spec.scaled_delete),
            }),
            min_ready_seconds: spec.min_ready.then_some(MIN_READY_S),
            revision_history_limit: Some(spec.history_limit.into()),
            template: self.templates[usize::from(spec.template)].clone(),
            volume_claim_templates: Some(vec![claims::template(CLAIM, spec.storage)]),
            ..wire.spec.take().unwrap_or_default()
        });
        wire
    }
}

pub(super) fn template(image: &str, probed: bool) -> PodTemplateSpec {
    let container = Container {
        name: SET.to_owned(),
        image: Some(image.to_owned()),
        readiness_probe: probed.then(Probe::default),
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), SET.to_owned())])
}

pub(super) fn prototype(template: &PodTemplateSpec) -> StatefulSet {
    StatefulSet {
        metadata: ObjectMeta {
            name: Some(SET.to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(StatefulSetSpec {
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            service_name: Some(SET.to_owned()),
            template: template.clone(),
            volume_claim_templates: Some(vec![claims::template(CLAIM, 1)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn strategy(spec: Spec) -> StatefulSetUpdateStrategy {
    let of = |type_: &str, rolling_update| StatefulSetUpdateStrategy { type_: Some(type_.to_owned()), rolling_update };
    match spec.strategy {
        Strategy::OnDelete => of("OnDelete", None),
        Strategy::Recreate => of("Recreate", None),
        Strategy::Plain => of("RollingUpdate", None),
        Strategy::Block { partition, unavailable_max } => {
            let max_unavailable = unavailable_max.map(|max| IntOrString::Int(max.into()));
            let partition = Some(partition.into());
            of("RollingUpdate", Some(RollingUpdateStatefulSetStrategy { max_unavailable, partition }))
        }
    }
}
