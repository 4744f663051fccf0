//! The credentials that a pod's pull secrets hold (contract `pods.md` 6.21).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use stead_client::{EventType, reference_to};
use stead_image::Credential;

use crate::agent::Inner;
use crate::references::Named;

/// What the pod has to show to registries, and what the secrets called `more` have. A secret that is missing
/// is told and passed over.
pub(crate) fn of<R, N>(inner: &Inner<R, N>, pod: &Pod, named: &Named, more: &[String]) -> Vec<Credential> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let own = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()).map(|secret| &secret.name);
    let names: BTreeSet<&String> = own.chain(more).collect();
    for name in names {
        let Some(secret) = named.secret(name) else {
            missing.push(name.clone());
            continue;
        };
        let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
        let parsed = match (data(".dockerconfigjson"), data(".dockercfg")) {
            (Some(bytes), _) => Credential::from_docker_config_json(&bytes),
            (None, Some(bytes)) => Credential::from_dockercfg(&bytes),
            (None, None) => Ok(Vec::new()),
        };
        match parsed {
            Ok(credentials) => found.extend(credentials),
            Err(error) => tracing::warn!(secret = name, %error, "pull secret is not readable"),
        }
    }
    if !missing.is_empty() {
        let text = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        inner.recorder.event(&reference_to(pod), EventType::Warning, "FailedToRetrieveImagePullSecret", text);
    }
    found
}
