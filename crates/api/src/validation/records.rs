//! Events and Leases (contract `defaults-validation.md`, 10).

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::events::v1::Event as NewEvent;

use super::metadata::{self, NameRule};
use super::path::Path;
use super::{amounts, names};
use crate::errors::{FieldError, FieldErrors};
use crate::registry::Scope;

const INSTANCE_MAX: usize = 128;
const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// Everything wrong with a new core/v1 Event. Events with an `eventTime` come from the newer API
/// and must be complete; older ones are taken nearly as they are.
pub fn event_create(event: &Event) -> FieldErrors {
    let mut errors = FieldErrors::default();
    namespace(&mut errors, event);
    if event.event_time.is_some() {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let fields = Reported {
            controller: ("reportingComponent", text(&event.reporting_component)),
            instance: text(&event.reporting_instance),
            action: text(&event.action),
            reason: text(&event.reason),
            message: ("message", text(&event.message)),
        };
        reported(&mut errors, &fields);
    }
    let name = event.metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    }
    errors
}

/// Changes of core/v1 Events are unrestricted beyond the rules for new ones.
pub fn event_update(new: &Event, _old: &Event) -> FieldErrors {
    event_create(new)
}

/// Events never warn.
pub fn event_warnings(_new: &Event, _old: Option<&Event>) -> Vec<String> {
    Vec::new()
}

/// An object outside namespaces is reported in `default`, with an event time also in `kube-system`.
fn namespace(errors: &mut FieldErrors, event: &Event) {
    let own = event.metadata.namespace.as_deref().unwrap_or_default();
    let about = event.involved_object.namespace.as_deref().unwrap_or_default();
    let fits = match about {
        "" => own == "default" || (event.event_time.is_some() && own == "kube-system"),
        about => own == about,
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", about, detail));
    }
    names::check(errors, &Path::new("namespace"), own, names::subdomain);
}

struct Reported {
    controller: (&'static str, String),
    instance: String,
    action: String,
    reason: String,
    message: (&'static str, String),
}

fn reported(errors: &mut FieldErrors, fields: &Reported) {
    let (name, controller) = &fields.controller;
    let at = Path::new(name);
    match controller.as_str() {
        "" => errors.push(FieldError::required(&at, "")),
        controller => names::check(errors, &at, controller, names::qualified),
    }
    bounded(errors, "reportingInstance", &fields.instance, INSTANCE_MAX);
    bounded(errors, "action", &fields.action, TEXT_MAX);
    bounded(errors, "reason", &fields.reason, TEXT_MAX);
    let (name, message) = &fields.message;
    if message.len() > MESSAGE_MAX {
        let detail = format!("can have at most {MESSAGE_MAX} characters");
        errors.push(FieldError::invalid(*name, "", detail));
    }
}

fn bounded(errors: &mut FieldErrors, field: &str, value: &str, max: usize) {
    if value.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if value.len() > max {
        errors.push(FieldError::invalid(field, "", format!("can have at most {max} characters")));
    }
}

/// Everything wrong with a new events.k8s.io/v1 Event.
pub fn new_event_create(event: &NewEvent) -> FieldErrors {
    let mut errors = metadata::metadata_create(&event.metadata, NameRule::Subdomain, Scope::Namespaced);
    if event.event_time.is_none() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let type_ = event.type_.as_deref().unwrap_or_default();
    if !matches!(type_, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", "", format!("has invalid value: {type_}")));
    }
    // The names are those of the internal type.
    for (field, set) in [
        ("firstTimestamp", event.deprecated_first_timestamp.is_some()),
        ("lastTimestamp", event.deprecated_last_timestamp.is_some()),
        ("count", event.deprecated_count.unwrap_or_default() != 0),
        ("source", event.deprecated_source.as_ref().is_some_and(|source| *source != Default::default())),
    ] {
        if set {
            errors.push(FieldError::invalid(field, "", "needs to be unset"));
        }
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    reported(
        &mut errors,
        &Reported {
            controller: ("reportingController", text(&event.reporting_controller)),
            instance: text(&event.reporting_instance),
            action: text(&event.action),
            reason: text(&event.reason),
            message: ("message", text(&event.note)),
        },
    );
    if event.series.as_ref().is_some_and(|series| series.count < 2) {
        errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
    }
    errors
}

/// Everything wrong with a change to an events.k8s.io/v1 Event: only its series goes on.
pub fn new_event_update(new: &NewEvent, old: &NewEvent) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let mut keep = |field: &str, new: &Option<String>, old: &Option<String>| {
        metadata::immutable(&mut errors, &Path::new(field), new, old);
    };
    keep("reason", &new.reason, &old.reason);
    keep("message", &new.note, &old.note);
    keep("type", &new.type_, &old.type_);
    keep("action", &new.action, &old.action);
    keep("reportingController", &new.reporting_controller, &old.reporting_controller);
    keep("reportingInstance", &new.reporting_instance, &old.reporting_instance);
    metadata::immutable(&mut errors, &Path::new("involvedObject"), &new.regarding, &old.regarding);
    metadata::immutable(&mut errors, &Path::new("related"), &new.related, &old.related);
    metadata::immutable(&mut errors, &Path::new("eventTime"), &new.event_time, &old.event_time);
    errors
}

/// Everything wrong with a new Lease.
pub fn lease_create(lease: &Lease) -> FieldErrors {
    let mut errors = metadata::metadata_create(&lease.metadata, NameRule::Subdomain, Scope::Namespaced);
    lease_spec(&mut errors, lease);
    errors
}

/// Everything wrong with a change to a Lease.
pub fn lease_update(new: &Lease, old: &Lease) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    lease_spec(&mut errors, new);
    errors
}

/// Leases never warn.
pub fn lease_warnings(_new: &Lease, _old: Option<&Lease>) -> Vec<String> {
    Vec::new()
}

fn lease_spec(errors: &mut FieldErrors, lease: &Lease) {
    let Some(spec) = &lease.spec else { return };
    let path = Path::new("spec");
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        let path = path.child("leaseDurationSeconds");
        errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
    }
    amounts::not_negative(errors, &path.child("leaseTransitions"), spec.lease_transitions);
}
