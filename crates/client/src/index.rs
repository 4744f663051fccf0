//! The objects of a cache by something about them, so that whoever wants a few need not look at all.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use kube::Resource;
use serde::de::DeserializeOwned;

use crate::{Cache, Change, ObjectKey};

/// An index over a cache. It is up to date with the cache's revision: what [`Cache::wait_revision`] has
/// waited for is in it. Clones share it.
pub struct Index<K, V> {
    cache: Cache<K>,
    held: Arc<RwLock<Held<V>>>,
}

/// Both ways: which objects have a value, and which values an object was entered under.
struct Held<V> {
    keys: HashMap<V, BTreeSet<ObjectKey>>,
    values: HashMap<ObjectKey, Vec<V>>,
}

impl<K, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), held: Arc::clone(&self.held) }
    }
}

impl<K, V> Index<K, V>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    V: Hash + Eq + Clone + Send + Sync + 'static,
{
    /// An index over `cache` by what `values` gives for an object.
    pub fn new(cache: &Cache<K>, values: impl Fn(&K) -> Vec<V> + Send + Sync + 'static) -> Self {
        let held = Arc::new(RwLock::new(Held { keys: HashMap::new(), values: HashMap::new() }));
        let index = Self { cache: cache.clone(), held: Arc::clone(&held) };
        cache.on_change(move |change| {
            let key = ObjectKey::of(change.object().as_ref());
            let new = match &change {
                Change::Applied { new, .. } => values(new),
                Change::Deleted { .. } => Vec::new(),
            };
            held.write().unwrap_or_else(PoisonError::into_inner).enter(key, new);
        });
        index
    }

    /// The objects with this value, in key order.
    pub fn get(&self, value: &V) -> Vec<Arc<K>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.keys.get(value).into_iter().flatten().filter_map(|key| self.cache.get_key(key)).collect()
    }
}

impl<V: Hash + Eq + Clone> Held<V> {
    /// The object has these values now, and no others.
    fn enter(&mut self, key: ObjectKey, new: Vec<V>) {
        if self.values.get(&key).is_some_and(|old| *old == new) {
            return;
        }
        for value in self.values.remove(&key).into_iter().flatten() {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
        for value in &new {
            self.keys.entry(value.clone()).or_default().insert(key.clone());
        }
        if !new.is_empty() {
            self.values.insert(key, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_by_what_it_has_now_and_by_nothing_it_had() {
        let mut held = Held { keys: HashMap::new(), values: HashMap::new() };
        let pod = |name: &str| ObjectKey::new("ns", name);
        held.enter(pod("a"), vec!["x", "y"]);
        held.enter(pod("b"), vec!["x"]);
        held.enter(pod("a"), vec!["y"]);
        assert_eq!(held.keys["x"], BTreeSet::from([pod("b")]));
        assert_eq!(held.keys["y"], BTreeSet::from([pod("a")]));
        held.enter(pod("a"), Vec::new());
        held.enter(pod("b"), Vec::new());
        assert!(held.keys.is_empty() && held.values.is_empty());
    }
}
