//! What a DELETE does to an object: goes at once, waits for its grace period, or waits for
//! finalizers (contract `defaults-validation.md`, 1.7; `controllers.md`, 7A and 7B). Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Time};
use stead_api::Object;
use stead_api::registry::Propagation;

/// Keeps an owner until its dependents have lost their reference.
pub(crate) const ORPHAN: &str = "orphan";
/// Keeps an owner until its blocking dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Remove the object.
    Goes,
    /// Store the object as it was changed.
    Marked,
    /// The deletion is under way already and nothing changes.
    Pending,
}

/// Applies a deletion to `object` and says what is to be done with it.
pub(crate) fn begin(object: &mut Object, options: &DeleteOptions, now: Timestamp) -> Fate {
    let collected = settle_collector(object, options);
    if let Some(grace_s) = object.get::<Pod>().map(|pod| pod_grace_s(pod, options)) {
        return begin_pod(object, options, grace_s, now, collected);
    }
    if let Some(namespace) = object.get_mut::<Namespace>() {
        namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    } else if object.metadata().finalizers.as_ref().is_none_or(Vec::is_empty) {
        return Fate::Goes;
    }
    let first = object.metadata().deletion_timestamp.is_none();
    if first {
        mark(object.metadata_mut(), now, 0);
    }
    match may_go(object) {
        true => Fate::Goes,
        false if first || collected => Fate::Marked,
        false => Fate::Pending,
    }
}

/// Whether an object on its way out has nothing left to wait for.
pub(crate) fn may_go(object: &Object) -> bool {
    let metadata = object.metadata();
    let waits_for_namespace = object
        .get::<Namespace>()
        .and_then(|namespace| namespace.spec.as_ref()?.finalizers.as_ref())
        .is_some_and(|finalizers| !finalizers.is_empty());
    metadata.deletion_timestamp.is_some()
        && metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        && metadata.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !waits_for_namespace
}

fn begin_pod(object: &mut Object, options: &DeleteOptions, grace_s: i64, now: Timestamp, collected: bool) -> Fate {
    let metadata = object.metadata_mut();
    let pending = if collected { Fate::Marked } else { Fate::Pending };
    match (metadata.deletion_timestamp.clone(), metadata.deletion_grace_period_seconds.unwrap_or(0)) {
        (None, _) => mark(metadata, now, grace_s),
        (Some(_), 0) => return if may_go(object) { Fate::Goes } else { pending },
        (Some(_), _) if options.grace_period_seconds.is_none() => return pending,
        (Some(_), granted_s) if grace_s >= granted_s => return pending,
        (Some(deadline), granted_s) => {
            // Counted from when the deletion began; a deadline that would have passed becomes one second.
            let began = deadline.0 - SignedDuration::from_secs(granted_s);
            let shortened = began + SignedDuration::from_secs(grace_s);
            let (grace_s, deadline) = match grace_s > 0 && shortened < now {
                true => (1, now + SignedDuration::from_secs(1)),
                false => (grace_s, shortened),
            };
            metadata.deletion_timestamp = Some(Time(deadline));
            metadata.deletion_grace_period_seconds = Some(grace_s);
        }
    }
    if may_go(object) { Fate::Goes } else { Fate::Marked }
}

/// The grace period of a pod: what was asked for or its own, nothing where no process can run.
fn pod_grace_s(pod: &Pod, options: &DeleteOptions) -> i64 {
    const DEFAULT_S: i64 = 30;
    let spec = pod.spec.as_ref();
    let scheduled = spec.and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if !scheduled || matches!(phase, Some("Succeeded" | "Failed")) {
        return 0;
    }
    let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
    match options.grace_period_seconds.or(own).unwrap_or(DEFAULT_S) {
        negative if negative < 0 => 1,
        grace_s => grace_s,
    }
}

fn mark(metadata: &mut ObjectMeta, now: Timestamp, grace_s: i64) {
    metadata.deletion_timestamp = Some(Time(now + SignedDuration::from_secs(grace_s)));
    metadata.deletion_grace_period_seconds = Some(grace_s);
    if let Some(generation) = metadata.generation.filter(|generation| *generation > 0) {
        metadata.generation = Some(generation + 1);
    }
}

/// Sets the finalizers the garbage collector acts on; whether they changed.
fn settle_collector(object: &mut Object, options: &DeleteOptions) -> bool {
    let default = object.kind().facts.default_propagation;
    let metadata = object.metadata_mut();
    let finalizers = metadata.finalizers.clone().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    let policy = match requested(options) {
        Some(policy) => policy,
        None if has(ORPHAN) => Propagation::Orphan,
        None if has(FOREGROUND) => Propagation::Foreground,
        None => default,
    };
    let wanted = match policy {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let mut settled = finalizers.clone();
    settled.retain(|name| (name != ORPHAN && name != FOREGROUND) || Some(name.as_str()) == wanted);
    if let Some(wanted) = wanted.filter(|wanted| !settled.iter().any(|name| name == wanted)) {
        settled.push(wanted.to_owned());
    }
    let changed = settled != finalizers;
    metadata.finalizers = (!settled.is_empty()).then_some(settled);
    changed
}

fn requested(options: &DeleteOptions) -> Option<Propagation> {
    match (options.propagation_policy.as_deref(), options.orphan_dependents) {
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        _ => None,
    }
}
