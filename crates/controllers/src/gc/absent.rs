//! Owners found absent by a live read. A UID never comes back, so the finding stays true; the memory is
//! bounded and forgets the oldest first.

use std::collections::{HashSet, VecDeque};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Remembered owners (contract 7.4).
const REMEMBERED_MAX: usize = 500;

/// The namespace looked in, and the reference's kind, name and UID.
type Key = (String, String, String, String);

/// Owners known to be absent.
#[derive(Debug, Default)]
pub(super) struct AbsentOwners {
    known: HashSet<Key>,
    order: VecDeque<Key>,
}

impl AbsentOwners {
    /// Whether the owner was found absent.
    pub(super) fn contains(&self, owner: &OwnerReference, namespace: &str) -> bool {
        self.known.contains(&key(owner, namespace))
    }

    /// Remembers that the owner is absent.
    pub(super) fn insert(&mut self, owner: &OwnerReference, namespace: &str) {
        let key = key(owner, namespace);
        if !self.known.insert(key.clone()) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn key(owner: &OwnerReference, namespace: &str) -> Key {
    let kind = format!("{}/{}", owner.api_version, owner.kind);
    (namespace.to_owned(), kind, owner.name.clone(), owner.uid.clone())
}
