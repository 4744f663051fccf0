//! What a new local volume looks like, and on which node one is made when no pod decides (contract
//! 6.13, design decision 6).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    HOSTNAME_LABEL, LOCAL_PROVISIONER, PROVISIONED_BY_ANNOTATION, PROVISIONER_FINALIZER, VOLUME_PROTECTION_FINALIZER,
};
use crate::nodes::SIMULATED_LABEL;

/// The volume for `claim`, whose directory is `path` on `node`. It names the claim by UID, so that
/// nothing else can take it, and it can only be used where the directory is. On a simulated node there is
/// no directory, which the volume says, so that nobody looks for one to remove.
pub fn provision(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node, path: &str) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let size = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned()).unwrap_or_default();
    let mut annotations = BTreeMap::from([(PROVISIONED_BY_ANNOTATION.to_owned(), LOCAL_PROVISIONER.to_owned())]);
    if crate::nodes::is_simulated(node) {
        annotations.insert(SIMULATED_LABEL.to_owned(), "true".to_owned());
    }
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(volume_name_of(claim.metadata.uid.as_deref().unwrap_or_default())),
            annotations: Some(annotations),
            finalizers: Some(vec![VOLUME_PROTECTION_FINALIZER.to_owned(), PROVISIONER_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(BTreeMap::from([("storage".to_owned(), size)])),
            claim_ref: Some(reference_to_claim(claim)),
            local: Some(LocalVolumeSource { path: path.to_owned(), fs_type: None }),
            mount_options: class.mount_options.clone(),
            node_affinity: Some(VolumeNodeAffinity { required: Some(only_on(node)) }),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone().or_else(|| Some("Delete".to_owned())),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode.or_else(|| Some("Filesystem".to_owned())),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// What a volume says for its path when there is no directory: its node is simulated.
pub fn simulated_path(claim_uid: &str) -> String {
    format!("/simulated/{claim_uid}")
}

/// The node to hold the volume of a claim that binds before any pod is scheduled: of the ready and
/// schedulable ones the one with the fewest local volumes, ties by name.
pub fn node_for_immediate(nodes: &[Arc<Node>], volumes: &[Arc<PersistentVolume>]) -> Option<String> {
    let usable = nodes.iter().filter(|node| crate::nodes::is_ready(node) && !crate::nodes::is_cordoned(node));
    let held = |node: &Node| volumes.iter().filter(|volume| is_held_by(volume, node)).count();
    let chosen = usable.min_by_key(|node| (held(node), node.metadata.name.clone()))?;
    chosen.metadata.name.clone()
}

/// The name of the volume made for the claim with this UID (contract 6.13).
pub(super) fn volume_name_of(claim_uid: &str) -> String {
    format!("pvc-{claim_uid}")
}

pub(super) fn reference_to_claim(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: claim.metadata.namespace.clone(),
        name: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        field_path: None,
    }
}

fn is_held_by(volume: &PersistentVolume, node: &Node) -> bool {
    let local = volume.spec.as_ref().is_some_and(|spec| spec.local.is_some());
    local && crate::scheduler::node_selector::volume_reaches(volume, node)
}

fn only_on(node: &Node) -> NodeSelector {
    NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_expressions: Some(vec![NodeSelectorRequirement {
                key: HOSTNAME_LABEL.to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![crate::nodes::hostname(node).to_owned()]),
            }]),
            match_fields: None,
        }],
    }
}
