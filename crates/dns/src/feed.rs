//! Keeps the zone in step with the caches: notes which Services a change concerns, and prepares
//! only those anew. Many changes that arrive while it works become one new zone. Answers nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_client::{Change, ObjectKey};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::service::ServiceRecords;
use crate::zone::Zone;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The newest known objects and what has changed since the zone was last built from them.
#[derive(Default)]
pub struct Feed {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Default)]
struct Known {
    services: HashMap<ObjectKey, Arc<Service>>,
    /// Service to its slices, by name.
    slices: HashMap<ObjectKey, BTreeMap<String, Arc<EndpointSlice>>>,
    namespaces: BTreeSet<Box<str>>,
    stale_services: HashSet<ObjectKey>,
    stale_namespaces: bool,
}

impl Feed {
    /// Takes note of a change of a Service.
    pub fn service(&self, change: &Change<Service>) {
        self.note(|known| {
            let key = key_of(&change.object().metadata);
            match change {
                Change::Applied { new, .. } => drop(known.services.insert(key.clone(), Arc::clone(new))),
                Change::Deleted { .. } => drop(known.services.remove(&key)),
            }
            known.stale_services.insert(key);
        });
    }

    /// Takes note of a change of an EndpointSlice.
    pub fn slice(&self, change: &Change<EndpointSlice>) {
        self.note(|known| match change {
            Change::Applied { old, new } => {
                old.iter().for_each(|old| known.remove_slice(old));
                known.add_slice(new);
            }
            Change::Deleted { old } => known.remove_slice(old),
        });
    }

    /// Takes note of a change of a Namespace.
    pub fn namespace(&self, change: &Change<Namespace>) {
        self.note(|known| {
            let name = change.object().metadata.name.as_deref().unwrap_or_default();
            known.stale_namespaces |= match change {
                Change::Applied { .. } => known.namespaces.insert(name.into()),
                Change::Deleted { .. } => known.namespaces.remove(name),
            };
        });
    }

    /// `zone` with everything noted so far.
    pub fn bring_up_to_date(&self, zone: &Zone) -> Zone {
        let (namespaces, stale) = self.known().take();
        let services = stale.into_iter().map(|(key, now)| {
            let records = now.map(|(service, slices)| {
                ServiceRecords::new(zone.domain(), &service, slices.iter().map(AsRef::as_ref))
            });
            (key.namespace.into(), key.name.into(), records)
        });
        zone.next(namespaces, services)
    }

    /// Renews the zone in `current` whenever something was noted, until `shutdown`.
    pub(crate) async fn keep_current(&self, current: &ArcSwap<Zone>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(self.changed.notified()).await.is_some() {
            current.store(Arc::new(self.bring_up_to_date(&current.load())));
        }
    }

    fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known());
        self.changed.notify_one();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic in between leaves at worst a Service that is prepared once too often.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Service that has changed and its slices; none when it is gone.
type Stale = (ObjectKey, Option<(Arc<Service>, Vec<Arc<EndpointSlice>>)>);

impl Known {
    fn add_slice(&mut self, slice: &Arc<EndpointSlice>) {
        let Some((service, name)) = owner_of(slice) else { return };
        self.slices.entry(service.clone()).or_default().insert(name, Arc::clone(slice));
        self.stale_services.insert(service);
    }

    fn remove_slice(&mut self, slice: &EndpointSlice) {
        let Some((service, name)) = owner_of(slice) else { return };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.stale_services.insert(service);
    }

    /// The namespaces, if they have changed, and the objects of every Service that has changed.
    fn take(&mut self) -> (Option<BTreeSet<Box<str>>>, Vec<Stale>) {
        let namespaces = std::mem::take(&mut self.stale_namespaces).then(|| self.namespaces.clone());
        let stale = std::mem::take(&mut self.stale_services).into_iter().map(|key| {
            let slices = || self.slices.get(&key).into_iter().flat_map(|slices| slices.values().cloned()).collect();
            let objects = self.services.get(&key).map(|service| (Arc::clone(service), slices()));
            (key, objects)
        });
        (namespaces, stale.collect())
    }
}

fn key_of(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The Service a slice says it belongs to, and the slice's name.
fn owner_of(slice: &EndpointSlice) -> Option<(ObjectKey, String)> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    let own = key_of(&slice.metadata);
    Some((ObjectKey::new(own.namespace, service.clone()), own.name))
}
