//! Which claims and volumes deserve a look when something changes.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use stead_client::{Change, ObjectKey, WorkQueue};
use stead_plan::claims;

use super::Key;
use crate::context::Caches;

/// Connects the caches to the queue.
pub(super) fn start(caches: &Caches, queue: &WorkQueue<Key>) {
    claims_and_volumes(caches, queue);
    consumers(caches, queue);
    chances(caches, queue);
}

fn claims_and_volumes(caches: &Caches, queue: &WorkQueue<Key>) {
    let (on_claim, volumes) = (queue.clone(), caches.volumes.clone());
    caches.claims.on_change(move |change| {
        let claim = change.object();
        on_claim.add(Key::Claim(ObjectKey::of(&**claim)));
        if let Some(volume) = claims::volume_name(claim) {
            on_claim.add(Key::Volume(volume.to_owned()));
        }
        if matches!(change, Change::Deleted { .. }) {
            volumes_of(&volumes.list(), &ObjectKey::of(&**claim)).for_each(|name| on_claim.add(Key::Volume(name)));
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
fn consumers(caches: &Caches, queue: &WorkQueue<Key>) {
    let (queue, volumes) = (queue.clone(), caches.volumes.clone());
    caches.pods.on_change(move |change| {
        let Change::Deleted { old } = change else { return };
        for name in claims::claims_of(&old) {
            let key = ObjectKey::new(old.metadata.namespace.clone().unwrap_or_default(), name);
            volumes_of(&volumes.list(), &key).for_each(|name| queue.add(Key::Volume(name)));
            queue.add(Key::Claim(key));
        }
    });
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

fn claim_of(volume: &PersistentVolume) -> Option<ObjectKey> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(ObjectKey::new(reference.namespace.clone()?, reference.name.clone()?))
}

fn volumes_of<'a>(
    volumes: &'a [std::sync::Arc<PersistentVolume>],
    claim: &'a ObjectKey,
) -> impl Iterator<Item = String> + 'a {
    let of_claim = volumes.iter().filter(move |volume| claim_of(volume).as_ref() == Some(claim));
    of_claim.filter_map(|volume| volume.metadata.name.clone())
}

fn unbound(claims: &[std::sync::Arc<PersistentVolumeClaim>]) -> impl Iterator<Item = ObjectKey> + '_ {
    claims.iter().filter(|claim| !claims::was_bound(claim)).map(|claim| ObjectKey::of(&**claim))
}
