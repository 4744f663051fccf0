//! What environments and volumes look up: the agent's caches as one pod's namespace sees them, and what
//! is known of the pod on its node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use stead_api::amount::Amount;

use crate::agent::{Inner, NodeCaches};
use crate::env::{PodFacts, Sources};
use crate::node_object::Capacity;
use crate::references::Named;
use crate::volumes::VolumeSources;
use crate::worker::State;

/// The agent's caches as one namespace sees them, and what the pod names.
pub(crate) struct Lookups<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) caches: &'a NodeCaches,
    pub(crate) named: &'a Named,
    pub(crate) capacity: Capacity,
}

/// What a pod of this namespace that names these may look up.
pub(crate) fn lookups<'a, R, N>(inner: &'a Inner<R, N>, namespace: &'a str, named: &'a Named) -> Lookups<'a> {
    Lookups { namespace, caches: &inner.caches, named, capacity: inner.capacity }
}

/// What the running pod is known by beyond its object.
pub(crate) fn facts<R, N>(inner: &Inner<R, N>, state: &State) -> PodFacts {
    PodFacts {
        pod_ip: state.sandbox.as_ref().map(|sandbox| sandbox.ip.to_string()).unwrap_or_default(),
        host_ip: inner.config.node_ip.to_string(),
        node_name: inner.config.node_name.clone(),
    }
}

impl Sources for Lookups<'_> {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.named.config_map(name)
    }

    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.named.secret(name)
    }

    fn services(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.caches.services.get("default", "kubernetes").into_iter().collect();
        services.extend(self.caches.services.list_in(self.namespace));
        services
    }

    fn allocatable(&self, resource: &str) -> Option<Amount> {
        self.capacity.allocatable(resource).map(Amount::from_units)
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
