//! NamespaceLifecycle: nothing new in a namespace that is missing or on its way out; the namespaces
//! of the system stay.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use memchr::memmem;
use stead_api::registry::kind_of;
use stead_api::{Kind, Object};
use stead_store::{Entry, Store};

use super::forbidden;
use crate::handlers::Target;
use crate::selection::field;
use crate::server::ApiServer;
use crate::status::StatusError;
use crate::storage::load_as;

/// Namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

impl<S: Store> ApiServer<S> {
    /// Refuses a new object in a namespace that does not take any; gives the namespace as it was found.
    pub(super) async fn admit_namespace(
        &self,
        kind: &Kind,
        namespace: &str,
        object: &Object,
    ) -> Result<Arc<Entry>, StatusError> {
        let Some(entry) = self.find(kind_of::<Namespace>(), "", namespace).await? else {
            return Err(StatusError::not_found(kind_of::<Namespace>(), namespace));
        };
        if !is_ending(&entry)? {
            return Ok(entry);
        }
        let text = format!("unable to create new content in namespace {namespace} because it is being terminated");
        Err(forbidden(kind, object.metadata(), &text).cause(
            "NamespaceTerminating",
            &format!("namespace {namespace} is being terminated"),
            "metadata.namespace",
        ))
    }

    /// Looks once more at the namespace an object has just been stored in. If its deletion began after
    /// the object was admitted, those who empty the namespace may have looked before the object was there,
    /// and it would outlive its namespace: it is taken away again, and the refusal is the answer.
    ///
    /// If the deletion has not begun by now, whoever empties the namespace will see the object.
    pub(crate) async fn confirm_namespace(&self, home: &Entry, created: &Entry) -> Result<(), StatusError> {
        let namespace = &home.key.name;
        let now = self.find(kind_of::<Namespace>(), "", namespace).await?;
        if now.is_some_and(|now| now.revision == home.revision) {
            return Ok(());
        }
        let Some(kind) = stead_api::kinds::ALL.iter().find(|kind| kind.facts.storage == &*created.key.resource.0)
        else {
            return Ok(());
        };
        let object = load_as(kind, created)?;
        let Err(refusal) = self.admit_namespace(kind, namespace, &object).await else { return Ok(()) };
        let preconditions = Preconditions { uid: Some(created.header.uid.clone().into()), resource_version: None };
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            propagation_policy: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        let target = Target { kind, namespace, name: &created.key.name, subresource: None };
        match self.delete_object(&target, &options, false).await {
            Ok(_) => Err(refusal),
            // Whoever empties the namespace has seen it after all.
            Err(error) if matches!(error.code(), 404 | 409) => Err(refusal),
            Err(error) => Err(error),
        }
    }
}

/// Whether a namespace is on its way out. This is asked for every new object: one that says nothing of it is
/// not decoded.
fn is_ending(namespace: &Entry) -> Result<bool, StatusError> {
    if field(namespace, "status.phase") == "Terminating" {
        return Ok(true);
    }
    if memmem::find(&namespace.bytes, b"\"deletionTimestamp\"").is_none() {
        return Ok(false);
    }
    Ok(load_as(kind_of::<Namespace>(), namespace)?.metadata().deletion_timestamp.is_some())
}

/// Refuses to delete a namespace of the system.
pub(super) fn refuse_protected(kind: &Kind, name: &str) -> Result<(), StatusError> {
    match kind.kind == "Namespace" && kind.group.is_empty() && PROTECTED.contains(&name) {
        true => Err(StatusError::forbidden(kind, name, "this namespace may not be deleted")),
        false => Ok(()),
    }
}
