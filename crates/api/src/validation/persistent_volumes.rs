//! PersistentVolumes and StorageClasses (contract 8).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata::{self, NameRule};
use super::path::Path;
use super::pod_spec::optional_choice;
use super::pod_warnings::deprecated_node_label;
use super::volumes::{csi_driver, host_path, nfs, require};
use super::{affinity, amounts, claims, diff, names};
use crate::amount::Amount;
use crate::errors::{FieldError, FieldErrors};
use crate::object::semantically_equal;
use crate::registry::Scope;

const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const SOURCE_RULE: &str = "spec.persistentvolumesource is immutable after creation";
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

/// Everything wrong with a new PersistentVolume.
pub fn persistent_volume_create(volume: &PersistentVolume) -> FieldErrors {
    let mut errors = metadata::metadata_create(&volume.metadata, NameRule::Subdomain, Scope::Cluster);
    volume_rules(&mut errors, volume);
    errors
}

/// Everything wrong with a change to a PersistentVolume.
pub fn persistent_volume_update(new: &PersistentVolume, old: &PersistentVolume) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    volume_rules(&mut errors, new);
    let empty = PersistentVolumeSpec::default();
    let (after, before) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let (source, previous) = (source_of(after, before), source_of(before, before));
    if !semantically_equal(&source, &previous) {
        let detail = format!("{SOURCE_RULE}\n{}", diff::of(&previous, &source));
        errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
    }
    // These two paths lack their `spec.`.
    metadata::immutable(&mut errors, &Path::new("volumeMode"), &after.volume_mode, &before.volume_mode);
    if before.node_affinity.is_some() && after.node_affinity != before.node_affinity {
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.push(FieldError::invalid("nodeAffinity", &after.node_affinity, detail));
    }
    errors
}

/// Everything wrong with a change to the status of a PersistentVolume.
pub fn persistent_volume_status_update(new: &PersistentVolume, old: &PersistentVolume) -> FieldErrors {
    metadata::metadata_update(&new.metadata, &old.metadata)
}

/// Texts for `Warning:` headers.
pub fn persistent_volume_warnings(volume: &PersistentVolume, _old: Option<&PersistentVolume>) -> Vec<String> {
    let mut warnings = Vec::new();
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if policy == Some("Recycle") {
        warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
    }
    warnings
}

/// The source alone: everything else taken from `rest`, and a later secret for expansion permitted.
fn source_of(spec: &PersistentVolumeSpec, rest: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    let mut source = PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    };
    if let (Some(csi), Some(old)) = (&mut source.csi, &rest.csi)
        && old.controller_expand_secret_ref.is_none()
    {
        csi.controller_expand_secret_ref = None;
    }
    source
}

fn volume_rules(errors: &mut FieldErrors, volume: &PersistentVolume) {
    let empty = PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    claims::access_modes(errors, &path.child("accessModes"), spec.access_modes.as_deref(), "");
    capacity(errors, &path.child("capacity"), spec.capacity.as_ref());
    let policy = spec.persistent_volume_reclaim_policy.as_deref();
    let at = path.child("persistentVolumeReclaimPolicy");
    optional_choice(errors, &at, policy, &["Delete", "Recycle", "Retain"]);
    if let Some(affinity) = &spec.node_affinity {
        let at = path.child("nodeAffinity").child("required");
        match &affinity.required {
            Some(selector) => affinity::node_selector(errors, &at, selector),
            None => errors.push(FieldError::required(at, "must specify required node constraints")),
        }
    }
    sources(errors, &path, spec, volume);
    if spec.host_path.as_ref().is_some_and(|source| source.path == "/") && policy == Some("Recycle") {
        errors.push(FieldError::forbidden(at, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    names::check_optional(errors, &path.child("storageClassName"), spec.storage_class_name.as_ref(), names::subdomain);
    optional_choice(errors, &path.child("volumeMode"), spec.volume_mode.as_deref(), claims::VOLUME_MODES);
    if let Some(class) = &spec.volume_attributes_class_name {
        let at = path.child("volumeAttributesClassName");
        match class.as_str() {
            "" => errors.push(FieldError::required(at, "an empty string is disallowed")),
            class => names::check(errors, &at, class, names::subdomain),
        }
        require(errors, &path.child("csi"), spec.csi.is_none());
    }
}

fn capacity(errors: &mut FieldErrors, path: &Path, capacity: Option<&BTreeMap<String, Quantity>>) {
    let capacity = capacity.cloned().unwrap_or_default();
    require(errors, path, capacity.is_empty());
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.push(FieldError::not_supported(path, &capacity, &["storage"]));
    }
    for (name, quantity) in &capacity {
        let at = path.key(name);
        match Amount::parse(&quantity.0) {
            None => errors.push(FieldError::invalid(at, quantity, "must be a valid resource quantity")),
            Some(amount) if amount <= Amount::ZERO => {
                errors.push(FieldError::invalid(at, quantity, amounts::POSITIVE));
            }
            Some(_) => {}
        }
    }
}

fn source_names(spec: &PersistentVolumeSpec) -> [(&'static str, bool); 22] {
    [
        ("hostPath", spec.host_path.is_some()),
        ("gcePersistentDisk", spec.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", spec.aws_elastic_block_store.is_some()),
        ("glusterfs", spec.glusterfs.is_some()),
        ("flocker", spec.flocker.is_some()),
        ("nfs", spec.nfs.is_some()),
        ("rbd", spec.rbd.is_some()),
        ("quobyte", spec.quobyte.is_some()),
        ("cephFS", spec.cephfs.is_some()),
        ("iscsi", spec.iscsi.is_some()),
        ("cinder", spec.cinder.is_some()),
        ("fc", spec.fc.is_some()),
        ("flexVolume", spec.flex_volume.is_some()),
        ("azureFile", spec.azure_file.is_some()),
        ("vsphereVolume", spec.vsphere_volume.is_some()),
        ("photonPersistentDisk", spec.photon_persistent_disk.is_some()),
        ("portworxVolume", spec.portworx_volume.is_some()),
        ("azureDisk", spec.azure_disk.is_some()),
        ("scaleIO", spec.scale_io.is_some()),
        ("local", spec.local.is_some()),
        ("storageos", spec.storageos.is_some()),
        ("csi", spec.csi.is_some()),
    ]
}

/// Sources that take mount options; the others refuse the annotation.
const MOUNTABLE: &[&str] = &[
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "cephFS",
    "iscsi",
    "cinder",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "storageos",
    "csi",
];

fn sources(errors: &mut FieldErrors, path: &Path, spec: &PersistentVolumeSpec, volume: &PersistentVolume) {
    let set: Vec<&str> = source_names(spec).into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    if set.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for other in set.iter().skip(1) {
        errors.push(FieldError::forbidden(path.child(other), "may not specify more than 1 volume type"));
    }
    if let Some(source) = &spec.host_path {
        host_path(errors, &path.child("hostPath"), source);
    }
    if let Some(source) = &spec.nfs {
        nfs(errors, &path.child("nfs"), source);
    }
    if let Some(source) = &spec.local {
        let at = path.child("local").child("path");
        require(errors, &at, source.path.is_empty());
        super::mounts::no_backsteps(errors, &at, &source.path);
        if spec.node_affinity.is_none() {
            errors.push(FieldError::required(path.child("nodeAffinity"), "Local volume requires node affinity"));
        }
    }
    if let Some(source) = &spec.csi {
        csi_driver(errors, &path.child("csi").child("driver"), &source.driver);
        require(errors, &path.child("csi").child("volumeHandle"), source.volume_handle.is_empty());
    }
    let options = volume.metadata.annotations.as_ref().is_some_and(|map| map.contains_key(MOUNT_OPTIONS));
    if options && !set.first().is_some_and(|source| MOUNTABLE.contains(source)) {
        let path = Path::new("metadata.annotations").child(MOUNT_OPTIONS);
        errors.push(FieldError::forbidden(path, "may not specify mount options for this volume type"));
    }
}

/// Everything wrong with a new StorageClass.
pub fn storage_class_create(class: &StorageClass) -> FieldErrors {
    let mut errors = metadata::metadata_create(&class.metadata, NameRule::Subdomain, Scope::Cluster);
    let provisioner = Path::new("provisioner");
    if class.provisioner.is_empty() {
        errors.push(FieldError::required(&provisioner, ""));
    } else {
        names::check(&mut errors, &provisioner, &class.provisioner, names::qualified_lower_case);
    }
    parameters(&mut errors, class.parameters.as_ref());
    let policy = class.reclaim_policy.as_deref();
    optional_choice(&mut errors, &Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]);
    let mode = class.volume_binding_mode.as_deref();
    optional_choice(&mut errors, &Path::new("volumeBindingMode"), mode, &["Immediate", "WaitForFirstConsumer"]);
    topologies(&mut errors, class);
    errors
}

/// Everything wrong with a change to a StorageClass.
pub fn storage_class_update(new: &StorageClass, old: &StorageClass) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    let map = |class: &StorageClass| class.parameters.clone().unwrap_or_default();
    metadata::immutable(&mut errors, &Path::new("parameters"), &map(new), &map(old));
    metadata::immutable(&mut errors, &Path::new("provisioner"), &new.provisioner, &old.provisioner);
    let policy = Path::new("reclaimPolicy");
    metadata::immutable(&mut errors, &policy, &new.reclaim_policy, &old.reclaim_policy);
    let mode = Path::new("volumeBindingMode");
    metadata::immutable(&mut errors, &mode, &new.volume_binding_mode, &old.volume_binding_mode);
    topologies(&mut errors, new);
    errors
}

/// Texts for `Warning:` headers.
pub fn storage_class_warnings(class: &StorageClass, _old: Option<&StorageClass>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (i, term) in class.allowed_topologies.iter().flatten().enumerate() {
        for (j, expression) in term.match_label_expressions.iter().flatten().enumerate() {
            if let Some(text) = deprecated_node_label(&expression.key) {
                warnings.push(format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key: {text}"));
            }
        }
    }
    warnings
}

fn parameters(errors: &mut FieldErrors, parameters: Option<&BTreeMap<String, String>>) {
    let path = Path::new("parameters");
    let Some(parameters) = parameters else { return };
    if parameters.len() > PARAMETERS_MAX {
        errors.push(FieldError::too_long(&path, PARAMETERS_MAX));
        return;
    }
    if let Some(empty) = parameters.keys().find(|key| key.is_empty()) {
        errors.push(FieldError::invalid(&path, empty, "field can not be empty."));
    }
    if parameters.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > PARAMETERS_BYTES_MAX {
        errors.push(FieldError::too_long(&path, PARAMETERS_BYTES_MAX));
    }
}

fn topologies(errors: &mut FieldErrors, class: &StorageClass) {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    for (index, term) in terms.iter().enumerate() {
        let at = Path::new("allowedTopologies").index(index);
        let path = at.child("matchLabelExpressions");
        let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
        for (index, expression) in expressions.iter().enumerate() {
            let path = path.index(index);
            require(errors, &path.child("values"), expression.values.is_empty());
            for (index, value) in expression.values.iter().enumerate() {
                if expression.values[..index].contains(value) {
                    errors.push(FieldError::duplicate(path.child("values").index(index), value));
                }
            }
            names::check(errors, &path.child("key"), &expression.key, names::qualified);
            if expressions[..index].iter().any(|other| other.key == expression.key) {
                errors.push(FieldError::duplicate(path.child("key"), &expression.key));
            }
        }
        if terms[..index].contains(term) {
            errors.push(FieldError::duplicate(path, ""));
        }
    }
}
