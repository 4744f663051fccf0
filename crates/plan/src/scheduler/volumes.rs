//! Claims as the scheduler sees them: bound ones tie the pod to their volume's node, unbound ones are
//! bound or provisioned on the node chosen (contract 6.16, 8.7).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use super::VolumeStep;
use super::cluster::{Cluster, NodeState};
use super::message::Refusal;
use super::node_selector;
use crate::claims::{self, LOCAL_PROVISIONER, NO_PROVISIONER, Seeker};

const ONCE_POD: &str = "ReadWriteOncePod";

/// Looks up claims, volumes and classes.
pub trait Volumes {
    /// A claim by namespace and name.
    fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>>;
    /// A volume by name.
    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>>;
    /// Every volume of a class.
    fn volumes_of_class(&self, class: &str) -> Vec<Arc<PersistentVolume>>;
    /// A class by name.
    fn class(&self, name: &str) -> Option<Arc<StorageClass>>;
}

/// The claims of one pod.
pub(super) struct PodClaims {
    namespace: String,
    /// With their volumes; none where it does not exist.
    bound: Vec<(Arc<PersistentVolumeClaim>, Option<Arc<PersistentVolume>>)>,
    waiting: Vec<(Arc<PersistentVolumeClaim>, Arc<StorageClass>)>,
}

/// Looks up the pod's claims; the error is a reason that holds on every node.
pub(super) fn prepare(pod: &Pod, volumes: &dyn Volumes) -> Result<PodClaims, String> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut found = PodClaims { namespace, bound: Vec::new(), waiting: Vec::new() };
    let mut unbound_immediate = false;
    for name in claims::claims_of(pod) {
        let Some(claim) = volumes.claim(&found.namespace, &name) else {
            return Err(if is_ephemeral(pod, &name) {
                format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}")
            } else {
                format!("persistentvolumeclaim {name:?} not found")
            });
        };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
            let volume = claims::volume_name(&claim).unwrap_or_default();
            return Err(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let class = volumes.class(claims::class_of_claim(&claim)).filter(|class| claims::waits_for_consumer(class));
        match (class, claims::volume_name(&claim)) {
            (_, Some(name)) if claims::was_bound(&claim) => {
                let volume = volumes.volume(name);
                found.bound.push((claim, volume));
            }
            (Some(class), None) => found.waiting.push((claim, class)),
            (Some(_), Some(_)) | (None, _) => unbound_immediate = true,
        }
    }
    if unbound_immediate {
        return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
    }
    Ok(found)
}

fn is_ephemeral(pod: &Pod, claim: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let direct = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    !direct.into_iter().any(|source| source.claim_name == claim)
}

impl PodClaims {
    /// Whether nothing is left to bind.
    pub(super) fn are_bound(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The steps that make the pod's claims bindable on the node, or why they cannot be.
    pub(super) fn on(
        &self,
        cluster: &Cluster,
        state: &NodeState,
        volumes: &dyn Volumes,
    ) -> Result<Vec<VolumeStep>, Refusal> {
        self.not_in_use(cluster)?;
        for (_, volume) in &self.bound {
            let Some(volume) = volume else {
                let reason = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
                return Err(Refusal::for_good(reason));
            };
            if !node_selector::volume_reaches(volume, &state.node) {
                return Err(Refusal::for_good("node(s) didn't match PersistentVolume's node affinity"));
            }
        }
        self.bindable(state, volumes)
    }

    fn not_in_use(&self, cluster: &Cluster) -> Result<(), Refusal> {
        let bound = self.bound.iter().map(|(claim, _)| claim);
        let all = bound.chain(self.waiting.iter().map(|(claim, _)| claim));
        let mut exclusive = all.filter(|claim| {
            claim
                .spec
                .as_ref()
                .and_then(|spec| spec.access_modes.as_ref())
                .is_some_and(|m| m.iter().any(|m| m == ONCE_POD))
        });
        let used = |claim: &Arc<PersistentVolumeClaim>| {
            cluster.is_claim_used(&self.namespace, claim.metadata.name.as_deref().unwrap_or_default())
        };
        if exclusive.any(used) {
            let reason = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already \
                          in-use by another pod";
            return Err(Refusal::for_now(reason));
        }
        Ok(())
    }

    fn bindable(&self, state: &NodeState, volumes: &dyn Volumes) -> Result<Vec<VolumeStep>, Refusal> {
        let refusal = || Refusal::for_good("node(s) didn't find available persistent volumes to bind");
        let mut steps = Vec::new();
        let mut taken: Vec<Option<String>> = Vec::new();
        for (claim, class) in &self.waiting {
            match claims::selected_node(claim) {
                Some(node) if node == state.name() => continue,
                Some(_) => return Err(refusal()),
                None => {}
            }
            let mut free = volumes.volumes_of_class(claims::class_of_claim(claim));
            free.retain(|volume| !taken.contains(&volume.metadata.name));
            match claims::best_match(claim, &free, Seeker::Scheduler(&state.node)) {
                Some(volume) => {
                    taken.push(volume.metadata.name.clone());
                    let reserved = claims::reserved_for(volume, claim);
                    if reserved != **volume {
                        steps.push(VolumeStep::Reserve(Box::new(reserved)));
                    }
                }
                None if class.provisioner == NO_PROVISIONER || !is_allowed(class, &state.node) => return Err(refusal()),
                None => {
                    let claim = Box::new(claims::with_selected_node(claim, state.name()));
                    let is_local = class.provisioner == LOCAL_PROVISIONER;
                    steps.push(if is_local { VolumeStep::Provision(claim) } else { VolumeStep::SelectNode(claim) });
                }
            }
        }
        Ok(steps)
    }
}

/// Whether the class provisions for the node's topology.
fn is_allowed(class: &StorageClass, node: &Node) -> bool {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    terms.is_empty()
        || terms.iter().any(|term| {
            let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
            expressions.iter().all(|wanted| label(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
        })
}
