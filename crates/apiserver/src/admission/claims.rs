//! What admission does to volumes and claims: DefaultStorageClass, StorageObjectInUseProtection,
//! PersistentVolumeClaimResize.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_api::amount::Amount;
use stead_api::registry::kind_of;
use stead_store::Store;

use super::forbidden;
use crate::server::ApiServer;
use crate::status::StatusError;

/// Keeps a claim while a pod uses it.
pub(super) const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume while a claim uses it.
pub(super) const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// Adds a protecting finalizer.
pub(super) fn protect(metadata: &mut ObjectMeta, finalizer: &str) {
    let finalizers = metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|own| own == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
}

impl<S: Store> ApiServer<S> {
    /// Gives a claim that names no class the default one: the newest, then by name.
    pub(super) async fn default_class(&self, claim: &mut PersistentVolumeClaim) -> Result<(), StatusError> {
        let named = claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some());
        let annotated = claim.metadata.annotations.as_ref().is_some_and(|own| own.contains_key(CLASS_ANNOTATION));
        if named || annotated {
            return Ok(());
        }
        let classes = self.list_typed::<StorageClass>().await?;
        let newest_first = |class: &StorageClass| {
            let created = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (std::cmp::Reverse(created), class.metadata.name.clone())
        };
        let default = classes.into_iter().filter(is_default).min_by_key(newest_first);
        if let Some(default) = default {
            claim.spec.get_or_insert_default().storage_class_name = default.metadata.name;
        }
        Ok(())
    }

    /// Refuses to grow a claim that cannot grow.
    pub(super) async fn admit_resize(
        &self,
        claim: &PersistentVolumeClaim,
        old: &PersistentVolumeClaim,
    ) -> Result<(), StatusError> {
        if requested(claim) <= requested(old) {
            return Ok(());
        }
        let refuse = |text: &str| Err(forbidden(kind_of::<PersistentVolumeClaim>(), &claim.metadata, text));
        if old.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            return refuse("Only bound persistent volume claims can be expanded");
        }
        let name = old.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
        let class: Option<StorageClass> = match name {
            "" => None,
            name => self.find_typed("", name).await?,
        };
        match class.is_some_and(|class| class.allow_volume_expansion == Some(true)) {
            true => Ok(()),
            false => refuse(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                 support resize",
            ),
        }
    }
}

fn is_default(class: &StorageClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    IS_DEFAULT.iter().any(|key| annotations.and_then(|own| own.get(*key)).is_some_and(|value| value == "true"))
}

fn requested(claim: &PersistentVolumeClaim) -> Option<i128> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    resources.requests.as_ref()?.get("storage").map(|quantity| Amount::of(quantity).nano())
}
