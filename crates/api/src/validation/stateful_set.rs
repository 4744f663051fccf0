//! StatefulSets and ControllerRevisions (contract `statefulset.md`, B).

use k8s_openapi::api::apps::v1::{
    ControllerRevision, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetStatus,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};

use super::metadata::{self, NameRule};
use super::path::Path;
use super::workloads::{self, Count, Counters};
use super::{amounts, claims, go, labels, names, pod_spec, pod_warnings};
use crate::errors::{FieldError, FieldErrors};
use crate::object::semantically_equal;
use crate::registry::Scope;

const SPEC_RULE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// Everything wrong with a new StatefulSet (B1-B12).
pub fn stateful_set_create(set: &StatefulSet) -> FieldErrors {
    let mut errors = metadata::metadata_create(&set.metadata, NameRule::Label, Scope::Namespaced);
    annotations(&mut errors, set, None);
    let empty = StatefulSetSpec::default();
    let spec = set.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    let name = path.child("serviceName");
    names::check_optional(&mut errors, &name, spec.service_name.as_ref(), names::label);
    spec_rules(&mut errors, &path, spec);
    template(&mut errors, &path.child("template"), spec);
    for (index, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        claim_template(&mut errors, &path.child("volumeClaimTemplates").index(index), claim);
    }
    errors
}

/// Everything wrong with a change to a StatefulSet (B13, B14). The name is not judged again, and a
/// stored template that today's rules would refuse does not stand in the way.
pub fn stateful_set_update(new: &StatefulSet, old: &StatefulSet) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    annotations(&mut errors, new, Some(old));
    let empty = StatefulSetSpec::default();
    let (spec, before) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let path = Path::new("spec");
    spec_rules(&mut errors, &path, spec);
    let mut stored = FieldErrors::default();
    template(&mut stored, &path.child("template"), before);
    if stored.is_empty() {
        template(&mut errors, &path.child("template"), spec);
    }
    claim_templates(&mut errors, &path.child("volumeClaimTemplates"), spec, before);
    let allowed = StatefulSetSpec {
        replicas: before.replicas,
        ordinals: before.ordinals.clone(),
        template: before.template.clone(),
        update_strategy: before.update_strategy.clone(),
        revision_history_limit: before.revision_history_limit,
        persistent_volume_claim_retention_policy: before.persistent_volume_claim_retention_policy.clone(),
        min_ready_seconds: before.min_ready_seconds,
        volume_claim_templates: with_specs_of(spec, before),
        ..spec.clone()
    };
    if !semantically_equal(&allowed, before) {
        errors.push(FieldError::forbidden(path, SPEC_RULE));
    }
    errors
}

/// Annotations that mean something here must be readable ([`crate::annotations`]): one that reserves
/// ordinals would otherwise be as good as taken away. What is stored already does not stand in the way.
fn annotations(errors: &mut FieldErrors, new: &StatefulSet, old: Option<&StatefulSet>) {
    let path = Path::new("metadata").child("annotations");
    let stored = old.and_then(|old| old.metadata.annotations.as_ref());
    for (key, value) in new.metadata.annotations.iter().flatten() {
        if stored.is_some_and(|stored| stored.get(key) == Some(value)) {
            continue;
        }
        if let Some(wrong) = crate::annotations::problem(key, value) {
            errors.push(FieldError::invalid(path.key(key), value, wrong));
        }
    }
}

/// What claim templates ask for may change: a larger size reaches the claims there are, everything
/// else those made later (docs/differences.md). Which templates there are may not (B13).
fn claim_templates(errors: &mut FieldErrors, path: &Path, spec: &StatefulSetSpec, before: &StatefulSetSpec) {
    let old: Vec<_> = before.volume_claim_templates.iter().flatten().collect();
    for (index, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        let marks = |claim: &PersistentVolumeClaim| (claim.metadata.labels.clone(), claim.metadata.annotations.clone());
        let unchanged =
            old.get(index).is_some_and(|old| semantically_equal(&old.spec, &claim.spec) && marks(old) == marks(claim));
        if !unchanged {
            claim_template(errors, &path.index(index), claim);
        }
    }
}

/// What every claim would be refused for, unlike Kubernetes, where only the claims are.
fn claim_template(errors: &mut FieldErrors, path: &Path, claim: &PersistentVolumeClaim) {
    let metadata = path.child("metadata");
    labels::labels(errors, &metadata.child("labels"), claim.metadata.labels.as_ref());
    labels::annotations(errors, &metadata.child("annotations"), claim.metadata.annotations.as_ref());
    claims::spec(errors, &path.child("spec"), claim.spec.as_ref());
}

/// The claim templates with what may change put back to what it was.
fn with_specs_of(spec: &StatefulSetSpec, before: &StatefulSetSpec) -> Option<Vec<PersistentVolumeClaim>> {
    let mut templates = spec.volume_claim_templates.clone()?;
    for (template, old) in templates.iter_mut().zip(before.volume_claim_templates.iter().flatten()) {
        template.spec.clone_from(&old.spec);
        template.metadata.labels.clone_from(&old.metadata.labels);
        template.metadata.annotations.clone_from(&old.metadata.annotations);
    }
    Some(templates)
}

/// Everything wrong with a change to the status of a StatefulSet (B15).
pub fn stateful_set_status_update(new: &StatefulSet, old: &StatefulSet) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let empty = StatefulSetStatus::default();
    let status = new.status.as_ref().unwrap_or(&empty);
    let path = Path::new("status");
    workloads::counters(
        &mut errors,
        &path,
        &Counters {
            all: Count("replicas", Some(status.replicas)),
            bounded: &[
                Count("readyReplicas", status.ready_replicas),
                Count("currentReplicas", status.current_replicas),
                Count("updatedReplicas", status.updated_replicas),
                Count("availableReplicas", status.available_replicas),
            ],
            ready: None,
            available: None,
        },
    );
    let ready = status.ready_replicas.unwrap_or_default();
    if let Some(available) = status.available_replicas.filter(|available| *available > ready) {
        let path = path.child("availableReplicas");
        errors.push(FieldError::invalid(path, available, "cannot be greater than status.readyReplicas"));
    }
    amounts::not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
    let before = old.status.as_ref().and_then(|status| status.collision_count);
    workloads::collisions(&mut errors, &path.child("collisionCount"), status.collision_count, before);
    errors
}

/// Texts for `Warning:` headers (B16).
pub fn stateful_set_warnings(set: &StatefulSet, old: Option<&StatefulSet>) -> Vec<String> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let mut warnings = Vec::new();
    if old.is_none_or(|old| old.spec.as_ref().is_none_or(|old| old.template != spec.template)) {
        pod_warnings::template(&mut warnings, &Path::new("spec.template"), &spec.template);
    }
    for (index, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        let path = Path::new("spec.volumeClaimTemplates").index(index).child("spec");
        claims::spec_warnings(&mut warnings, &path, claim.spec.as_ref());
    }
    if let Some(warning) = names_too_long(set, spec) {
        warnings.push(warning);
    }
    if spec.revision_history_limit.is_some_and(|limit| limit < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
    warnings
}

/// A pod's name is its host name and a label too, so there is no pod for a longer one (S6).
fn names_too_long(set: &StatefulSet, spec: &StatefulSetSpec) -> Option<String> {
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let highest = start.saturating_add(spec.replicas.unwrap_or(1)).saturating_sub(1).max(0);
    let pod = format!("{}-{highest}", set.metadata.name.as_deref().unwrap_or_default());
    (pod.len() > names::LABEL_MAX).then(|| {
        format!(
            "metadata.name: pod names like {pod} are longer than {} characters, so these pods cannot be made",
            names::LABEL_MAX
        )
    })
}

fn spec_rules(errors: &mut FieldErrors, path: &Path, spec: &StatefulSetSpec) {
    let at = path.child("podManagementPolicy");
    match spec.pod_management_policy.as_deref().unwrap_or_default() {
        "" => errors.push(FieldError::required(at, "")),
        "OrderedReady" | "Parallel" => {}
        other => errors.push(FieldError::invalid(at, other, "must be 'OrderedReady' or 'Parallel'")),
    }
    let default = StatefulSetUpdateStrategy::default();
    let strategy = spec.update_strategy.as_ref().unwrap_or(&default);
    update_strategy(errors, &path.child("updateStrategy"), strategy);
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        let at = path.child("persistentVolumeClaimRetentionPolicy");
        let fields = [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)];
        for (field, value) in fields {
            let value = value.as_deref().unwrap_or_default();
            if !matches!(value, "Retain" | "Delete") {
                errors.push(FieldError::not_supported(at.child(field), value, &["Retain", "Delete"]));
            }
        }
    }
    amounts::not_negative(errors, &path.child("replicas"), spec.replicas);
    amounts::not_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    amounts::not_negative(errors, &path.child("ordinals").child("start"), start);
    workloads::selector(errors, &path.child("selector"), &spec.selector);
    workloads::runs_forever(errors, &path.child("template"), &spec.template, "StatefulSet");
}

fn update_strategy(errors: &mut FieldErrors, path: &Path, strategy: &StatefulSetUpdateStrategy) {
    let block = strategy.rolling_update.as_ref();
    match (strategy.type_.as_deref().unwrap_or_default(), block) {
        ("", _) => errors.push(FieldError::required(path, "")),
        ("RollingUpdate", Some(block)) => rolling_update(errors, &path.child("rollingUpdate"), block),
        ("OnDelete" | "Recreate", Some(block)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(path.child("rollingUpdate"), go::SetRollingUpdate::from(block), detail));
        }
        ("OnDelete" | "Recreate" | "RollingUpdate", None) => {}
        (type_, block) => {
            let value = go::Strategy { type_, rolling_update: block.map(go::SetRollingUpdate::from) };
            errors.push(FieldError::invalid(path, value, "must be 'RollingUpdate', 'OnDelete' or 'Recreate'"));
        }
    }
}

fn rolling_update(errors: &mut FieldErrors, path: &Path, block: &RollingUpdateStatefulSetStrategy) {
    amounts::not_negative(errors, &path.child("partition"), block.partition);
    if let Some(unavailable) = &block.max_unavailable {
        let path = path.child("maxUnavailable");
        amounts::count_or_percent(errors, &path, unavailable);
        if amounts::is_zero(unavailable) {
            errors.push(FieldError::invalid(&path, unavailable, "cannot be 0"));
        }
        amounts::at_most_all(errors, &path, unavailable);
    }
}

/// The template is judged as the controller will use it (B9, B10): with the claims mounted under
/// the names of their templates, and without the host name that the controller overwrites.
fn template(errors: &mut FieldErrors, path: &Path, spec: &StatefulSetSpec) {
    if workloads::selector_matches(errors, path, &spec.selector, &spec.template, "") {
        pod_spec::template(errors, path, &as_used(spec));
    }
}

fn as_used(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let Some(pod) = &mut template.spec else { return template };
    pod.hostname = None;
    pod.subdomain = None;
    for claim in spec.volume_claim_templates.iter().flatten() {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let volumes = pod.volumes.get_or_insert_default();
        volumes.retain(|volume| volume.name != name);
        let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None };
        volumes.push(Volume { name, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    template
}

/// Everything wrong with a new ControllerRevision (B17).
pub fn controller_revision_create(revision: &ControllerRevision) -> FieldErrors {
    let mut errors = metadata::metadata_create(&revision.metadata, NameRule::Subdomain, Scope::Namespaced);
    let path = Path::new("data");
    match &revision.data {
        None => errors.push(FieldError::required(path, "data is mandatory")),
        Some(data) if !data.0.is_object() => {
            let text = data.0.to_string();
            errors.push(FieldError::invalid(path, text, "data must be a valid JSON object"));
        }
        Some(_) => {}
    }
    amounts::not_negative(&mut errors, &Path::new("revision"), Some(revision.revision));
    errors
}

/// Everything wrong with a change to a ControllerRevision: its data is written once.
pub fn controller_revision_update(new: &ControllerRevision, old: &ControllerRevision) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    amounts::not_negative(&mut errors, &Path::new("revision"), Some(new.revision));
    metadata::immutable(&mut errors, &Path::new("data"), &new.data, &old.data);
    errors
}

/// ControllerRevisions never warn.
pub fn controller_revision_warnings(_new: &ControllerRevision, _old: Option<&ControllerRevision>) -> Vec<String> {
    Vec::new()
}
