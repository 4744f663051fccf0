//! The nodes and what runs on them, kept up to date one object at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::requests::{self, HostPort, Resources};
use crate::claims;

/// Pods a node takes when it does not say.
const PODS_MAX_DEFAULT: i64 = 110;

/// One node: what it offers and what is taken.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// The node object.
    pub node: Arc<Node>,
    pub(super) allocatable: Resources,
    pub(super) pods_max: i64,
    pub(super) load: Load,
}

impl NodeState {
    /// The node's name.
    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }
}

/// What pods take of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub(super) pods: i64,
    pub(super) requested: Resources,
    pub(super) scored: Resources,
    pub(super) ports: Vec<HostPort>,
}

/// What one pod takes, and where.
#[derive(Clone, Debug, PartialEq)]
struct Placement {
    node: String,
    requested: Resources,
    scored: Resources,
    ports: Vec<HostPort>,
    namespace: String,
    claims: Vec<String>,
}

/// Every node, and every pod that has one or is about to.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    placements: HashMap<String, Placement>,
    claim_users: HashMap<(String, String), usize>,
}

impl Cluster {
    /// Takes note of a new or changed node.
    pub fn set_node(&mut self, node: &Arc<Node>) {
        let Some(name) = node.metadata.name.clone() else { return };
        let status = node.status.as_ref();
        let list = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let allocatable = Resources::of(list);
        let pods_max = allocatable.0.get("pods").map_or(PODS_MAX_DEFAULT, |amount| amount.units());
        let load = match self.nodes.remove(&name) {
            Some(state) => state.load,
            None => self.load_of(&name),
        };
        self.nodes.insert(name, NodeState { node: Arc::clone(node), allocatable, pods_max, load });
    }

    /// Forgets a node. Its pods stay known, in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Takes note that the pod is, or is about to be, on the node. A pod that has finished frees what it
    /// took; one that is terminating does not (contract 8.8).
    pub fn place(&mut self, pod: &Pod, node: &str) {
        let Some(uid) = pod.metadata.uid.as_deref() else { return };
        if crate::pods::phase(pod).is_terminal() {
            self.remove(uid);
            return;
        }
        let placement = Placement {
            node: node.to_owned(),
            requested: requests::requests(pod),
            scored: requests::scored_requests(pod),
            ports: requests::host_ports(pod),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            claims: claims::claims_of(pod),
        };
        if self.placements.get(uid) == Some(&placement) {
            return;
        }
        self.remove(uid);
        if let Some(state) = self.nodes.get_mut(node) {
            add(&mut state.load, &placement);
        }
        for claim in &placement.claims {
            *self.claim_users.entry((placement.namespace.clone(), claim.clone())).or_default() += 1;
        }
        self.placements.insert(uid.to_owned(), placement);
    }

    /// Takes note that the pod with this UID takes nothing, or no longer.
    pub fn remove(&mut self, uid: &str) {
        let Some(placement) = self.placements.remove(uid) else { return };
        if let Some(state) = self.nodes.get_mut(&placement.node) {
            take_away(&mut state.load, &placement);
        }
        for claim in placement.claims {
            let key = (placement.namespace.clone(), claim);
            if let Some(users) = self.claim_users.get_mut(&key) {
                *users -= 1;
                if *users == 0 {
                    self.claim_users.remove(&key);
                }
            }
        }
    }

    /// The node the pod with this UID is, or is about to be, on.
    pub fn node_of(&self, uid: &str) -> Option<&str> {
        self.placements.get(uid).map(|placement| placement.node.as_str())
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node once, beginning with the one at `start`.
    pub(super) fn from(&self, start: usize) -> impl Iterator<Item = &NodeState> {
        let start = start % self.nodes.len().max(1);
        self.nodes.values().skip(start).chain(self.nodes.values().take(start))
    }

    /// Whether a pod that has a node uses the claim.
    pub(super) fn is_claim_used(&self, namespace: &str, claim: &str) -> bool {
        self.claim_users.contains_key(&(namespace.to_owned(), claim.to_owned()))
    }

    fn load_of(&self, node: &str) -> Load {
        let mut load = Load::default();
        self.placements.values().filter(|placement| placement.node == node).for_each(|p| add(&mut load, p));
        load
    }
}

fn add(load: &mut Load, placement: &Placement) {
    load.pods += 1;
    load.requested.add(&placement.requested);
    load.scored.add(&placement.scored);
    load.ports.extend(placement.ports.iter().cloned());
}

fn take_away(load: &mut Load, placement: &Placement) {
    load.pods -= 1;
    load.requested.remove(&placement.requested);
    load.scored.remove(&placement.scored);
    for port in &placement.ports {
        if let Some(index) = load.ports.iter().position(|held| held == port) {
            load.ports.swap_remove(index);
        }
    }
}
