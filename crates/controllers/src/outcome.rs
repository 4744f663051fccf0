//! What an answer of the API means to a controller: gone, changed meanwhile, there already. And waiting
//! until a cache shows one's own writes.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use stead_client::Cache;

/// How long a controller waits for its own write to show; then it goes on and relies on preconditions.
const OWN_WRITE_SEEN_MAX: Duration = Duration::from_secs(2);

fn status_of(error: &kube::Error) -> Option<&kube::core::Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// The object, or what it belongs to, does not exist.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    status_of(error).is_some_and(|status| status.code == 404)
}

/// An object of that name exists already.
pub(crate) fn is_already_exists(error: &kube::Error) -> bool {
    status_of(error).is_some_and(|status| status.code == 409 && status.reason == "AlreadyExists")
}

/// The object is not the one, or not in the state, that was decided on.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    status_of(error).is_some_and(|status| status.code == 409 && status.reason != "AlreadyExists")
}

/// Nothing can be made in the namespace any more (contract 7.12).
pub(crate) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let Some(status) = status_of(error) else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Whether what was asked for may have been done all the same: there was no answer, or one that tells
/// nothing about it.
pub(crate) fn is_in_doubt(error: &kube::Error) -> bool {
    status_of(error).is_none_or(|status| status.code >= 500 || status.code == 408)
}

/// Takes `gone` for done: what was to be deleted is not there, or is another object of the same name.
pub(crate) fn deleted<T>(answer: kube::Result<T>) -> kube::Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Delete exactly this object, in exactly this state if `resource_version` is given.
pub(crate) fn exactly(
    uid: &str,
    resource_version: Option<&str>,
    propagation: Option<PropagationPolicy>,
) -> DeleteParams {
    DeleteParams {
        propagation_policy: propagation,
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: resource_version.map(str::to_owned),
        }),
        ..DeleteParams::default()
    }
}

/// Waits until `cache` shows the write that gave `meta`, so that the next plan is not made from a state
/// before it.
pub(crate) async fn seen<K>(cache: &Cache<K>, meta: &ObjectMeta)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let Some(revision) = meta.resource_version.as_deref().and_then(|text| text.parse().ok()) else { return };
    if tokio::time::timeout(OWN_WRITE_SEEN_MAX, cache.wait_revision(revision)).await.is_err() {
        tracing::debug!(revision, "own write not seen yet, going on");
    }
}
