//! What keeps a claim or a volume from going too early (contract 6.19).

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

use super::{CLAIM_PROTECTION_FINALIZER, Meta, VOLUME_PROTECTION_FINALIZER, has_finalizer, volume_phase};

/// The claim with its finalizer put on or taken off, when that is due. `pods` are those of its
/// namespace, read live when the claim is being deleted.
pub fn claim_protection<'a>(
    claim: &PersistentVolumeClaim,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> Option<PersistentVolumeClaim> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let metadata = protection(&claim.metadata, CLAIM_PROTECTION_FINALIZER, || !is_in_use(name, pods))?;
    Some(PersistentVolumeClaim { metadata, ..claim.clone() })
}

/// The volume with its finalizer put on or taken off, when that is due.
pub fn volume_protection(volume: &PersistentVolume) -> Option<PersistentVolume> {
    let metadata = protection(&volume.metadata, VOLUME_PROTECTION_FINALIZER, || volume_phase(volume) != "Bound")?;
    Some(PersistentVolume { metadata, ..volume.clone() })
}

/// Whether a pod that has a node uses the claim `name` of its namespace. Its phase is irrelevant: only a
/// pod that is gone has let go.
pub fn is_in_use<'a>(name: &str, pods: impl IntoIterator<Item = &'a Pod>) -> bool {
    pods.into_iter().any(|pod| has_node(pod) && claims_of(pod).iter().any(|claim| claim == name))
}

/// Names of the claims a pod uses, those of its generic ephemeral volumes included (contract 6.17).
pub fn claims_of(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let volumes = spec.volumes.iter().flatten();
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => Some(source.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name)),
            (None, None) => None,
        })
        .collect()
}

fn has_node(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty())
}

fn protection(meta: &Meta, finalizer: &str, may_go: impl FnOnce() -> bool) -> Option<Meta> {
    let mut meta = meta.clone();
    match (meta.deletion_timestamp.is_some(), has_finalizer(&meta, finalizer)) {
        (false, false) => meta.finalizers.get_or_insert_default().push(finalizer.to_owned()),
        (true, true) if may_go() => meta.finalizers.get_or_insert_default().retain(|held| held != finalizer),
        (false, true) | (true, _) => return None,
    }
    Some(meta)
}
