//! The ConfigMaps and Secrets that the node's pods name. Each is watched by itself, from when the first
//! pod names it until the last one is gone: the agent neither reads nor holds what no pod of its node uses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use stead_client::{Cache, ListScope, ObjectKey};

use crate::worker::{self, Worker};

/// What is watched for the pods of a node.
pub(crate) struct References {
    config_maps: Shelf<ConfigMap>,
    secrets: Shelf<Secret>,
}

/// What one pod names, by name. The watches end with the last of those who hold them.
#[derive(Clone, Default)]
pub(crate) struct Named {
    config_maps: BTreeMap<String, Arc<Watched<ConfigMap>>>,
    secrets: BTreeMap<String, Arc<Watched<Secret>>>,
}

impl References {
    /// Watches nothing yet.
    pub(crate) fn new(client: &Client) -> Self {
        Self { config_maps: Shelf::new(client), secrets: Shelf::new(client) }
    }

    /// Sees to it that the worker holds what its pod names, as it is now, and waits until it is known what of
    /// that exists; changes wake it from then on. May be given up and begun again.
    pub(crate) async fn hold(&self, worker: &Arc<Worker>) {
        self.take(worker).known().await;
    }

    fn take(&self, worker: &Arc<Worker>) -> Named {
        let mut state = worker.state();
        let (config_maps, secrets) = (worker::config_maps(&state.pod), worker::secrets(&state.pod));
        if !state.named.is_of(&config_maps, &secrets) {
            state.named = Named {
                config_maps: self.config_maps.take(&state.pod, config_maps),
                secrets: self.secrets.take(&state.pod, secrets),
            };
            state.named.wake(worker);
        }
        state.named.clone()
    }
}

impl Named {
    /// The ConfigMap called `name`, if the pod names it and it exists.
    pub(crate) fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(name)?.object()
    }

    /// The Secret called `name`, if the pod names it and it exists.
    pub(crate) fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(name)?.object()
    }

    fn wake(&self, worker: &Arc<Worker>) {
        self.config_maps.values().for_each(|watched| watched.wake(worker));
        self.secrets.values().for_each(|watched| watched.wake(worker));
    }

    async fn known(&self) {
        for watched in self.config_maps.values() {
            watched.known().await;
        }
        for watched in self.secrets.values() {
            watched.known().await;
        }
    }

    fn is_of(&self, config_maps: &BTreeSet<String>, secrets: &BTreeSet<String>) -> bool {
        self.config_maps.keys().eq(config_maps) && self.secrets.keys().eq(secrets)
    }
}

/// The watched objects of one kind.
struct Shelf<K> {
    client: Client,
    watched: Mutex<HashMap<ObjectKey, Weak<Watched<K>>>>,
}

impl<K> Shelf<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn new(client: &Client) -> Self {
        Self { client: client.clone(), watched: Mutex::default() }
    }

    /// The objects of these names in the namespace of `pod`.
    fn take(&self, pod: &Pod, names: BTreeSet<String>) -> BTreeMap<String, Arc<Watched<K>>> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut watched = lock(&self.watched);
        watched.retain(|_, watched| watched.strong_count() > 0);
        let mut one = |name: &str| {
            let slot = watched.entry(ObjectKey::new(namespace.clone(), name)).or_default();
            slot.upgrade().unwrap_or_else(|| {
                let new = Arc::new(Watched::start(&self.client, &namespace, name));
                *slot = Arc::downgrade(&new);
                new
            })
        };
        names.into_iter().map(|name| (name.clone(), one(&name))).collect()
    }
}

/// One object and the workers that are woken when it changes.
struct Watched<K> {
    /// None where nothing can be called that.
    cache: Option<Cache<K>>,
    workers: Arc<Mutex<Vec<Weak<Worker>>>>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn start(client: &Client, namespace: &str, name: &str) -> Self {
        let workers: Arc<Mutex<Vec<Weak<Worker>>>> = Arc::default();
        let cache = can_be_a_name(name).then(|| {
            let only = ListScope { fields: Some(format!("metadata.name={name}")), labels: None };
            let cache = Cache::start(Api::namespaced(client.clone(), namespace), only);
            let woken = Arc::clone(&workers);
            cache.on_change(move |_| lock(&woken).iter().filter_map(Weak::upgrade).for_each(|worker| worker.refresh()));
            cache
        });
        Self { cache, workers }
    }

    /// From now on changes wake `worker`.
    fn wake(&self, worker: &Arc<Worker>) {
        let mut workers = lock(&self.workers);
        workers.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(worker)));
        workers.push(Arc::downgrade(worker));
    }

    /// Waits until it is known whether the object exists.
    async fn known(&self) {
        match &self.cache {
            Some(cache) if !cache.is_synced() => cache.synced().await,
            Some(_) | None => {}
        }
    }

    fn object(&self) -> Option<Arc<K>> {
        self.cache.as_ref()?.list().pop()
    }
}

/// Whether an object may have this name. Pods may name what cannot be, and a watch of that might be refused for ever.
fn can_be_a_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
