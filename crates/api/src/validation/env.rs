//! Environment variables and the references they are filled from (contract 4.4, env).

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector,
};

use super::names;
use super::path::Path;
use super::pod_spec::PodContext;
use crate::amount::Amount;
use crate::errors::{FieldError, FieldErrors};

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Where a reference to the pod stands, which decides the fields it may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Environment,
    Volume,
}

/// The variables of a container.
pub(super) fn variables(errors: &mut FieldErrors, path: &Path, variables: &[EnvVar], context: &PodContext<'_>) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        match variable.name.as_str() {
            "" => errors.push(FieldError::required(path.child("name"), "")),
            name => names::check(errors, &path.child("name"), name, names::environment_variable),
        }
        if let Some(source) = &variable.value_from {
            let plain = variable.value.as_ref().is_some_and(|value| !value.is_empty());
            value_from(errors, &path.child("valueFrom"), source, plain, context);
        }
    }
}

fn value_from(errors: &mut FieldErrors, path: &Path, source: &EnvVarSource, plain: bool, context: &PodContext<'_>) {
    let mut sources = 0;
    if let Some(reference) = &source.field_ref {
        sources += 1;
        field_ref(errors, &path.child("fieldRef"), reference, Place::Environment);
    }
    if let Some(reference) = &source.resource_field_ref {
        sources += 1;
        resource_field_ref(errors, &path.child("resourceFieldRef"), reference, Place::Environment);
    }
    if let Some(reference) = &source.config_map_key_ref {
        sources += 1;
        key_ref(errors, &path.child("configMapKeyRef"), &reference.name, &reference.key);
    }
    if let Some(reference) = &source.secret_key_ref {
        sources += 1;
        key_ref(errors, &path.child("secretKeyRef"), &reference.name, &reference.key);
    }
    if let Some(reference) = &source.file_key_ref {
        sources += 1;
        file_key_ref(errors, &path.child("fileKeyRef"), reference, context);
    }
    let detail = match (sources, plain) {
        (0, _) => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        (_, true) => "may not be specified when `value` is not empty",
        (1, false) => return,
        (_, false) => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", detail));
}

/// A reference to a field of the pod.
pub(super) fn field_ref(errors: &mut FieldErrors, path: &Path, reference: &ObjectFieldSelector, place: Place) {
    if reference.api_version.as_deref().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(path.child("apiVersion"), ""));
        return;
    }
    let path = path.child("fieldPath");
    let field = reference.field_path.as_str();
    if field.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if let Some((map, key)) = subscript(field) {
        return subscripted(errors, &path, field, map, key);
    }
    let unknown = !ENV_FIELDS.contains(&field) && !VOLUME_FIELDS.contains(&field) && field != "spec.restartPolicy";
    if unknown || reference.api_version.as_deref() != Some("v1") {
        let detail = format!("error converting fieldPath: field label not supported: {field}");
        errors.push(FieldError::invalid(path, field, detail));
        return;
    }
    let supported = match place {
        Place::Environment => ENV_FIELDS,
        Place::Volume => VOLUME_FIELDS,
    };
    if !supported.contains(&field) {
        errors.push(FieldError::not_supported(path, field, supported));
    }
}

/// Splits `metadata.labels['key']`.
fn subscript(field: &str) -> Option<(&str, &str)> {
    field.strip_suffix("']")?.split_once("['")
}

fn subscripted(errors: &mut FieldErrors, path: &Path, field: &str, map: &str, key: &str) {
    match map {
        "metadata.labels" => names::check(errors, path, key, names::qualified),
        "metadata.annotations" => names::check(errors, path, key, names::qualified_lower_case),
        _ => {
            let detail = "does not support subscript";
            errors.push(FieldError::invalid(path, field, detail));
        }
    }
}

/// A reference to a resource of a container.
pub(super) fn resource_field_ref(
    errors: &mut FieldErrors,
    path: &Path,
    reference: &ResourceFieldSelector,
    place: Place,
) {
    let resource = reference.resource.as_str();
    if place == Place::Volume && reference.container_name.as_deref().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(path.child("resource"), ""));
    } else if !RESOURCES.contains(&resource) && !is_huge_pages(resource) {
        errors.push(FieldError::not_supported(path.child("resource"), resource, RESOURCES));
    }
    divisor(errors, &path.child("divisor"), reference);
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-")
}

fn divisor(errors: &mut FieldErrors, path: &Path, reference: &ResourceFieldSelector) {
    let Some(divisor) = &reference.divisor else { return };
    let zero = Amount::parse(&divisor.0) == Some(Amount::ZERO);
    let is_one_of = |texts: &[&str]| texts.iter().any(|text| Amount::parse(text) == Amount::parse(&divisor.0));
    let resource = reference.resource.as_str();
    let (allowed, subject, list) = match resource.split_once('.').map_or(resource, |(_, name)| name) {
        "cpu" => (is_one_of(&["1m", "1"]), "cpu", "1m and 1"),
        "memory" => (is_one_of(BYTE_DIVISORS), "memory", BYTES),
        "ephemeral-storage" => (is_one_of(BYTE_DIVISORS), "local ephemeral storage", BYTES),
        name if name.starts_with("hugepages-") => (is_one_of(BYTE_DIVISORS), "hugepages", BYTES),
        _ => return,
    };
    if !zero && !allowed {
        let detail = format!("only divisor's values {list} are supported with the {subject} resource");
        errors.push(FieldError::invalid(path, resource, detail));
    }
}

const BYTES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

/// A key of a ConfigMap or Secret. An empty name is an invalid one here.
fn key_ref(errors: &mut FieldErrors, path: &Path, name: &str, key: &str) {
    names::check(errors, &path.child("name"), name, names::subdomain);
    match key {
        "" => errors.push(FieldError::required(path.child("key"), "")),
        key => names::check(errors, &path.child("key"), key, names::config_key),
    }
}

fn file_key_ref(errors: &mut FieldErrors, path: &Path, reference: &FileKeySelector, context: &PodContext<'_>) {
    match reference.key.as_str() {
        "" => errors.push(FieldError::required(path.child("key"), "")),
        key => names::check(errors, &path.child("key"), key, names::environment_variable),
    }
    let name = path.child("volumeName");
    match (reference.volume_name.as_str(), context.volumes.get(reference.volume_name.as_str())) {
        ("", _) => errors.push(FieldError::required(name, "")),
        (volume, None) => {
            names::check(errors, &name, volume, names::label);
            errors.push(FieldError::not_found(name, volume));
        }
        (volume, Some(found)) if found.empty_dir.is_none() => {
            errors.push(FieldError::invalid(name, volume, "referenced volume must be of type emptyDir"));
        }
        (_, Some(_)) => {}
    }
    match reference.path.as_str() {
        "" => errors.push(FieldError::required(path.child("path"), "")),
        file => super::mounts::inside(errors, &path.child("path"), file),
    }
}

/// Whole ConfigMaps and Secrets turned into variables.
pub(super) fn sources(errors: &mut FieldErrors, path: &Path, sources: &[EnvFromSource]) {
    for source in sources {
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            names::check(errors, &path.child("prefix"), prefix, names::environment_variable);
        }
        let config_map = source.config_map_ref.as_ref().map(|reference| ("configMapRef", &reference.name));
        let secret = source.secret_ref.as_ref().map(|reference| ("secretRef", &reference.name));
        for (field, name) in [config_map, secret].into_iter().flatten() {
            let path = path.child(field).child("name");
            match name.as_str() {
                "" => errors.push(FieldError::required(path, "")),
                name => names::check(errors, &path, name, names::subdomain),
            }
        }
        let detail = match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => "must specify one of: `configMapRef` or `secretRef`",
            (Some(_), Some(_)) => "may not have more than one field specified at a time",
            (Some(_), None) | (None, Some(_)) => continue,
        };
        errors.push(FieldError::invalid(path, "", detail));
    }
}
