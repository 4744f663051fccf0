//! Which claims and volumes deserve a look when something changes, and which belong together.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use stead_client::{Change, Index, ObjectKey, WorkQueue};
use stead_plan::claims;

use super::Key;
use crate::context::Caches;

/// What belongs to a claim, found without looking at everything there is.
#[derive(Clone)]
pub(crate) struct Related {
    pods: Index<Pod, ObjectKey>,
    volumes: Index<PersistentVolume, Option<ObjectKey>>,
}

impl Related {
    pub(crate) fn new(caches: &Caches) -> Self {
        let pods = Index::new(&caches.pods, |pod: &Pod| {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            claims::claims_of(pod).into_iter().map(|name| ObjectKey::new(namespace.clone(), name)).collect()
        });
        let volumes = Index::new(&caches.volumes, |volume: &PersistentVolume| vec![claim_of(volume)]);
        Self { pods, volumes }
    }

    /// The pods that name the claim, in name order.
    pub(crate) fn pods_of(&self, claim: &ObjectKey) -> Vec<Arc<Pod>> {
        self.pods.get(claim)
    }

    /// The volumes that name the claim.
    pub(crate) fn volumes_of(&self, claim: &ObjectKey) -> Vec<Arc<PersistentVolume>> {
        self.volumes.get(&Some(claim.clone()))
    }

    /// The volumes that may be bound to the claim: those that name it and those that name none.
    pub(crate) fn candidates(&self, claim: &ObjectKey) -> Vec<Arc<PersistentVolume>> {
        let mut all = self.volumes_of(claim);
        all.extend(self.free());
        all
    }

    /// The volumes that name no claim.
    pub(crate) fn free(&self) -> Vec<Arc<PersistentVolume>> {
        self.volumes.get(&None)
    }
}

/// A new claim that waits for its first consumer is looked at, and said to wait, after this long: most are made with
/// the pod that uses them, and what comes of that brings them at once.
const CONSUMER_PATIENCE: Duration = Duration::from_millis(200);

/// Connects the caches to the queue.
pub(super) fn start(caches: &Caches, related: &Related, queue: &WorkQueue<Key>) {
    claims_and_volumes(caches, related, queue);
    consumers(caches, related, queue);
    chances(caches, queue);
}

fn claims_and_volumes(caches: &Caches, related: &Related, queue: &WorkQueue<Key>) {
    let (on_claim, related, classes) = (queue.clone(), related.clone(), caches.storage_classes.clone());
    caches.claims.on_change(move |change| {
        let claim = change.object();
        let key = ObjectKey::of(&**claim);
        let is_new = matches!(change, Change::Applied { old: None, .. }) && related.volumes_of(&key).is_empty();
        let class = || classes.get("", claims::class_of_claim(claim));
        if is_new && claims::awaits_consumer(claim, class().as_deref()) {
            on_claim.add_after(Key::Claim(key.clone()), CONSUMER_PATIENCE);
        } else {
            on_claim.add(Key::Claim(key.clone()));
        }
        if let Some(volume) = claims::volume_name(claim) {
            on_claim.add(Key::Volume(volume.to_owned()));
        }
        if matches!(change, Change::Deleted { .. }) {
            look_at(&on_claim, related.volumes_of(&key));
        }
    });
    let (on_volume, claims) = (queue.clone(), caches.claims.clone());
    caches.volumes.on_change(move |change| {
        let volume = change.object();
        on_volume.add(Key::Volume(volume.metadata.name.clone().unwrap_or_default()));
        match claim_of(volume) {
            Some(key) => on_volume.add(Key::Claim(key)),
            None => unbound(&claims.list()).for_each(|key| on_volume.add(Key::Claim(key))),
        }
    });
}

/// A pod that is gone lets go of its claims, and of volumes waiting to be removed.
fn consumers(caches: &Caches, related: &Related, queue: &WorkQueue<Key>) {
    let (queue, related) = (queue.clone(), related.clone());
    caches.pods.on_change(move |change| {
        let Change::Deleted { old } = change else { return };
        for name in claims::claims_of(&old) {
            let key = ObjectKey::new(old.metadata.namespace.clone().unwrap_or_default(), name);
            look_at(&queue, related.volumes_of(&key));
            queue.add(Key::Claim(key));
        }
    });
}

fn look_at(queue: &WorkQueue<Key>, volumes: Vec<Arc<PersistentVolume>>) {
    let names = volumes.iter().filter_map(|volume| volume.metadata.name.clone());
    names.for_each(|name| queue.add(Key::Volume(name)));
}

/// A new class or node may be what an unbound claim was waiting for.
fn chances(caches: &Caches, queue: &WorkQueue<Key>) {
    let (on_class, claims) = (queue.clone(), caches.claims.clone());
    caches.storage_classes.on_change(move |change| match change {
        Change::Applied { .. } => unbound(&claims.list()).for_each(|key| on_class.add(Key::Claim(key))),
        Change::Deleted { .. } => {}
    });
    let (on_node, claims) = (queue.clone(), caches.claims.clone());
    caches.nodes.on_change(move |change| {
        let Change::Applied { old, new } = change else { return };
        let ready = stead_plan::nodes::is_ready(&new);
        if ready && !old.is_some_and(|old| stead_plan::nodes::is_ready(&old)) {
            unbound(&claims.list()).for_each(|key| on_node.add(Key::Claim(key)));
        }
    });
}

/// The claim a volume names.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<ObjectKey> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(ObjectKey::new(reference.namespace.clone()?, reference.name.clone()?))
}

fn unbound(claims: &[Arc<PersistentVolumeClaim>]) -> impl Iterator<Item = ObjectKey> + '_ {
    claims.iter().filter(|claim| !claims::was_bound(claim)).map(|claim| ObjectKey::of(&**claim))
}
