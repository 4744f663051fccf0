//! Probes and lifecycle hooks (contract 4.4, Probes and Lifecycle).

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};

use super::amounts;
use super::path::Path;
use super::pod_spec::{PodContext, required_choice};
use crate::errors::{FieldError, FieldErrors};

/// The three probes of a container.
pub(super) fn of_container(errors: &mut FieldErrors, path: &Path, container: &Container) {
    if let Some(liveness) = &container.liveness_probe {
        let path = path.child("livenessProbe");
        probe(errors, &path, liveness);
        success_threshold_of_one(errors, &path, liveness);
    }
    if let Some(readiness) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        probe(errors, &path, readiness);
        if let Some(seconds) = readiness.termination_grace_period_seconds {
            let path = path.child("terminationGracePeriodSeconds");
            errors.push(FieldError::invalid(path, seconds, "must not be set for readinessProbes"));
        }
    }
    if let Some(startup) = &container.startup_probe {
        let path = path.child("startupProbe");
        probe(errors, &path, startup);
        success_threshold_of_one(errors, &path, startup);
    }
}

fn success_threshold_of_one(errors: &mut FieldErrors, path: &Path, probe: &Probe) {
    let threshold = probe.success_threshold.unwrap_or(1);
    if threshold != 1 {
        errors.push(FieldError::invalid(path.child("successThreshold"), threshold, "must be 1"));
    }
}

fn probe(errors: &mut FieldErrors, path: &Path, probe: &Probe) {
    let actions = Actions {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler(errors, path, &actions, 0);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        amounts::not_negative(errors, &path.child(field), value);
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        let path = path.child("terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
    }
}

/// What runs after a container started and before it stops.
pub(super) fn lifecycle(
    errors: &mut FieldErrors,
    path: &Path,
    lifecycle: Option<&Lifecycle>,
    context: &PodContext<'_>,
) {
    let Some(lifecycle) = lifecycle else { return };
    let grace_s = context.spec.termination_grace_period_seconds.unwrap_or_default();
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            handler(errors, &path.child(field), &Actions::of_hook(hook), grace_s);
        }
    }
}

/// The ways of probing or hooking; exactly one must be chosen.
struct Actions<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Actions<'a> {
    fn of_hook(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }
}

fn handler(errors: &mut FieldErrors, path: &Path, actions: &Actions<'_>, grace_s: i64) {
    let mut chosen = false;
    // A second action is refused as a whole; its own fields are not looked at.
    let mut first = |errors: &mut FieldErrors, field: &str| {
        let first = !chosen;
        if chosen {
            errors.push(FieldError::forbidden(path.child(field), "may not specify more than 1 handler type"));
        }
        chosen = true;
        first
    };
    if let Some(action) = actions.exec
        && first(errors, "exec")
        && action.command.as_ref().is_none_or(Vec::is_empty)
    {
        errors.push(FieldError::required(path.child("exec").child("command"), ""));
    }
    if let Some(action) = actions.http_get
        && first(errors, "httpGet")
    {
        http_get(errors, &path.child("httpGet"), action);
    }
    if let Some(action) = actions.tcp_socket
        && first(errors, "tcpSocket")
    {
        amounts::port_or_name(errors, &path.child("tcpSocket").child("port"), &action.port);
    }
    if let Some(action) = actions.grpc
        && first(errors, "grpc")
    {
        amounts::port(errors, &path.child("grpc").child("port"), action.port);
    }
    if let Some(action) = actions.sleep
        && first(errors, "sleep")
        && !(0..=grace_s).contains(&action.seconds)
    {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_s})");
        errors.push(FieldError::invalid(path.child("sleep"), action.seconds, detail));
    }
    if !chosen {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn http_get(errors: &mut FieldErrors, path: &Path, action: &HTTPGetAction) {
    if action.path.as_deref().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(path.child("path"), ""));
    }
    amounts::port_or_name(errors, &path.child("port"), &action.port);
    required_choice(errors, &path.child("scheme"), action.scheme.as_deref(), &["HTTP", "HTTPS"]);
    for header in action.http_headers.iter().flatten() {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if header.name.is_empty() || !header.name.bytes().all(fits) {
            errors.push(FieldError::invalid(path.child("httpHeaders"), &header.name, HEADER_RULE));
        }
    }
}

const HEADER_RULE: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
