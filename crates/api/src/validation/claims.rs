//! PersistentVolumeClaims, alone, as templates of a set and inside ephemeral volumes (contract 8).

use k8s_openapi::api::core::v1::{
    EphemeralVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{self, NameRule};
use super::path::Path;
use super::pod_spec::{PodContext, optional_choice};
use super::pod_warnings::fractional_bytes;
use super::{amounts, diff, labels, names};
use crate::amount::Amount;
use crate::errors::{FieldError, FieldErrors};
use crate::object::semantically_equal;
use crate::registry::Scope;

pub(super) const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// The class a claim had before there was a field for it.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const SPEC_RULE: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// Everything wrong with a new PersistentVolumeClaim.
pub fn persistent_volume_claim_create(claim: &PersistentVolumeClaim) -> FieldErrors {
    let mut errors = metadata::metadata_create(&claim.metadata, NameRule::Subdomain, Scope::Namespaced);
    spec(&mut errors, &Path::new("spec"), claim.spec.as_ref());
    errors
}

/// Everything wrong with a change to a PersistentVolumeClaim.
pub fn persistent_volume_claim_update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let path = Path::new("spec");
    spec(&mut errors, &path, new.spec.as_ref());
    let empty = PersistentVolumeClaimSpec::default();
    let (after, before) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let bound = phase(old) == "Bound";
    let allowed = with_mutable_fields_of(after, before, old, bound);
    if !semantically_equal(&allowed, before) {
        let detail = format!("{SPEC_RULE}\n{}", diff::of(before, &allowed));
        errors.push(FieldError::forbidden(&path, detail));
    }
    if bound {
        no_shrinking(&mut errors, &path, after, before, old.status.as_ref());
    }
    let class = |claim: &PersistentVolumeClaim| {
        claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(BETA_CLASS)).cloned()
    };
    let annotation = Path::new("metadata.annotations").child(BETA_CLASS);
    metadata::immutable(&mut errors, &annotation, &class(new).unwrap_or_default(), &class(old).unwrap_or_default());
    // This path lacks its `spec.`.
    metadata::immutable(&mut errors, &Path::new("volumeMode"), &after.volume_mode, &before.volume_mode);
    attributes_class(&mut errors, &path.child("volumeAttributesClassName"), after, old.status.as_ref());
    errors
}

/// Everything wrong with a change to the status of a PersistentVolumeClaim.
pub fn persistent_volume_claim_status_update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let Some(status) = &new.status else { return errors };
    let bound_without_modes = phase(new) == "Bound"
        && new.spec.as_ref().is_some_and(|spec| spec.access_modes.as_ref().is_none_or(Vec::is_empty));
    if bound_without_modes {
        errors.push(FieldError::required("Spec.AccessModes", "must be specified for bound claims"));
    }
    for (field, list) in [("capacity", &status.capacity), ("allocatedResources", &status.allocated_resources)] {
        for (name, quantity) in list.iter().flatten() {
            let path = Path::new("status").child(field).key(name);
            amounts::resource_quantity(&mut errors, &path, quantity, false);
        }
    }
    errors
}

/// Texts for `Warning:` headers.
pub fn persistent_volume_claim_warnings(
    claim: &PersistentVolumeClaim,
    _old: Option<&PersistentVolumeClaim>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if claim.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(BETA_CLASS)) {
        warnings.push(format!(
            "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    spec_warnings(&mut warnings, &Path::new("spec"), claim.spec.as_ref());
    warnings
}

/// The warnings of a claim's spec.
pub(super) fn spec_warnings(warnings: &mut Vec<String>, path: &Path, spec: Option<&PersistentVolumeClaimSpec>) {
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    for (name, quantity) in requests.into_iter().flatten() {
        fractional_bytes(warnings, &path.child("resources").child("requests").key(name), name, &quantity.0);
    }
}

/// The spec of a claim.
pub(super) fn spec(errors: &mut FieldErrors, path: &Path, spec: Option<&PersistentVolumeClaimSpec>) {
    let empty = PersistentVolumeClaimSpec::default();
    let spec = spec.unwrap_or(&empty);
    access_modes(
        errors,
        &path.child("accessModes"),
        spec.access_modes.as_deref(),
        "at least 1 access mode is required",
    );
    if let Some(selector) = &spec.selector {
        labels::selector(errors, &path.child("selector"), selector);
    }
    let storage = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
    let at = path.child("resources");
    match storage {
        None => errors.push(FieldError::required(at.key("storage"), "")),
        Some(quantity) => {
            amounts::resource_quantity(errors, &at.key("storage"), quantity, false);
            if Amount::parse(&quantity.0).is_some_and(|amount| amount <= Amount::ZERO) {
                errors.push(FieldError::invalid(at.key("storage"), quantity, amounts::POSITIVE));
            }
        }
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
        names::check(errors, &path.child("storageClassName"), class, names::subdomain);
    }
    optional_choice(errors, &path.child("volumeMode"), spec.volume_mode.as_deref(), VOLUME_MODES);
    data_sources(errors, path, spec);
}

/// Access modes of a claim or a volume; `missing` is the detail when there are none.
pub(super) fn access_modes(errors: &mut FieldErrors, path: &Path, modes: Option<&[String]>, missing: &str) {
    let modes = modes.unwrap_or_default();
    if modes.is_empty() {
        errors.push(FieldError::required(path, missing));
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.push(FieldError::not_supported(path, mode, ACCESS_MODES));
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.push(FieldError::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn data_sources(errors: &mut FieldErrors, path: &Path, spec: &PersistentVolumeClaimSpec) {
    if let Some(source) = &spec.data_source {
        let core = source.api_group.as_deref().unwrap_or_default().is_empty();
        let at = path.child("dataSource");
        for (field, missing) in [("name", source.name.is_empty()), ("kind", source.kind.is_empty())] {
            if missing {
                errors.push(FieldError::required(at.child(field), ""));
            }
        }
        if core && source.kind != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(at, &source.kind, detail));
        }
    }
    if let (Some(old), Some(new)) = (&spec.data_source, &spec.data_source_ref)
        && (&old.api_group, &old.kind, &old.name) != (&new.api_group, &new.kind, &new.name)
    {
        errors.push(FieldError::invalid(path, &new.name, "must match dataSourceRef"));
    }
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The new spec with everything that may change put back to what it was.
fn with_mutable_fields_of(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    claim: &PersistentVolumeClaim,
    bound: bool,
) -> PersistentVolumeClaimSpec {
    let mut spec = new.clone();
    // The binder fills in the volume once.
    if old.volume_name.as_deref().unwrap_or_default().is_empty() {
        spec.volume_name.clone_from(&old.volume_name);
    }
    if old.storage_class_name.is_none() {
        let beta = claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(BETA_CLASS));
        if beta.is_none_or(|beta| new.storage_class_name.as_ref() == Some(beta)) {
            spec.storage_class_name = None;
        }
    }
    // A different mode has an error of its own.
    spec.volume_mode.clone_from(&old.volume_mode);
    if bound {
        spec.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
        restore_storage_request(&mut spec, old);
    }
    spec
}

fn restore_storage_request(spec: &mut PersistentVolumeClaimSpec, old: &PersistentVolumeClaimSpec) {
    let requested = |spec: &PersistentVolumeClaimSpec| {
        spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage").cloned())
    };
    if let (Some(old), Some(requests)) =
        (requested(old), spec.resources.as_mut().and_then(|resources| resources.requests.as_mut()))
    {
        requests.insert("storage".to_owned(), old);
    }
}

/// A request that goes down may not fall below what the volume already has.
fn no_shrinking(
    errors: &mut FieldErrors,
    path: &Path,
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    status: Option<&PersistentVolumeClaimStatus>,
) {
    let requested = |spec: &PersistentVolumeClaimSpec| {
        let requests = spec.resources.as_ref()?.requests.as_ref()?;
        requests.get("storage").map(Amount::of)
    };
    let capacity = status.and_then(|status| status.capacity.as_ref()?.get("storage")).map(Amount::of);
    let (Some(now), Some(before)) = (requested(new), requested(old)) else { return };
    if now < before && capacity.is_none_or(|capacity| now < capacity) {
        let path = path.child("resources").child("requests").child("storage");
        errors.push(FieldError::forbidden(path, "field can not be less than status.capacity"));
    }
}

fn attributes_class(
    errors: &mut FieldErrors,
    path: &Path,
    spec: &PersistentVolumeClaimSpec,
    status: Option<&PersistentVolumeClaimStatus>,
) {
    if status.is_none_or(|status| status.current_volume_attributes_class_name.is_none()) {
        return;
    }
    let to = match spec.volume_attributes_class_name.as_deref() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let detail = format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.push(FieldError::forbidden(path, detail));
}

/// The claim an ephemeral volume is made of.
pub(super) fn ephemeral(
    errors: &mut FieldErrors,
    path: &Path,
    volume: &Volume,
    source: &EphemeralVolumeSource,
    context: &PodContext<'_>,
) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    if let Some(meta) = &template.metadata {
        let at = path.child("metadata");
        labels::labels(errors, &at.child("labels"), meta.labels.as_ref());
        labels::annotations(errors, &at.child("annotations"), meta.annotations.as_ref());
        let plain =
            ObjectMeta { labels: meta.labels.clone(), annotations: meta.annotations.clone(), ..ObjectMeta::default() };
        if *meta != plain {
            errors.push(FieldError::forbidden(at, "cannot be set"));
        }
    }
    spec(errors, &path.child("spec"), Some(&template.spec));
    if let Some(pod) = context.pod_name.filter(|name| !name.is_empty()) {
        let name = format!("{pod}-{}", volume.name);
        for message in names::subdomain(&name) {
            let detail = format!("PVC name \"{name}\": {message}");
            errors.push(FieldError::invalid(path.child("name"), &volume.name, detail));
        }
    }
}
