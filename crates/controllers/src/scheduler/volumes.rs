//! Claims, volumes and classes for one decision, from the caches; claims and their volumes that the
//! caches lack are read live, so that a pod seen before its claim is not called unschedulable.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use stead_client::ObjectKey;
use stead_plan::claims;
use stead_plan::scheduler::Volumes;

use crate::context::{Caches, Context};
use crate::storage::observe::Related;

/// What one decision sees.
pub(super) struct SeenVolumes {
    caches: Caches,
    related: Related,
    namespace: String,
    claims: HashMap<String, Arc<PersistentVolumeClaim>>,
    bound: HashMap<String, Arc<PersistentVolume>>,
    /// Volumes that are free or reserved for one of the claims; gathered once, when first asked for.
    free: OnceLock<Vec<Arc<PersistentVolume>>>,
}

impl SeenVolumes {
    /// What concerns the pod.
    pub(super) async fn of(ctx: &Context, related: &Related, pod: &Pod) -> kube::Result<Self> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let (mut found, mut bound) = (HashMap::new(), HashMap::new());
        for name in claims::claims_of(pod) {
            let claim = match ctx.caches.claims.get(&namespace, &name) {
                Some(claim) => Some(claim),
                None => {
                    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &namespace);
                    api.get_opt(&name).await?.map(Arc::new)
                }
            };
            let claim = claim.map(|claim| ctx.chosen.onto(&claim).map_or(claim, Arc::new));
            let volume = claim.as_deref().and_then(claims::volume_name);
            if let Some(volume) = volume.filter(|volume| ctx.caches.volumes.get("", volume).is_none()) {
                let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
                bound.extend(api.get_opt(volume).await?.map(|live| (volume.to_owned(), Arc::new(live))));
            }
            found.extend(claim.map(|claim| (name, claim)));
        }
        Ok(Self {
            caches: ctx.caches.clone(),
            related: related.clone(),
            namespace,
            claims: found,
            bound,
            free: OnceLock::new(),
        })
    }

    fn free(&self) -> &[Arc<PersistentVolume>] {
        self.free.get_or_init(|| {
            let claims = self.claims.values();
            let mut volumes = self.related.free();
            volumes.extend(claims.clone().flat_map(|claim| self.related.volumes_of(&ObjectKey::of(claim.as_ref()))));
            volumes.retain(|volume| {
                let free = volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none());
                free || claims.clone().any(|claim| claims::names_claim(volume, claim))
            });
            volumes
        })
    }
}

impl Volumes for SeenVolumes {
    fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.claims.get(name).filter(|_| namespace == self.namespace).cloned()
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.caches.volumes.get("", name).or_else(|| self.bound.get(name).cloned())
    }

    fn volumes_of_class(&self, class: &str) -> Vec<Arc<PersistentVolume>> {
        self.free().iter().filter(|volume| claims::class_of_volume(volume) == class).cloned().collect()
    }

    fn class(&self, name: &str) -> Option<Arc<StorageClass>> {
        self.caches.storage_classes.get("", name)
    }
}
