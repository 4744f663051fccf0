//! The objects that actions stand for: pods, claims and revisions as they go over the wire
//! (contract sections D, E, F, H2). It renders what was decided and decides nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use stead_api::preparation::{PREPARE, Prefetch, Request, WantedImage};

use super::actions::ClaimKeeper;
use super::claim_views::claim_owner;
use super::claims::first_keeper;
use super::ordinals::{Ordinal, claim_name, pod_name};
use super::reset;
use super::revisions::{self, RevisionName};
use super::views::{ClaimOwner, set_view};
use super::wishes::{RESET_GENERATION, ROLLED_BACK, write_rolled_back};
use super::{API_VERSION, KIND, POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL};
use crate::pods;

/// Label of a revision with its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The pod of `ordinal`, from `template` as it is at `revision` (D1–D3, E3).
pub fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &RevisionName, ordinal: Ordinal) -> Pod {
    let set_name = name_of(set);
    let name = pod_name(set_name, ordinal);
    let from = template.metadata.clone().unwrap_or_default();
    let mut labels = from.labels.unwrap_or_default();
    labels.extend(identity_labels(&name, ordinal));
    labels.insert(REVISION_LABEL.to_owned(), revision.label().0);
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = spec_of(set).and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
    let volumes = claim_volumes(set, ordinal);
    let kept = spec.volumes.unwrap_or_default();
    let kept = kept.into_iter().filter(|volume| volumes.iter().all(|claim| claim.name != volume.name));
    let volumes: Vec<Volume> = volumes.iter().cloned().chain(kept).collect();
    spec.volumes = Some(volumes).filter(|volumes| !volumes.is_empty());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(format!("{set_name}-")),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: marked(set, ordinal, from.annotations),
            finalizers: from.finalizers,
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// The template of a revision: the set's own, or what `revision` keeps.
pub fn template(
    set: &StatefulSet,
    revision: &RevisionName,
    stored: Option<&ControllerRevision>,
) -> Option<PodTemplateSpec> {
    match stored {
        Some(stored) if stored.metadata.name.as_deref() == Some(&revision.0) => revisions::template_of(stored),
        Some(_) => None,
        None => spec_of(set).map(|spec| spec.template.clone()),
    }
}

/// The claim of `ordinal` made from the template called `template`; none when there is no such
/// template (E1).
pub fn claim(set: &StatefulSet, template: &str, ordinal: Ordinal) -> Option<PersistentVolumeClaim> {
    let spec = spec_of(set)?;
    let templates = spec.volume_claim_templates.iter().flatten();
    let mut claim = templates.into_iter().find(|claim| claim.metadata.name.as_deref() == Some(template))?.clone();
    let mut labels = claim.metadata.labels.take().unwrap_or_default();
    labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
    claim.metadata = ObjectMeta {
        name: Some(claim_name(template, name_of(set), ordinal)),
        namespace: set.metadata.namespace.clone(),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        annotations: marked(set, ordinal, claim.metadata.annotations),
        ..ObjectMeta::default()
    };
    claim.status = None;
    let keeper = first_keeper(&set_view(set));
    Some(owned_claim(set, &claim, ordinal, &keeper))
}

/// `claim` with its owners of ours replaced by `keeper`; foreign ones stay in front (F6).
pub fn owned_claim(
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    ordinal: Ordinal,
    keeper: &ClaimKeeper,
) -> PersistentVolumeClaim {
    let view = set_view(set);
    let mut claim = claim.clone();
    let mut owners = claim.metadata.owner_references.take().unwrap_or_default();
    owners.retain(|owner| claim_owner(&view, ordinal, owner) == ClaimOwner::Foreign);
    owners.extend(match keeper {
        ClaimKeeper::Nobody => None,
        ClaimKeeper::Set => Some(reference(set)),
        ClaimKeeper::Pod(uid) => {
            let pod = ObjectMeta {
                name: Some(pod_name(name_of(set), ordinal)),
                uid: Some(uid.0.clone()),
                ..ObjectMeta::default()
            };
            Some(pods::controller_reference("v1", "Pod", &pod))
        }
    });
    claim.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
    claim
}

/// `claim`, asking for `storage`.
pub fn grown_claim(claim: &PersistentVolumeClaim, storage: &str) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    let resources = claim.spec.get_or_insert_default().resources.get_or_insert_default();
    resources.requests.get_or_insert_default().insert("storage".to_owned(), Quantity(storage.to_owned()));
    claim
}

/// The strategic merge patch that puts the template of `revision` back into the very state of `set` that
/// was decided on: the one `kubectl rollout undo` sends, with the note of what was taken back.
pub fn rollback(set: &StatefulSet, revision: &ControllerRevision, from: &RevisionName) -> Option<Value> {
    let RawExtension(data) = revision.data.as_ref()?;
    let mut patch = data.clone();
    let meta = &set.metadata;
    patch.as_object_mut()?.insert(
        "metadata".to_owned(),
        json!({
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "annotations": {ROLLED_BACK: write_rolled_back(&set_view(set).wishes.rolled_back, from)},
        }),
    );
    Some(patch)
}

/// The merge patch that writes an annotation of the set, or takes it away.
pub fn remembered(set: &StatefulSet, key: &str, value: Option<&str>) -> Value {
    json!({"metadata": {"uid": set.metadata.uid, "annotations": {key: value}}})
}

/// The set's template written down as a revision (H1, H2).
pub fn revision(set: &StatefulSet, name: &RevisionName, hash: &str, number: i64) -> ControllerRevision {
    let template = spec_of(set).and_then(|spec| spec.template.metadata.clone());
    let mut labels = template.and_then(|meta| meta.labels).unwrap_or_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.0.clone()),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(revisions::data_of(set))),
        revision: number,
    }
}

/// `meta` of the pod of `ordinal` with its identity labels (D5).
pub fn relabelled(set: &StatefulSet, meta: &ObjectMeta, ordinal: Ordinal) -> ObjectMeta {
    let mut meta = meta.clone();
    meta.labels.get_or_insert_default().extend(identity_labels(&pod_name(name_of(set), ordinal), ordinal));
    meta
}

/// `meta` of a pod with the request to its node to make ready for `revision`, whose template is `template`.
/// The request is called by the state of the pod that was decided on.
pub fn asked(
    set: &StatefulSet,
    meta: &ObjectMeta,
    template: &PodTemplateSpec,
    revision: &RevisionName,
    at: Timestamp,
) -> ObjectMeta {
    let wishes = set_view(set).wishes;
    let spec = template.spec.clone().unwrap_or_default();
    let mut images: Vec<WantedImage> = Vec::new();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let Some(image) = container.image.clone().filter(|_| wishes.prefetch != Prefetch::Off) else { continue };
        let wanted = WantedImage { image, pull_policy: container.image_pull_policy.clone() };
        if !images.contains(&wanted) {
            images.push(wanted);
        }
    }
    let request = Request {
        id: meta.resource_version.clone().unwrap_or_default(),
        asked_at: Time(at),
        revision: revision.0.clone(),
        prefetch: wishes.prefetch,
        images,
        pull_secrets: spec.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect(),
        hook: wishes.hook,
    };
    let mut meta = meta.clone();
    meta.annotations.get_or_insert_default().insert(PREPARE.to_owned(), request.text());
    meta
}

/// `meta` of a pod without a request to its node.
pub fn unasked(meta: &ObjectMeta) -> ObjectMeta {
    let mut meta = meta.clone();
    meta.annotations.get_or_insert_default().remove(PREPARE);
    meta
}

/// `annotations` with the generation of the reset that this replica is made for, if there is one.
fn marked(
    set: &StatefulSet,
    ordinal: Ordinal,
    annotations: Option<BTreeMap<String, String>>,
) -> Option<BTreeMap<String, String>> {
    let view = set_view(set);
    let Some(generation) = reset::generation(&view, ordinal) else { return annotations };
    let mut annotations = annotations.unwrap_or_default();
    annotations.insert(RESET_GENERATION.to_owned(), generation.clone());
    Some(annotations)
}

fn identity_labels(pod: &str, ordinal: Ordinal) -> [(String, String); 2] {
    [(POD_NAME_LABEL.to_owned(), pod.to_owned()), (POD_INDEX_LABEL.to_owned(), ordinal.to_string())]
}

fn claim_volumes(set: &StatefulSet, ordinal: Ordinal) -> Vec<Volume> {
    let templates = spec_of(set).and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default();
    let volume = |template: &PersistentVolumeClaim| {
        let name = template.metadata.name.clone().unwrap_or_default();
        let claim_name = claim_name(&name, name_of(set), ordinal);
        Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name, read_only: None }),
            name,
            ..Volume::default()
        }
    };
    templates.iter().map(volume).collect()
}

/// The reference to the set that its pods, revisions and, where the policy says so, claims carry.
pub fn reference(set: &StatefulSet) -> OwnerReference {
    pods::controller_reference(API_VERSION, KIND, &set.metadata)
}

fn name_of(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

fn spec_of(set: &StatefulSet) -> Option<&StatefulSetSpec> {
    set.spec.as_ref()
}
