//! NamespaceLifecycle: nothing new in a namespace that is missing or on its way out; the namespaces
//! of the system stay.

use k8s_openapi::api::core::v1::Namespace;
use stead_api::registry::kind_of;
use stead_api::{Kind, Object};
use stead_store::Store;

use super::forbidden;
use crate::server::ApiServer;
use crate::status::StatusError;

/// Namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

impl<S: Store> ApiServer<S> {
    /// Refuses a new object in a namespace that does not take any.
    pub(super) async fn admit_namespace(
        &self,
        kind: &Kind,
        namespace: &str,
        object: &Object,
    ) -> Result<(), StatusError> {
        let found: Option<Namespace> = self.find_typed("", namespace).await?;
        let Some(found) = found else {
            return Err(StatusError::not_found(kind_of::<Namespace>(), namespace));
        };
        let phase = found.status.as_ref().and_then(|status| status.phase.as_deref());
        if found.metadata.deletion_timestamp.is_none() && phase != Some("Terminating") {
            return Ok(());
        }
        let text = format!("unable to create new content in namespace {namespace} because it is being terminated");
        Err(forbidden(kind, object.metadata(), &text).cause(
            "NamespaceTerminating",
            &format!("namespace {namespace} is being terminated"),
            "metadata.namespace",
        ))
    }
}

/// Refuses to delete a namespace of the system.
pub(super) fn refuse_protected(kind: &Kind, name: &str) -> Result<(), StatusError> {
    match kind.kind == "Namespace" && kind.group.is_empty() && PROTECTED.contains(&name) {
        true => Err(StatusError::forbidden(kind, name, "this namespace may not be deleted")),
        false => Ok(()),
    }
}
