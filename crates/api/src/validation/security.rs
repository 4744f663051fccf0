//! Security contexts of pods and containers (contract 4.4, securityContext).

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Sysctl,
};

use super::path::Path;
use super::pod_spec::{ids, optional_choice};
use super::{amounts, go};
use crate::errors::{FieldError, FieldErrors};

const SYSCTL_MAX: usize = 253;
const SYSCTL_PATTERN: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// The security context of a pod; `path` is that of the spec.
pub(super) fn pod(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let Some(context) = &spec.security_context else { return };
    let at = path.child("securityContext");
    ids(
        errors,
        &at,
        &[("fsGroup", context.fs_group), ("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)],
    );
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        amounts::id(errors, &at.child("supplementalGroups").index(index), Some(*group));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(at.child("shareProcessNamespace"), true, detail));
    }
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let at = at.child("sysctls").index(index).child("name");
        let seen = context.sysctls.iter().flatten().take(index).any(|earlier| earlier.name == sysctl.name);
        one_sysctl(errors, &at, sysctl, seen, spec);
    }
    choices(errors, &at, context);
    seccomp(errors, &at.child("seccompProfile"), context.seccomp_profile.as_ref());
    app_armor(errors, &at.child("appArmorProfile"), context.app_armor_profile.as_ref());
    if spec.os.as_ref().is_none_or(|os| os.name == "linux") && spec.os.is_some() && context.windows_options.is_some() {
        let detail = "windows options cannot be set for a linux pod";
        errors.push(FieldError::forbidden(at.child("windowsOptions"), detail));
    }
}

fn choices(errors: &mut FieldErrors, path: &Path, context: &PodSecurityContext) {
    let mut check = |field: &str, value: &Option<String>, supported| {
        optional_choice(errors, &path.child(field), value.as_deref(), supported);
    };
    check("fsGroupChangePolicy", &context.fs_group_change_policy, &["Always", "OnRootMismatch"]);
    check("supplementalGroupsPolicy", &context.supplemental_groups_policy, &["Merge", "Strict"]);
    check("seLinuxChangePolicy", &context.se_linux_change_policy, &["MountOption", "Recursive"]);
}

fn one_sysctl(errors: &mut FieldErrors, path: &Path, sysctl: &Sysctl, seen: bool, spec: &PodSpec) {
    let name = sysctl.name.as_str();
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !is_sysctl(name) {
        let detail = format!("must have at most {SYSCTL_MAX} characters and match regex {SYSCTL_PATTERN}");
        errors.push(FieldError::invalid(path, name, detail));
    } else if seen {
        errors.push(FieldError::duplicate(path, name));
    }
    let dotted = name.replace('/', ".");
    let in_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| dotted.starts_with(prefix))
        || dotted == "kernel.sem";
    if spec.host_network == Some(true) && dotted.starts_with("net.") {
        errors.push(FieldError::invalid(path, name, "may not be specified when 'hostNetwork' is true"));
    }
    if spec.host_ipc == Some(true) && in_ipc {
        errors.push(FieldError::invalid(path, name, "may not be specified when 'hostIPC' is true"));
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let inner = |byte: &u8| edge(Some(byte)) || b"-_".contains(byte);
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(segment)
}

fn seccomp(errors: &mut FieldErrors, path: &Path, profile: Option<&SeccompProfile>) {
    let Some(profile) = profile else { return };
    let required = "type is required when seccompProfile is set";
    let local = profile.localhost_profile.as_deref();
    profile_type(errors, path, &profile.type_, required);
    localhost(errors, &path.child("localhostProfile"), &profile.type_, local, "seccomp type");
}

fn app_armor(errors: &mut FieldErrors, path: &Path, profile: Option<&AppArmorProfile>) {
    let Some(profile) = profile else { return };
    let required = "type is required when appArmorProfile is set";
    let local = profile.localhost_profile.as_deref();
    profile_type(errors, path, &profile.type_, required);
    localhost(errors, &path.child("localhostProfile"), &profile.type_, local, "AppArmor type");
}

fn profile_type(errors: &mut FieldErrors, path: &Path, type_: &str, required: &str) {
    match type_ {
        "" => errors.push(FieldError::required(path.child("type"), required)),
        other if PROFILE_TYPES.contains(&other) => {}
        other => errors.push(FieldError::not_supported(path.child("type"), other, PROFILE_TYPES)),
    }
}

fn localhost(errors: &mut FieldErrors, path: &Path, type_: &str, profile: Option<&str>, subject: &str) {
    match (type_ == "Localhost", profile) {
        (true, None | Some("")) => {
            errors.push(FieldError::required(path, format!("must be set when {subject} is Localhost")));
        }
        (false, Some(profile)) => {
            let detail = format!("can only be set when {subject} is Localhost");
            errors.push(FieldError::invalid(path, profile, detail));
        }
        (true, Some(_)) | (false, None) => {}
    }
}

/// Sharing with the host is at odds with a user namespace of the pod's own.
pub(super) fn host_users(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    if spec.host_users != Some(false) {
        return;
    }
    for (field, shared) in [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if shared == Some(true) {
            errors.push(FieldError::forbidden(path.child(field), "when `hostUsers` is false"));
        }
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if containers.flat_map(|container| container.volume_devices.iter().flatten()).next().is_some() {
        errors.push(FieldError::forbidden(path.child("volumeDevices"), "when `hostUsers` is false"));
    }
}

/// The security context of a container. Privileged containers are allowed: Stead has no switch for
/// them, pod security admission decides.
pub(super) fn container(errors: &mut FieldErrors, path: &Path, context: Option<&SecurityContext>, spec: &PodSpec) {
    let Some(context) = context else { return };
    ids(errors, path, &[("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)]);
    let proc_mount = context.proc_mount.as_deref();
    optional_choice(errors, &path.child("procMount"), proc_mount, &["Default", "Unmasked"]);
    if proc_mount == Some("Unmasked") && spec.host_users != Some(false) {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.push(FieldError::invalid(path.child("procMount"), proc_mount, detail));
    }
    seccomp(errors, &path.child("seccompProfile"), context.seccomp_profile.as_ref());
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, go::SecurityContext::from(context), detail));
        }
        let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
        if added.is_some_and(|added| added.iter().any(|capability| capability == "CAP_SYS_ADMIN")) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, go::SecurityContext::from(context), detail));
        }
    }
    app_armor(errors, &path.child("appArmorProfile"), context.app_armor_profile.as_ref());
}
