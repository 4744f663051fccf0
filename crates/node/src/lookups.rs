//! What environments and volumes look up, answered from the agent's caches for one pod's namespace.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use stead_api::amount::Amount;

use crate::agent::NodeCaches;
use crate::env::Sources;
use crate::node_object::Capacity;
use crate::volumes::VolumeSources;

/// The caches as one namespace sees them.
pub(crate) struct Lookups<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) caches: &'a NodeCaches,
    pub(crate) capacity: Capacity,
}

impl Sources for Lookups<'_> {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.caches.config_maps.get(self.namespace, name)
    }

    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.caches.secrets.get(self.namespace, name)
    }

    fn services(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.caches.services.get("default", "kubernetes").into_iter().collect();
        services.extend(self.caches.services.list_in(self.namespace));
        services
    }

    fn allocatable(&self, resource: &str) -> Option<Amount> {
        match resource {
            "cpu" => Some(Amount::from_units(self.capacity.cpus)),
            "memory" => Some(Amount::from_units(self.capacity.memory_bytes)),
            "ephemeral-storage" => Some(Amount::from_units(self.capacity.disk_bytes)),
            _ => None,
        }
    }
}

impl VolumeSources for Lookups<'_> {
    fn claim(&self, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.caches.claims.get(self.namespace, name)
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.caches.volumes.get("", name)
    }
}
