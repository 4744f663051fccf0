//! Defaults of containers, their probes, ports and environment (contract 4.1).

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle, LifecycleHandler,
    ObjectFieldSelector, Probe, ResourceFieldSelector, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{fill, quantities, unset};

/// The fields regular, init and ephemeral containers share.
struct Parts<'a> {
    image: &'a Option<String>,
    image_pull_policy: &'a mut Option<String>,
    termination_message_path: &'a mut Option<String>,
    termination_message_policy: &'a mut Option<String>,
    ports: &'a mut Option<Vec<ContainerPort>>,
    env: &'a mut Option<Vec<EnvVar>>,
    resources: &'a mut Option<ResourceRequirements>,
    probes: [&'a mut Option<Probe>; 3],
    lifecycle: &'a mut Option<Lifecycle>,
}

macro_rules! parts {
    ($container:expr) => {
        Parts {
            image: &$container.image,
            image_pull_policy: &mut $container.image_pull_policy,
            termination_message_path: &mut $container.termination_message_path,
            termination_message_policy: &mut $container.termination_message_policy,
            ports: &mut $container.ports,
            env: &mut $container.env,
            resources: &mut $container.resources,
            probes: [&mut $container.liveness_probe, &mut $container.readiness_probe, &mut $container.startup_probe],
            lifecycle: &mut $container.lifecycle,
        }
    };
}

/// A regular or init container.
pub(super) fn container(container: &mut Container) {
    common(parts!(container));
}

/// An ephemeral container.
pub(super) fn ephemeral_container(container: &mut EphemeralContainer) {
    common(parts!(container));
}

fn common(parts: Parts<'_>) {
    fill(parts.image_pull_policy, pull_policy(parts.image.as_deref().unwrap_or_default()));
    fill(parts.termination_message_path, "/dev/termination-log");
    fill(parts.termination_message_policy, "File");
    for port in parts.ports.iter_mut().flatten() {
        fill(&mut port.protocol, "TCP");
    }
    for source in parts.env.iter_mut().flatten().filter_map(|variable| variable.value_from.as_mut()) {
        source.field_ref.iter_mut().for_each(field_ref);
        source.resource_field_ref.iter_mut().for_each(resource_field_ref);
        if let Some(file) = &mut source.file_key_ref {
            file.optional.get_or_insert(false);
        }
    }
    // Never left out on the wire, even when empty.
    parts.resources.get_or_insert_default();
    quantities::requirements(parts.resources);
    parts.probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = parts.lifecycle {
        [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten().for_each(handler);
    }
}

/// `Always` for the tag `latest`, said or implied; `IfNotPresent` for every other tag, for digests
/// and for images that cannot be read.
pub(super) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last_slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[last_slash..].find(':') {
        Some(colon) => (&name[..last_slash + colon], Some(&name[last_slash + colon + 1..])),
        None => (name, None),
    };
    let latest = match (tag, digest) {
        (Some(tag), _) => tag == "latest",
        (None, Some(_)) => false,
        (None, None) => true,
    };
    if latest && readable(repository) { "Always" } else { "IfNotPresent" }
}

/// Whether a repository can be one: lower case, except for a registry's host before the first slash.
fn readable(repository: &str) -> bool {
    let path = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => repository,
    };
    let component = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        edge(part.chars().next()) && edge(part.chars().next_back()) && part.chars().all(inner)
    };
    path.split('/').all(component)
}

fn probe(probe: &mut Probe) {
    for (field, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or_default() == 0 {
            *field = Some(default);
        }
    }
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn handler(handler: &mut LifecycleHandler) {
    handler.http_get.iter_mut().for_each(http_get);
}

fn http_get(action: &mut HTTPGetAction) {
    fill(&mut action.path, "/");
    fill(&mut action.scheme, "HTTP");
}

/// A reference to a field of the pod.
pub(super) fn field_ref(reference: &mut ObjectFieldSelector) {
    fill(&mut reference.api_version, "v1");
}

/// A reference to a resource of a container; the divisor always appears on the wire.
pub(super) fn resource_field_ref(reference: &mut ResourceFieldSelector) {
    let divisor = reference.divisor.get_or_insert_with(|| Quantity("0".to_owned()));
    if divisor.0.is_empty() {
        divisor.0 = "0".to_owned();
    }
    quantities::canonical(&mut reference.divisor);
    if unset(&reference.container_name) {
        reference.container_name = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("qdrant/qdrant:v1.7.0", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("Registry.example:5000/a/b:2", "IfNotPresent"),
            ("nginx@sha256:0123", "IfNotPresent"),
            ("nginx:latest@sha256:0123", "Always"),
            ("", "IfNotPresent"),
            ("NGINX", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
