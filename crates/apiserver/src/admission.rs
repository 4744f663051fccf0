//! Admission: what the cluster adds to or refuses in a write, by small typed functions in the order
//! of contract `defaults-validation.md`, 1.8. Objects are never stored without passing here.

mod claims;
mod namespaces;
mod pods;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use stead_api::{Kind, Object, Scope};
use stead_store::{Entry, Store};

use crate::handlers::Target;
use crate::server::ApiServer;
use crate::status::StatusError;

impl<S: Store> ApiServer<S> {
    /// Admits a new object, filling in what the cluster decides. Gives the namespace it goes into, as it was
    /// found, for [`Self::confirm_namespace`].
    pub(crate) async fn admit_create(
        &self,
        kind: &Kind,
        namespace: &str,
        object: &mut Object,
    ) -> Result<Option<Arc<Entry>>, StatusError> {
        let home = match kind.facts.scope {
            Scope::Namespaced => Some(self.admit_namespace(kind, namespace, object).await?),
            Scope::Cluster => None,
        };
        if let Some(pod) = object.get_mut::<Pod>() {
            pods::default_service_account(pod);
            self.admit_priority(pod).await?;
            pods::default_tolerations(pod);
        } else if let Some(claim) = object.get_mut::<PersistentVolumeClaim>() {
            self.default_class(claim).await?;
            claims::protect(&mut claim.metadata, claims::CLAIM_PROTECTION);
        } else if let Some(volume) = object.get_mut::<PersistentVolume>() {
            claims::protect(&mut volume.metadata, claims::VOLUME_PROTECTION);
        }
        Ok(home)
    }

    /// Admits a change.
    pub(crate) async fn admit_update(
        &self,
        target: &Target<'_>,
        object: &mut Object,
        old: &Object,
    ) -> Result<(), StatusError> {
        if target.subresource.is_some() {
            return Ok(());
        }
        if let (Some(pod), Some(old)) = (object.get_mut::<Pod>(), old.get::<Pod>()) {
            pods::keep_priority(pod, old);
            pods::default_tolerations(pod);
        } else if let (Some(claim), Some(old)) =
            (object.get::<PersistentVolumeClaim>(), old.get::<PersistentVolumeClaim>())
        {
            self.admit_resize(claim, old).await?;
        }
        Ok(())
    }

    /// Admits a deletion.
    pub(crate) fn admit_delete(&self, kind: &Kind, name: &str) -> Result<(), StatusError> {
        namespaces::refuse_protected(kind, name)
    }
}

/// 403 about an object that may not have a name yet.
fn forbidden(
    kind: &Kind,
    object: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    text: &str,
) -> StatusError {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let name = filled(&object.name).or_else(|| filled(&object.generate_name)).unwrap_or_else(|| "Unknown".to_owned());
    StatusError::forbidden(kind, &name, text)
}
