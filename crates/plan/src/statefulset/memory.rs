//! The views of objects that have not changed since the last plan for the same set, so that planning for
//! thousands of replicas costs what has changed and not what there is. It changes no plan.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use serde_json::Value;

use super::claim_views::Seen;
use super::revisions;
use super::views::{Observed, PodView, SetView};
use crate::ids::Uid;

/// What one set's last view was made of. Of use to that set only.
#[derive(Debug, Default)]
pub struct Memory {
    lens: Option<Lens>,
    /// A template, and the data of a revision of it.
    data: Option<(PodTemplateSpec, Arc<Value>)>,
    pub(super) pods: Remembered<Pod, Arc<PodView>>,
    pub(super) claims: Remembered<PersistentVolumeClaim, Seen>,
}

impl Memory {
    /// Forgets everything unless it was seen through the same lens.
    pub(super) fn look_through(&mut self, lens: Lens) {
        if self.lens.as_ref() != Some(&lens) {
            *self = Self { lens: Some(lens), ..Self::default() };
        }
    }

    /// The data of a revision of the set's template.
    pub(super) fn data_of(&mut self, set: &StatefulSet) -> Arc<Value> {
        let template = set.spec.as_ref().map(|spec| &spec.template);
        if let Some((_, data)) = self.data.as_ref().filter(|(known, _)| Some(known) == template) {
            return Arc::clone(data);
        }
        let data = Arc::new(revisions::data_of(set));
        self.data = template.map(|template| (template.clone(), Arc::clone(&data)));
        data
    }

    /// How many pods of the set there were, or how many claims if they are more.
    pub fn size(&self) -> usize {
        self.pods.size().max(self.claims.size())
    }
}

/// Everything but the object itself that its view depends on.
#[derive(Debug, PartialEq)]
pub(super) struct Lens {
    name: String,
    uid: Uid,
    selector: Option<LabelSelector>,
    claim_templates: Vec<PersistentVolumeClaim>,
    update_last: Option<(String, String)>,
    classes: Vec<Class>,
    preparing: Vec<String>,
}

/// A class at one revision: the very object.
#[derive(Debug)]
struct Class(Arc<StorageClass>);

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Lens {
    pub(super) fn of(set: &StatefulSet, view: &SetView, observed: &Observed<'_>, preparing: &BTreeSet<&str>) -> Self {
        let spec = set.spec.as_ref();
        Self {
            name: view.name.clone(),
            uid: view.uid.clone(),
            selector: spec.map(|spec| spec.selector.clone()),
            claim_templates: spec.and_then(|spec| spec.volume_claim_templates.clone()).unwrap_or_default(),
            update_last: view.wishes.update_last.clone(),
            preparing: preparing.iter().map(|node| (*node).to_owned()).collect(),
            classes: observed.classes.iter().map(|class| Class(Arc::clone(class))).collect(),
        }
    }
}

/// Views by the very object they are of: an object that is held is never changed, and while it is held no
/// other has its address.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    held: HashMap<usize, Held<K, V>, BuildHasherDefault<AddressHasher>>,
    /// How often the objects have been looked at.
    look: u64,
}

#[derive(Debug)]
struct Held<K, V> {
    /// Keeps the address from being given to another.
    _object: Arc<K>,
    view: Option<V>,
    /// The last look at which it was among the objects.
    look: u64,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { held: HashMap::default(), look: 0 }
    }
}

impl<K, V: Clone> Remembered<K, V> {
    /// The views of `objects` that have one, made by `view` where none is remembered. What is no longer
    /// among the objects is forgotten.
    pub(super) fn views<'a>(
        &mut self,
        objects: &'a [Arc<K>],
        view: impl Fn(&K) -> Option<V>,
    ) -> impl Iterator<Item = (&'a Arc<K>, V)> {
        self.look += 1;
        let look = self.look;
        let mut seen = Vec::with_capacity(objects.len());
        for object in objects {
            let held = self.held.entry(Arc::as_ptr(object).addr());
            let held = held.or_insert_with(|| Held { _object: Arc::clone(object), view: view(object), look });
            held.look = look;
            seen.extend(held.view.clone().map(|view| (object, view)));
        }
        if self.held.len() > objects.len() {
            self.held.retain(|_, held| held.look == look);
        }
        seen.into_iter()
    }

    /// How many views there are.
    fn size(&self) -> usize {
        self.held.values().filter(|held| held.view.is_some()).count()
    }
}

/// Spreads addresses, which are multiples of a power of two. Nobody chooses them to collide.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        // The odd number next to 2^64 divided by the golden ratio; the table looks at the upper and the lower bits.
        let spread = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_what_is_new_is_looked_at_and_what_is_gone_is_forgotten() {
        let (one, two) = (Arc::new(1), Arc::new(2));
        let looks = Cell::new(0);
        let view = |number: &i32| {
            looks.set(looks.get() + 1);
            (*number > 1).then(|| number * 10)
        };
        let mut remembered = Remembered::default();
        let mut seen = |objects: &[Arc<i32>]| remembered.views(objects, view).map(|(_, view)| view).collect::<Vec<_>>();
        assert_eq!(seen(&[one.clone(), two.clone()]), [20]);
        assert_eq!((seen(&[one.clone(), two.clone()]), looks.get()), (vec![20], 2));
        assert_eq!((seen(&[two.clone(), Arc::new(3)]), looks.get()), (vec![20, 30], 3));
        assert_eq!(Arc::strong_count(&one), 1, "it is not held any more");
        assert_eq!(remembered.size(), 2);
    }
}
