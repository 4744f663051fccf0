//! The metadata every object has (contract `defaults-validation.md`, 1.6).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use serde::Serialize;

use super::names::{self, Messages};
use super::path::Path;
use super::{amounts, go, labels};
use crate::errors::{FieldError, FieldErrors};
use crate::object::semantically_equal;
use crate::registry::Scope;

/// The rule a kind's names follow (contract 1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 label of at most 63 characters.
    Label,
    /// A DNS-1123 subdomain of at most 253 characters.
    Subdomain,
    /// Anything that can be one segment of a URL path.
    PathSegment,
}

impl NameRule {
    fn check(self) -> fn(&str) -> Messages {
        match self {
            Self::Label => names::label,
            Self::Subdomain => names::subdomain,
            Self::PathSegment => names::path_segment,
        }
    }
}

/// Names of managers and subresources in `managedFields`.
const MANAGER_BYTES_MAX: usize = 128;
const SUBRESOURCE_BYTES_MAX: usize = 256;

pub(super) const IMMUTABLE: &str = "field is immutable";

/// Everything wrong with the metadata of a new object. The handler has filled in the namespace and
/// generated the name already.
pub fn metadata_create(meta: &ObjectMeta, rule: NameRule, scope: Scope) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let path = Path::new("metadata");
    name(&mut errors, &path, meta, rule);
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match (scope, namespace.is_empty()) {
        (Scope::Namespaced, true) => errors.push(FieldError::required(path.child("namespace"), "")),
        (Scope::Namespaced, false) => names::check(&mut errors, &path.child("namespace"), namespace, names::label),
        (Scope::Cluster, true) => {}
        (Scope::Cluster, false) => {
            errors.push(FieldError::forbidden(path.child("namespace"), "not allowed on this type"));
        }
    }
    amounts::not_negative(&mut errors, &path.child("generation"), meta.generation);
    maps_and_owners(&mut errors, &path, meta);
    finalizers(&mut errors, &path.child("finalizers"), meta);
    managed_fields(&mut errors, &path.child("managedFields"), meta.managed_fields.as_deref().unwrap_or_default());
    standard_finalizers(&mut errors, &path.child("finalizers"), meta);
    errors
}

/// Everything wrong with a change to an object's metadata. Whether a resourceVersion must be given
/// is the handler's business, which has put the live one in by now.
pub fn metadata_update(new: &ObjectMeta, old: &ObjectMeta) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let path = Path::new("metadata");
    if old.deletion_timestamp.is_some() {
        no_new_finalizers(&mut errors, &path.child("finalizers"), new, old);
    }
    if new.generation.unwrap_or_default() < old.generation.unwrap_or_default() {
        let generation = new.generation.unwrap_or_default();
        errors.push(FieldError::invalid(path.child("generation"), generation, "must not be decremented"));
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    immutable(&mut errors, &path.child("name"), &text(&new.name), &text(&old.name));
    immutable(&mut errors, &path.child("namespace"), &text(&new.namespace), &text(&old.namespace));
    if new.uid.is_some() {
        immutable(&mut errors, &path.child("uid"), &text(&new.uid), &text(&old.uid));
    }
    immutable(&mut errors, &path.child("creationTimestamp"), &new.creation_timestamp, &old.creation_timestamp);
    immutable(&mut errors, &path.child("deletionTimestamp"), &new.deletion_timestamp, &old.deletion_timestamp);
    let grace_s = path.child("deletionGracePeriodSeconds");
    immutable(&mut errors, &grace_s, &new.deletion_grace_period_seconds, &old.deletion_grace_period_seconds);
    maps_and_owners(&mut errors, &path, new);
    finalizers(&mut errors, &path.child("finalizers"), new);
    managed_fields(&mut errors, &path.child("managedFields"), new.managed_fields.as_deref().unwrap_or_default());
    standard_finalizers(&mut errors, &path.child("finalizers"), new);
    errors
}

/// A field that keeps its first value; absent and empty lists are the same.
pub(super) fn immutable<T: PartialEq + Serialize>(errors: &mut FieldErrors, path: &Path, new: &T, old: &T) {
    if !semantically_equal(new, old) {
        errors.push(FieldError::invalid(path, new, IMMUTABLE));
    }
}

fn name(errors: &mut FieldErrors, path: &Path, meta: &ObjectMeta, rule: NameRule) {
    if let Some(prefix) = meta.generate_name.as_deref().filter(|prefix| !prefix.is_empty()) {
        for message in rule.check()(&mask_trailing_dash(prefix)) {
            errors.push(FieldError::invalid(path.child("generateName"), prefix, message));
        }
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.push(FieldError::required(path.child("name"), "name or generateName is required")),
        name => names::check(errors, &path.child("name"), name, rule.check()),
    }
}

/// A prefix may end with a dash, since more follows.
fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(head) if !head.is_empty() => {
            let mut masked = head.to_owned();
            masked.pop();
            masked + "a"
        }
        Some(_) | None => prefix.to_owned(),
    }
}

fn maps_and_owners(errors: &mut FieldErrors, path: &Path, meta: &ObjectMeta) {
    labels::labels(errors, &path.child("labels"), meta.labels.as_ref());
    labels::annotations(errors, &path.child("annotations"), meta.annotations.as_ref());
    owners(errors, &path.child("ownerReferences"), meta.owner_references.as_deref().unwrap_or_default());
}

/// Owner references: no index in the path.
fn owners(errors: &mut FieldErrors, path: &Path, owners: &[OwnerReference]) {
    let mut controller: Option<String> = None;
    for owner in owners {
        one_owner(errors, path, owner);
        if owner.controller != Some(true) {
            continue;
        }
        let this = format!("{}/{}", owner.kind, owner.name);
        match &controller {
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                let shown: Vec<_> = owners.iter().map(go::OwnerReference::from).collect();
                errors.push(FieldError::invalid(path, shown, detail));
            }
            None => controller = Some(this),
        }
    }
}

fn one_owner(errors: &mut FieldErrors, path: &Path, owner: &OwnerReference) {
    let version = owner.api_version.rsplit('/').next().unwrap_or_default();
    if version.is_empty() {
        errors.push(FieldError::invalid(path.child("apiVersion"), &owner.api_version, "version must not be empty"));
    }
    for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
        if value.is_empty() {
            errors.push(FieldError::invalid(path.child(field), value, "must not be empty"));
        }
    }
    if owner.api_version == "v1" && owner.kind == "Event" {
        let detail = "/v1, Kind=Event is disallowed from being an owner";
        errors.push(FieldError::invalid(path, go::OwnerReference::from(owner), detail));
    }
}

fn finalizers(errors: &mut FieldErrors, path: &Path, meta: &ObjectMeta) {
    let list = meta.finalizers.as_deref().unwrap_or_default();
    for finalizer in list {
        names::check(errors, path, finalizer, names::qualified);
    }
    let has = |name: &str| list.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, list, detail));
    }
}

fn standard_finalizers(errors: &mut FieldErrors, path: &Path, meta: &ObjectMeta) {
    for (index, finalizer) in meta.finalizers.iter().flatten().enumerate() {
        standard_finalizer(errors, &path.index(index), finalizer);
    }
}

/// A finalizer without a domain must be one of the three Kubernetes knows.
pub(super) fn standard_finalizer(errors: &mut FieldErrors, path: &Path, finalizer: &str) {
    if !finalizer.contains('/') && !matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid(path, finalizer, detail));
    }
}

fn no_new_finalizers(errors: &mut FieldErrors, path: &Path, new: &ObjectMeta, old: &ObjectMeta) {
    let known = old.finalizers.as_deref().unwrap_or_default();
    let mut added: Vec<_> = new
        .finalizers
        .iter()
        .flatten()
        .filter(|finalizer| !known.contains(finalizer))
        .map(|f| format!("{f:?}"))
        .collect();
    if !added.is_empty() {
        added.sort();
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        errors.push(FieldError::forbidden(path, detail));
    }
}

fn managed_fields(errors: &mut FieldErrors, path: &Path, entries: &[ManagedFieldsEntry]) {
    for (index, entry) in entries.iter().enumerate() {
        let path = path.index(index);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let operation = text(&entry.operation);
        if !matches!(operation.as_str(), "Apply" | "Update") {
            errors.push(FieldError::invalid(path.child("operation"), operation, "must be `Apply` or `Update`"));
        }
        let fields_type = text(&entry.fields_type);
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            errors.push(FieldError::invalid(path.child("fieldsType"), fields_type, "must be `FieldsV1`"));
        }
        if text(&entry.manager).len() > MANAGER_BYTES_MAX {
            errors.push(FieldError::too_long(path.child("fieldManager"), MANAGER_BYTES_MAX));
        }
        if text(&entry.subresource).len() > SUBRESOURCE_BYTES_MAX {
            errors.push(FieldError::too_long(path.child("subresource"), SUBRESOURCE_BYTES_MAX));
        }
    }
}
