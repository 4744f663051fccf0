//! Volumes made of API objects: secrets, config maps, the downward API, projections (contract 4.4).

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection};

use super::env::{self, Place};
use super::mounts;
use super::path::Path;
use super::pod_spec::PodContext;
use crate::errors::{FieldError, FieldErrors};

const MODE_RULE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const TOKEN_LIFE_MIN_S: i64 = 600;
const TOKEN_LIFE_MAX_S: i64 = 1 << 32;

/// The sources of a volume that come from the API.
pub(super) fn sources(errors: &mut FieldErrors, path: &Path, volume: &Volume, context: &PodContext<'_>) {
    if let Some(source) = &volume.secret {
        let path = path.child("secret");
        required(errors, &path.child("secretName"), source.secret_name.as_deref().unwrap_or_default());
        mode(errors, &path.child("defaultMode"), source.default_mode);
        items(errors, &path.child("items"), source.items.as_deref().unwrap_or_default());
    }
    if let Some(source) = &volume.config_map {
        let path = path.child("configMap");
        required(errors, &path.child("name"), &source.name);
        mode(errors, &path.child("defaultMode"), source.default_mode);
        items(errors, &path.child("items"), source.items.as_deref().unwrap_or_default());
    }
    if let Some(source) = &volume.downward_api {
        let path = path.child("downwardAPI");
        mode(errors, &path.child("defaultMode"), source.default_mode);
        source.items.iter().flatten().for_each(|file| downward_file(errors, &path, file));
    }
    if let Some(source) = &volume.projected {
        projected(errors, &path.child("projected"), source, context);
    }
}

fn required(errors: &mut FieldErrors, path: &Path, value: &str) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
}

fn mode(errors: &mut FieldErrors, path: &Path, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(FieldError::invalid(path, mode, MODE_RULE));
    }
}

fn items(errors: &mut FieldErrors, path: &Path, items: &[KeyToPath]) {
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        required(errors, &path.child("key"), &item.key);
        target(errors, &path.child("path"), &item.path);
        mode(errors, &path.child("mode"), item.mode);
    }
}

/// Where in the volume a file goes.
fn target(errors: &mut FieldErrors, path: &Path, value: &str) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    mounts::inside(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

/// Kubernetes leaves the position of the item out of the path.
fn downward_file(errors: &mut FieldErrors, path: &Path, file: &DownwardAPIVolumeFile) {
    required(errors, &path.child("path"), &file.path);
    if !file.path.is_empty() {
        mounts::inside(errors, &path.child("path"), &file.path);
    }
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(reference), other) => {
            env::field_ref(errors, &path.child("fieldRef"), reference, Place::Volume);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", detail));
            }
        }
        (None, Some(reference)) => {
            env::resource_field_ref(errors, &path.child("resourceFieldRef"), reference, Place::Volume);
        }
        (None, None) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    mode(errors, &path.child("mode"), file.mode);
}

fn projected(errors: &mut FieldErrors, path: &Path, source: &ProjectedVolumeSource, context: &PodContext<'_>) {
    mode(errors, &path.child("defaultMode"), source.default_mode);
    let mut targets: Vec<&str> = Vec::new();
    for (index, projection) in source.sources.iter().flatten().enumerate() {
        let at = path.child("sources").index(index);
        let mut own: Vec<&str> = Vec::new();
        one_projection(errors, &at, projection, &mut own, context);
        for target in own {
            if targets.contains(&target) {
                errors.push(FieldError::invalid(path, target, "conflicting duplicate paths"));
            }
            targets.push(target);
        }
    }
}

fn one_projection<'a>(
    errors: &mut FieldErrors,
    path: &Path,
    projection: &'a VolumeProjection,
    targets: &mut Vec<&'a str>,
    context: &PodContext<'_>,
) {
    let mut kinds = 0;
    let mut count = |errors: &mut FieldErrors, field: &str| {
        kinds += 1;
        if kinds > 1 {
            let detail = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
        path.child(field)
    };
    if let Some(secret) = &projection.secret {
        let path = count(errors, "secret");
        required(errors, &path.child("name"), &secret.name);
        items(errors, &path.child("items"), secret.items.as_deref().unwrap_or_default());
        targets.extend(secret.items.iter().flatten().map(|item| item.path.as_str()));
    }
    if let Some(config_map) = &projection.config_map {
        let path = count(errors, "configMap");
        required(errors, &path.child("name"), &config_map.name);
        items(errors, &path.child("items"), config_map.items.as_deref().unwrap_or_default());
        targets.extend(config_map.items.iter().flatten().map(|item| item.path.as_str()));
    }
    if let Some(downward) = &projection.downward_api {
        let path = count(errors, "downwardAPI");
        downward.items.iter().flatten().for_each(|file| downward_file(errors, &path, file));
        targets.extend(downward.items.iter().flatten().map(|file| file.path.as_str()));
    }
    if let Some(token) = &projection.service_account_token {
        let path = count(errors, "serviceAccountToken");
        let account = context.spec.service_account_name.as_deref().unwrap_or_default();
        if account.is_empty() && !context.is_template() && context.creating {
            let detail = "must not be specified when serviceAccountName is not set";
            errors.push(FieldError::forbidden(&path, detail));
        }
        token_life(errors, &path.child("expirationSeconds"), token.expiration_seconds.unwrap_or_default());
        target(errors, &path.child("path"), &token.path);
        targets.push(&token.path);
    }
}

fn token_life(errors: &mut FieldErrors, path: &Path, seconds: i64) {
    if seconds < TOKEN_LIFE_MIN_S {
        errors.push(FieldError::invalid(path, seconds, "may not specify a duration less than 10 minutes"));
    } else if seconds > TOKEN_LIFE_MAX_S {
        errors.push(FieldError::invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
}
