//! Texts that accept a pod but point something out (contract 4.5).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec, Volume};

use super::names;
use super::path::Path;
use crate::amount::Amount;

/// Texts for `Warning:` headers on a new Pod; changes of pods never warn.
pub fn pod_warnings(pod: &Pod, old: Option<&Pod>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let reason = "this is used in the Pod's hostname, which can result in surprising behavior";
    let mut warnings = name_not_a_label(pod.metadata.name.as_deref().unwrap_or_default(), reason);
    let annotations = pod.metadata.annotations.as_ref();
    annotation_warnings(&mut warnings, &Path::new("metadata.annotations"), annotations);
    if let Some(spec) = &pod.spec {
        spec_warnings(&mut warnings, &Path::new("spec"), spec);
    }
    warnings
}

/// The warnings of a pod template at `path`.
pub(super) fn template(warnings: &mut Vec<String>, path: &Path, template: &PodTemplateSpec) {
    let annotations = template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
    annotation_warnings(warnings, &path.child("metadata").child("annotations"), annotations);
    if let Some(spec) = &template.spec {
        spec_warnings(warnings, &path.child("spec"), spec);
    }
}

/// A warning about a name that cannot become a host name.
pub(super) fn name_not_a_label(name: &str, reason: &str) -> Vec<String> {
    let messages = names::label(name);
    if messages.is_empty() {
        return Vec::new();
    }
    vec![format!("metadata.name: {reason}; a DNS label is recommended: [{}]", messages.join(" "))]
}

fn annotation_warnings(warnings: &mut Vec<String>, path: &Path, annotations: Option<&BTreeMap<String, String>>) {
    for key in annotations.into_iter().flatten().map(|(key, _)| key.as_str()) {
        let text = match key {
            "scheduler.alpha.kubernetes.io/critical-pod" => {
                "non-functional in v1.16+; use the \"priorityClassName\" field instead"
            }
            "seccomp.security.alpha.kubernetes.io/pod" => {
                "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            }
            _ if key.starts_with("container.seccomp.security.alpha.kubernetes.io/") => {
                "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            }
            _ if key.starts_with("container.apparmor.security.beta.kubernetes.io/") => {
                "deprecated since v1.30; use the \"appArmorProfile\" field instead"
            }
            _ => continue,
        };
        warnings.push(format!("{}: {text}", path.key(key).as_str()));
    }
}

fn spec_warnings(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    for key in spec.node_selector.iter().flatten().map(|(key, _)| key) {
        if let Some(text) = deprecated_node_label(key) {
            warnings.push(format!("{}: {text}", path.child("nodeSelector").key(key).as_str()));
        }
    }
    spreading(warnings, path, spec);
    duplicates(warnings, path, spec);
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        volume_warnings(warnings, &path.child("volumes").index(index), volume);
    }
    let lists = [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))];
    for (field, list) in lists {
        for (index, container) in list.into_iter().flatten().enumerate() {
            container_warnings(warnings, &path.child(field).index(index), container);
        }
    }
    for (name, quantity) in spec.overhead.iter().flatten() {
        fractional_bytes(warnings, &path.child("overhead").key(name), name, &quantity.0);
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let path = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", path.as_str()));
    }
}

/// What to say about a node label that has a successor.
pub(super) fn deprecated_node_label(key: &str) -> Option<String> {
    let (since, successor) = match key {
        "beta.kubernetes.io/arch" => ("v1.14", "kubernetes.io/arch"),
        "beta.kubernetes.io/os" => ("v1.14", "kubernetes.io/os"),
        "beta.kubernetes.io/instance-type" => ("v1.17", "node.kubernetes.io/instance-type"),
        "failure-domain.beta.kubernetes.io/zone" => ("v1.17", "topology.kubernetes.io/zone"),
        "failure-domain.beta.kubernetes.io/region" => ("v1.17", "topology.kubernetes.io/region"),
        "node-role.kubernetes.io/master" => ("v1.20", "node-role.kubernetes.io/control-plane"),
        _ => return None,
    };
    Some(format!("deprecated since {since}; use \"{successor}\" instead"))
}

fn spreading(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        if let Some(text) = deprecated_node_label(&constraint.topology_key) {
            warnings.push(format!("{}: {} is {text}", path.child("topologyKey").as_str(), constraint.topology_key));
        }
        if constraint.label_selector.is_none() {
            let text = "a null labelSelector results in matching no pod";
            warnings.push(format!("{}: {text}", path.child("labelSelector").as_str()));
        }
    }
}

fn duplicates(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if seen.contains(&alias.ip.as_str()) {
            let path = path.child("hostAliases").index(index).child("ip");
            warnings.push(format!("{}: duplicate ip {:?}", path.as_str(), alias.ip));
        }
        seen.push(&alias.ip);
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        let path = path.child("imagePullSecrets").index(index).child("name");
        if secret.name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", path.as_str()));
        } else if seen.contains(&secret.name.as_str()) {
            warnings.push(format!("{}: duplicate name {:?}", path.as_str(), secret.name));
        }
        seen.push(&secret.name);
    }
}

fn volume_warnings(warnings: &mut Vec<String>, path: &Path, volume: &Volume) {
    for (set, field, text) in [
        (volume.git_repo.is_some(), "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        (
            volume.photon_persistent_disk.is_some(),
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        (volume.scale_io.is_some(), "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        (volume.flocker.is_some(), "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.storageos.is_some(), "storageos", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.quobyte.is_some(), "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.glusterfs.is_some(), "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        (volume.cephfs.is_some(), "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        (volume.rbd.is_some(), "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if set {
            warnings.push(format!("{}: {text}", path.child(field).as_str()));
        }
    }
    if volume.projected.as_ref().is_some_and(|source| source.sources.as_ref().is_none_or(Vec::is_empty)) {
        warnings.push(format!("volume {:?} (Projected) has no sources provided", volume.name));
    }
}

fn container_warnings(warnings: &mut Vec<String>, path: &Path, container: &Container) {
    if let Some(resources) = &container.resources {
        for (field, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            for (name, quantity) in list.iter().flatten() {
                fractional_bytes(warnings, &path.child("resources").child(field).key(name), name, &quantity.0);
            }
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        if seen.contains(&variable.name.as_str()) {
            let path = path.child("env").index(index);
            let text = "which may be dropped when using apply";
            warnings.push(format!("{}: hides previous definition of {:?}, {text}", path.as_str(), variable.name));
        }
        seen.push(&variable.name);
    }
    port_warnings(warnings, &path.child("ports"), container);
}

fn port_warnings(warnings: &mut Vec<String>, path: &Path, container: &Container) {
    let ports = container.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let at = path.index(index);
        let name = port.name.as_deref().filter(|name| !name.is_empty());
        for (earlier_index, earlier) in ports[..index].iter().enumerate() {
            let first = path.index(earlier_index);
            if (port.container_port, &port.protocol, port.host_port, &port.host_ip)
                == (earlier.container_port, &earlier.protocol, earlier.host_port, &earlier.host_ip)
            {
                warnings.push(format!("{}: duplicate port definition with {}", at.as_str(), first.as_str()));
            }
            if let Some(name) = name.filter(|_| port.name == earlier.name) {
                warnings.push(format!(
                    "{}: duplicate port name {name:?} with {}, services and probes that select ports by name will use {}",
                    at.child("name").as_str(),
                    first.child("name").as_str(),
                    first.child("name").as_str()
                ));
            }
        }
    }
}

/// Bytes cannot be split, but the API has always taken such values.
pub(super) fn fractional_bytes(warnings: &mut Vec<String>, path: &Path, resource: &str, value: &str) {
    let in_bytes = matches!(resource, "memory" | "ephemeral-storage" | "storage");
    let unit = Amount::from_units(1).nano();
    if in_bytes && Amount::parse(value).is_some_and(|amount| amount.nano() % unit != 0) {
        warnings.push(format!("{}: fractional byte value {value:?} is invalid, must be an integer", path.as_str()));
    }
}
