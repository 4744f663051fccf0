//! What follows from owner references when objects come and go (contract 7A).
//!
//! Pure. [`Graph`] says which objects deserve a look; [`collect`], [`foreground`] and [`orphan`] decide,
//! from freshly read objects only, what happens to one of them. Absence of an owner is never concluded
//! here: it comes in as a [`Finding`] of a live read.

mod graph;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

pub use graph::{Coordinates, Graph, Node, Uid, Work};

/// Finalizer of an owner that waits for its blocking dependents.
pub const FOREGROUND_FINALIZER: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to be set free first.
pub const ORPHAN_FINALIZER: &str = "orphan";

/// What a live read said about one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It exists and is not waiting for its dependents.
    Solid,
    /// It exists, and is being deleted in the foreground.
    Waiting,
    /// There is no such object, or one of the same name with another UID.
    Absent,
    /// Its kind is not served, so far (contract 7.9). Never a reason to delete.
    Unknown,
    /// A namespaced owner of a cluster-scoped object: it can never be looked up (contract 7.8).
    Unresolvable,
}

/// How dependents of a deleted object are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Collected afterwards.
    Background,
    /// Collected before the object goes.
    Foreground,
    /// Set free.
    Orphan,
}

/// What to do with one object. Every write is conditional on the UID and resourceVersion it was
/// decided on.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// Nothing now; an owner could not be looked up.
    AskAgain,
    /// Delete it; before that, make its references stop blocking when it is part of a circle.
    Delete {
        /// How its own dependents fare.
        propagation: Propagation,
        /// A merge patch to apply first, which breaks a circle of foreground deletions.
        first: Option<serde_json::Value>,
    },
    /// Apply this merge patch, which takes references or a finalizer away.
    Patch(serde_json::Value),
}

/// Decides about an object with owners (contract 7.4-7.6). `findings` has one entry per reference, in
/// order; `dependents` are the objects that name this one as owner, with whether each is itself waiting
/// for dependents.
pub fn collect(meta: &ObjectMeta, findings: &[Finding], dependents: &[bool]) -> Verdict {
    let references = meta.owner_references.as_deref().unwrap_or_default();
    if references.is_empty() || meta.deletion_timestamp.is_some() {
        return Verdict::Keep;
    }
    let having = |wanted: &[Finding]| -> Vec<&OwnerReference> {
        references.iter().zip(findings).filter(|(_, found)| wanted.contains(found)).map(|(r, _)| r).collect()
    };
    if findings.contains(&Finding::Unresolvable) {
        return Verdict::Keep;
    }
    if findings.len() != references.len() || findings.contains(&Finding::Unknown) {
        return Verdict::AskAgain;
    }
    let gone = having(&[Finding::Absent, Finding::Waiting]);
    if gone.len() < references.len() {
        return if gone.is_empty() { Verdict::Keep } else { Verdict::Patch(without_references(meta, &gone)) };
    }
    if findings.contains(&Finding::Waiting) && !dependents.is_empty() {
        let circle = dependents.contains(&true);
        let first = circle.then(|| unblocked(meta));
        return Verdict::Delete { propagation: Propagation::Foreground, first };
    }
    let propagation = if has_finalizer(meta, ORPHAN_FINALIZER) {
        Propagation::Orphan
    } else if has_finalizer(meta, FOREGROUND_FINALIZER) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Verdict::Delete { propagation, first: None }
}

/// Decides about an object that [`is_waiting_for_dependents`]: it loses its finalizer once none of its
/// dependents blocks it (contract 7.7). `blocking` counts those that do.
pub fn foreground(meta: &ObjectMeta, blocking: usize) -> Verdict {
    if !is_waiting_for_dependents(meta) || blocking > 0 {
        return Verdict::Keep;
    }
    Verdict::Patch(without_finalizer(meta, FOREGROUND_FINALIZER))
}

/// Decides about an object that [`is_orphaning`] and whose dependents have all been set free
/// (contract 7.10).
pub fn orphan(meta: &ObjectMeta) -> Verdict {
    if is_orphaning(meta) { Verdict::Patch(without_finalizer(meta, ORPHAN_FINALIZER)) } else { Verdict::Keep }
}

/// The patch that sets a dependent free of the owner with `owner_uid`; none when it is free already.
pub fn release(dependent: &ObjectMeta, owner_uid: &str) -> Option<serde_json::Value> {
    let references = dependent.owner_references.as_deref().unwrap_or_default();
    let gone: Vec<&OwnerReference> = references.iter().filter(|reference| reference.uid == owner_uid).collect();
    (!gone.is_empty()).then(|| without_references(dependent, &gone))
}

/// Whether the object is being deleted in the foreground.
pub fn is_waiting_for_dependents(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta, FOREGROUND_FINALIZER)
}

/// Whether the object is being deleted and its dependents are to stay.
pub fn is_orphaning(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta, ORPHAN_FINALIZER)
}

fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|held| held == finalizer)
}

/// A merge patch of the metadata, bound to the state it was decided on.
fn patch(meta: &ObjectMeta, field: &str, value: serde_json::Value) -> serde_json::Value {
    json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, field: value}})
}

fn without_references(meta: &ObjectMeta, gone: &[&OwnerReference]) -> serde_json::Value {
    let references = meta.owner_references.as_deref().unwrap_or_default();
    let rest: Vec<&OwnerReference> = references.iter().filter(|held| !gone.iter().any(|r| r.uid == held.uid)).collect();
    patch(meta, "ownerReferences", json!(rest))
}

fn unblocked(meta: &ObjectMeta) -> serde_json::Value {
    let references: Vec<OwnerReference> = meta
        .owner_references
        .iter()
        .flatten()
        .map(|reference| OwnerReference {
            block_owner_deletion: reference.block_owner_deletion.map(|_| false),
            ..reference.clone()
        })
        .collect();
    patch(meta, "ownerReferences", json!(references))
}

fn without_finalizer(meta: &ObjectMeta, finalizer: &str) -> serde_json::Value {
    let rest: Vec<&String> = meta.finalizers.iter().flatten().filter(|held| *held != finalizer).collect();
    patch(meta, "finalizers", json!(rest))
}

#[cfg(test)]
mod tests;
