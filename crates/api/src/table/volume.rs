//! The rows of PersistentVolume, PersistentVolumeClaim and StorageClass.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeSpec,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{UNSET, age, is_annotated, name, or, text};
use crate::registry::Cell;

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_CLASS_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// The cells of one PersistentVolume.
pub fn volume_cells(volume: &PersistentVolume, now: Timestamp) -> Vec<Cell> {
    let none = PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&none);
    let status = volume.status.as_ref();
    let claim = spec.claim_ref.as_ref().map(|claim| {
        format!("{}/{}", claim.namespace.as_deref().unwrap_or_default(), claim.name.as_deref().unwrap_or_default())
    });
    vec![
        name(&volume.metadata),
        spec.capacity.as_ref().and_then(|capacity| capacity.get("storage")).map_or("0", |size| &size.0).into(),
        access_modes(spec.access_modes.as_deref()).into(),
        text(spec.persistent_volume_reclaim_policy.as_deref()),
        phase(&volume.metadata, status.and_then(|status| status.phase.as_deref())),
        text(claim.as_deref()),
        class(&volume.metadata, spec.storage_class_name.as_deref()),
        or(spec.volume_attributes_class_name.as_deref(), UNSET),
        text(status.and_then(|status| status.reason.as_deref())),
        age(&volume.metadata, now),
        or(spec.volume_mode.as_deref(), UNSET),
    ]
}

/// The cells of one PersistentVolumeClaim. Size and modes show once a volume is named.
pub fn claim_cells(claim: &PersistentVolumeClaim, now: Timestamp) -> Vec<Cell> {
    let none = PersistentVolumeClaimStatus::default();
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.as_ref().unwrap_or(&none);
    let (size, modes) = match spec.volume_name.as_deref() {
        None | Some("") => (String::new(), String::new()),
        Some(_) => {
            let size = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
            (size.map_or_else(|| "0".to_owned(), |size| size.0.clone()), access_modes(status.access_modes.as_deref()))
        }
    };
    vec![
        name(&claim.metadata),
        phase(&claim.metadata, status.phase.as_deref()),
        text(spec.volume_name.as_deref()),
        size.into(),
        modes.into(),
        class(&claim.metadata, spec.storage_class_name.as_deref()),
        or(spec.volume_attributes_class_name.as_deref(), UNSET),
        age(&claim.metadata, now),
        or(spec.volume_mode.as_deref(), UNSET),
    ]
}

/// The cells of one StorageClass.
pub fn class_cells(class: &StorageClass, now: Timestamp) -> Vec<Cell> {
    let is_default = DEFAULT_CLASS_ANNOTATIONS.iter().any(|annotation| is_annotated(&class.metadata, annotation));
    let shown = class.metadata.name.as_deref().unwrap_or_default();
    vec![
        if is_default { format!("{shown} (default)").into() } else { shown.into() },
        class.provisioner.clone().into(),
        or(class.reclaim_policy.as_deref(), "Delete"),
        or(class.volume_binding_mode.as_deref(), "Immediate"),
        class.allow_volume_expansion.unwrap_or_default().into(),
        age(&class.metadata, now),
    ]
}

fn phase(meta: &ObjectMeta, phase: Option<&str>) -> Cell {
    if meta.deletion_timestamp.is_some() { "Terminating".into() } else { text(phase) }
}

fn class(meta: &ObjectMeta, class: Option<&str>) -> Cell {
    let annotated = meta.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION));
    text(annotated.map(String::as_str).or(class))
}

/// `RWO,ROX,RWX,RWOP` in that order, each once.
fn access_modes(modes: Option<&[String]>) -> String {
    let has = |mode: &str| modes.is_some_and(|modes| modes.iter().any(|have| have == mode));
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let shown: Vec<&str> = short.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    shown.join(",")
}
