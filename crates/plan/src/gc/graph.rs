//! Who owns whom, as far as the watches have told. It holds identities and flags only, no objects,
//! and is a reason to look at an object, never a reason to delete it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{is_orphaning, is_waiting_for_dependents};

/// A UID.
pub type Uid = Arc<str>;

/// Where an object is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    /// `v1`, `apps/v1`.
    pub api_version: Arc<str>,
    /// `Pod`.
    pub kind: Arc<str>,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// One known object.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it is found.
    pub at: Coordinates,
    /// Its owner references.
    pub owners: Vec<OwnerReference>,
    /// Deletion has begun.
    pub deleting: bool,
    /// It waits for its blocking dependents.
    pub waiting: bool,
    /// Its dependents are to be set free.
    pub orphaning: bool,
}

/// A reason to look at an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Its owners may be gone, or it may be waiting for dependents.
    Item(Uid),
    /// Its dependents are to be set free.
    Orphan(Uid),
}

/// The objects of all watched kinds and their owner references.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: BTreeMap<Uid, BTreeSet<Uid>>,
}

impl Graph {
    /// Takes note of a new or changed object and gives what deserves a look now.
    pub fn apply(&mut self, at: Coordinates, meta: &ObjectMeta) -> Vec<Work> {
        let Some(uid) = meta.uid.as_deref().map(Uid::from) else { return Vec::new() };
        let node = Node {
            at,
            owners: meta.owner_references.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            waiting: is_waiting_for_dependents(meta),
            orphaning: is_orphaning(meta),
        };
        let before = self.nodes.get(&uid).cloned();
        if before.as_ref() == Some(&node) {
            return Vec::new();
        }
        let mut work = Vec::new();
        self.relink(&uid, before.as_ref().map(|node| node.owners.as_slice()).unwrap_or_default(), &node.owners);
        work.extend(self.unblocked_owners(before.as_ref(), &node).map(Work::Item));
        let was = before.as_ref();
        if node.orphaning && !was.is_some_and(|was| was.orphaning) {
            work.push(Work::Orphan(uid.clone()));
        }
        if node.waiting && !was.is_some_and(|was| was.waiting) {
            work.push(Work::Item(uid.clone()));
            work.extend(self.dependents_of(&uid).map(Work::Item));
        }
        let changed_owners = was.is_none_or(|was| was.owners != node.owners);
        if changed_owners && !node.deleting && node.owners.iter().any(|owner| self.is_doubtful(owner)) {
            work.push(Work::Item(uid.clone()));
        }
        self.nodes.insert(uid, node);
        work
    }

    /// Forgets an object that is gone and gives what deserves a look now.
    pub fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some((uid, node)) = self.nodes.remove_entry(uid) else { return Vec::new() };
        self.relink(&uid, &node.owners, &[]);
        let mut work: Vec<Work> = self.dependents_of(&uid).map(Work::Item).collect();
        let waiting = node.owners.iter().filter_map(|owner| self.waiting_owner(owner));
        work.extend(waiting.map(Work::Item));
        work
    }

    /// Everything that deserves a look when the graph has just become complete.
    pub fn survey(&self) -> Vec<Work> {
        let mut work = Vec::new();
        for (uid, node) in &self.nodes {
            if node.orphaning {
                work.push(Work::Orphan(uid.clone()));
            }
            if node.waiting || (!node.deleting && node.owners.iter().any(|owner| self.is_doubtful(owner))) {
                work.push(Work::Item(uid.clone()));
            }
        }
        work.sort();
        work
    }

    /// What is known of an object.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name `uid` as an owner, with their UIDs.
    pub fn dependents(&self, uid: &str) -> Vec<(Uid, &Node)> {
        let Some(dependents) = self.dependents.get(uid) else { return Vec::new() };
        dependents.iter().filter_map(|uid| Some((uid.clone(), self.nodes.get(uid)?))).collect()
    }

    /// The dependents that keep `uid` from going while it waits for them.
    pub fn blocking(&self, uid: &str) -> Vec<Uid> {
        let blocks = |owner: &OwnerReference| &*owner.uid == uid && owner.block_owner_deletion == Some(true);
        self.dependents(uid)
            .into_iter()
            .filter(|(_, node)| node.owners.iter().any(blocks))
            .map(|(uid, _)| uid)
            .collect()
    }

    /// An owner that is not known to be there, or that waits for its dependents.
    fn is_doubtful(&self, owner: &OwnerReference) -> bool {
        self.nodes.get(owner.uid.as_str()).is_none_or(|node| node.waiting || !refers_to(owner, &node.at))
    }

    fn waiting_owner(&self, owner: &OwnerReference) -> Option<Uid> {
        let (uid, node) = self.nodes.get_key_value(owner.uid.as_str())?;
        node.waiting.then(|| uid.clone())
    }

    /// Waiting owners that `node` no longer blocks.
    fn unblocked_owners(&self, before: Option<&Node>, node: &Node) -> impl Iterator<Item = Uid> {
        let blocks = |node: &Node, uid: &str| {
            node.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
        };
        let owners: BTreeSet<Uid> =
            before.iter().flat_map(|before| &before.owners).filter_map(|owner| self.waiting_owner(owner)).collect();
        owners.into_iter().filter(move |uid| before.is_some_and(|before| blocks(before, uid)) && !blocks(node, uid))
    }

    fn dependents_of(&self, uid: &str) -> impl Iterator<Item = Uid> + use<> {
        self.dependents.get(uid).cloned().unwrap_or_default().into_iter()
    }

    fn relink(&mut self, uid: &Uid, before: &[OwnerReference], after: &[OwnerReference]) {
        for owner in before {
            if let Some(dependents) = self.dependents.get_mut(owner.uid.as_str()) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner.uid.as_str());
                }
            }
        }
        for owner in after {
            self.dependents.entry(Uid::from(owner.uid.as_str())).or_default().insert(uid.clone());
        }
    }
}

/// Whether kind, name and group of the reference are those of the object with its UID (contract 7.8).
pub(super) fn refers_to(owner: &OwnerReference, at: &Coordinates) -> bool {
    let group = |api_version: &str| api_version.split_once('/').map_or(String::new(), |(group, _)| group.to_owned());
    owner.name == *at.name && owner.kind == *at.kind && group(&owner.api_version) == group(&at.api_version)
}
