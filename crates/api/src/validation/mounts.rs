//! Where containers see their volumes (contract 4.4, volumeMounts and volumeDevices).

use super::containers::Common;
use super::path::Path;
use super::pod_spec::{PodContext, optional_choice};
use crate::errors::{FieldError, FieldErrors};

/// The mounted volumes of a container.
pub(super) fn mounts(errors: &mut FieldErrors, path: &Path, container: &Common<'_>, context: &PodContext<'_>) {
    let mut paths: Vec<&str> = Vec::new();
    let privileged = container.security_context.is_some_and(|security| security.privileged == Some(true));
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        let at = path.index(index);
        if mount.name.is_empty() {
            errors.push(FieldError::required(at.child("name"), ""));
        }
        if !context.volumes.contains_key(mount.name.as_str()) {
            errors.push(FieldError::not_found(at.child("name"), &mount.name));
        }
        let target = mount.mount_path.as_str();
        if target.is_empty() {
            errors.push(FieldError::required(at.child("mountPath"), ""));
        }
        if paths.contains(&target) {
            errors.push(FieldError::invalid(at.child("mountPath"), target, "must be unique"));
        }
        paths.push(target);
        not_also_a_device(errors, &at, container, &mount.name, target);
        sub_paths(errors, path, &at, mount.sub_path.as_deref(), mount.sub_path_expr.as_deref());
        propagation(errors, &at.child("mountPropagation"), mount.mount_propagation.as_deref(), privileged);
        recursive_read_only(errors, &at.child("recursiveReadOnly"), mount);
    }
}

fn not_also_a_device(errors: &mut FieldErrors, path: &Path, container: &Common<'_>, name: &str, target: &str) {
    if container.volume_devices.iter().any(|device| device.name == name) {
        errors.push(FieldError::invalid(path.child("name"), name, "must not already exist in volumeDevices"));
    }
    if container.volume_devices.iter().any(|device| device.device_path == target) {
        let detail = "must not already exist as a path in volumeDevices";
        errors.push(FieldError::invalid(path.child("mountPath"), target, detail));
    }
}

/// Kubernetes reports `subPath` at the list, without the position.
fn sub_paths(errors: &mut FieldErrors, list: &Path, at: &Path, plain: Option<&str>, expanded: Option<&str>) {
    let plain = plain.unwrap_or_default();
    let expanded = expanded.unwrap_or_default();
    if !plain.is_empty() {
        inside(errors, &list.child("subPath"), plain);
    }
    if !expanded.is_empty() {
        if !plain.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(at.child("subPathExpr"), expanded, detail));
        }
        inside(errors, &list.child("subPathExpr"), expanded);
    }
}

fn propagation(errors: &mut FieldErrors, path: &Path, value: Option<&str>, privileged: bool) {
    optional_choice(errors, path, value, &["Bidirectional", "HostToContainer", "None"]);
    if value == Some("Bidirectional") && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(path, detail));
    }
}

fn recursive_read_only(errors: &mut FieldErrors, path: &Path, mount: &k8s_openapi::api::core::v1::VolumeMount) {
    let value = mount.recursive_read_only.as_deref();
    optional_choice(errors, path, value, &["Disabled", "Enabled", "IfPossible"]);
    if !matches!(value, Some("Enabled" | "IfPossible")) {
        return;
    }
    if mount.read_only != Some(true) {
        errors.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
    }
    if !matches!(mount.mount_propagation.as_deref(), None | Some("None")) {
        let detail = "may only be specified when mountPropagation is None or not specified";
        errors.push(FieldError::forbidden(path, detail));
    }
}

/// The raw block devices of a container.
pub(super) fn devices(errors: &mut FieldErrors, path: &Path, container: &Common<'_>, context: &PodContext<'_>) {
    let mut names: Vec<&str> = Vec::new();
    let mut paths: Vec<&str> = Vec::new();
    for (index, device) in container.volume_devices.iter().enumerate() {
        let path = path.index(index);
        let name = device.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        if names.contains(&name) {
            errors.push(FieldError::invalid(path.child("name"), name, "must be unique"));
        }
        match context.volumes.get(name) {
            None => errors.push(FieldError::not_found(path.child("name"), name)),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(FieldError::invalid(path.child("name"), name, detail));
            }
            Some(_) => {}
        }
        let target = device.device_path.as_str();
        if target.is_empty() {
            errors.push(FieldError::required(path.child("devicePath"), ""));
        }
        if paths.contains(&target) {
            errors.push(FieldError::invalid(path.child("devicePath"), target, "must be unique"));
        }
        if backsteps(target) {
            errors.push(FieldError::invalid(path.child("devicePath"), target, "can not contain backsteps ('..')"));
        }
        names.push(name);
        paths.push(target);
    }
}

/// A path that stays inside where it starts.
pub(super) fn inside(errors: &mut FieldErrors, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, path, value);
}

/// A path without `..`.
pub(super) fn no_backsteps(errors: &mut FieldErrors, path: &Path, value: &str) {
    if backsteps(value) {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

fn backsteps(value: &str) -> bool {
    value.split('/').any(|part| part == "..")
}
