//! The volume's side: phases, protection, and removing the storage of volumes whose claim is gone.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::PostParams;
use stead_client::{EventType, ObjectKey, reference_to};
use stead_plan::claims::{self, ClaimFact, Step};

use super::{Keeper, StorageError, observe};
use crate::outcome::{deleted, exactly, is_not_found, seen};

impl Keeper {
    /// Takes one volume as far as it gets without waiting.
    pub(super) async fn process_volume(&self, name: &str) -> Result<(), StorageError> {
        let Some(cached) = self.ctx.caches.volumes.get("", name) else { return Ok(()) };
        let api: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
        let failed = |source| StorageError::Write { what: format!("volume {name}"), source };
        let claim = self.claim_of(&cached).await?;
        let fact = claim.as_deref().map_or(ClaimFact::Absent, ClaimFact::Exists);
        let mut volume = PersistentVolume::clone(&cached);
        for _ in 0..super::STEPS_MAX {
            let written = if let Some(protected) = claims::volume_protection(&volume) {
                api.replace(name, &PostParams::default(), &protected).await
            } else {
                match claims::next_for_volume(&volume, fact, self.ctx.clock.now()).step {
                    Step::Volume(wanted) => api.replace(name, &PostParams::default(), &wanted).await,
                    Step::VolumeStatus(wanted) => api.replace_status(name, &PostParams::default(), &wanted).await,
                    Step::Reclaim => return self.reclaim(&volume).await,
                    Step::Nothing | Step::Claim(_) | Step::ClaimStatus(_) | Step::Provision { .. } => break,
                }
            };
            match written {
                Ok(written) => volume = written,
                Err(error) if is_not_found(&error) => return Ok(()),
                Err(source) => return Err(failed(source)),
            }
        }
        if volume.metadata.resource_version != cached.metadata.resource_version {
            seen(&self.ctx.caches.volumes, &volume.metadata).await;
        }
        Ok(())
    }

    /// The claim a volume names, by name: from the cache if that is the very one, otherwise read live.
    async fn claim_of(&self, volume: &PersistentVolume) -> Result<Option<Arc<PersistentVolumeClaim>>, StorageError> {
        let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return Ok(None) };
        let (namespace, name) = (reference.namespace.as_deref(), reference.name.as_deref());
        let key = ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default());
        let cached = self.ctx.caches.claims.get_key(&key);
        if let Some(claim) = cached.filter(|claim| claim.metadata.uid == reference.uid) {
            return Ok(Some(claim));
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        let live = api.get_opt(&key.name).await;
        let live = live.map_err(|source| StorageError::Read { what: format!("claim {key}"), source })?;
        Ok(live.map(Arc::new))
    }

    /// Removes the directory, then the volume. Everything the removal is based on is read live.
    async fn reclaim(&self, volume: &PersistentVolume) -> Result<(), StorageError> {
        let name = volume.metadata.name.clone().unwrap_or_default();
        if let Some(place) = claims::local_directory(volume) {
            let seen = observe::claim_of(volume).map_or_else(Vec::new, |claim| self.related.pods_of(&claim));
            let namesake = self.live_namesake(volume).await?;
            if !claims::may_remove_directory(volume, namesake.as_ref(), seen.iter().map(Arc::as_ref)) {
                // The end of the pod brings us back; only that nobody uses the directory has to be read live.
                return Ok(());
            }
            let pods = self.pods_in(&place.namespace).await?;
            if !claims::may_remove_directory(volume, namesake.as_ref(), &pods) {
                // A pod still uses it; its end brings us back.
                return Ok(());
            }
            tracing::info!(volume = %name, "removing the directory of a deleted claim");
            if let Err(source) = self.dirs.delete(&place.host, &place.claim_uid).await {
                let message = source.to_string();
                let failed = claims::failed(volume, &message, self.ctx.clock.now());
                let api: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
                if let Err(error) = api.replace_status(&name, &PostParams::default(), &failed).await {
                    tracing::debug!(volume = %name, %error, "cannot say that removing the directory failed");
                }
                self.recorder.event(&reference_to(volume), EventType::Warning, "VolumeFailedDelete", message);
                return Err(StorageError::RemoveDirectory { volume: name, source });
            }
        }
        self.remove_volume(volume, &name).await
    }

    async fn live_namesake(&self, volume: &PersistentVolume) -> Result<Option<PersistentVolumeClaim>, StorageError> {
        let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return Ok(None) };
        let (namespace, name) = (reference.namespace.as_deref(), reference.name.as_deref());
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.ctx.client.clone(), namespace.unwrap_or_default());
        let live = api.get_opt(name.unwrap_or_default()).await;
        live.map_err(|source| StorageError::Read { what: format!("claim {namespace:?}/{name:?}"), source })
    }

    async fn remove_volume(&self, volume: &PersistentVolume, name: &str) -> Result<(), StorageError> {
        let api: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
        let failed = |source| StorageError::Write { what: format!("volume {name}"), source };
        let uid = volume.metadata.uid.as_deref().unwrap_or_default();
        if volume.metadata.deletion_timestamp.is_none() {
            deleted(api.delete(name, &exactly(uid, None, None)).await).map_err(failed)?;
        }
        let Some(live) = api.get_opt(name).await.map_err(failed)? else { return Ok(()) };
        if live.metadata.uid.as_deref() != Some(uid) {
            return Ok(());
        }
        let freed = claims::without_storage(&live);
        match api.replace(name, &PostParams::default(), &freed).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }
}
