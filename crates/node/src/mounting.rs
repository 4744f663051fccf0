//! The step that sets a pod's volumes up, and the one that brings them up to date with what they show.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use stead_client::{EventType, reference_to};
use stead_net::Network;
use stead_plan::pod::{Failure, Volumes};
use stead_runtime::Runtime;

use crate::agent::Inner;
use crate::env::PodFacts;
use crate::lookups::{Lookups, facts, lookups};
use crate::retry;
use crate::starting;
use crate::volumes;
use crate::worker::step::Outcome;
use crate::worker::{Step, Worker};

/// Does one of the things that can be done to all of a pod's volumes, where it may block.
async fn with_volumes<R: Runtime, N: Network, T: Send + 'static>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    work: impl FnOnce(&Pod, &Path, &PodFacts, &Lookups<'_>) -> T + Send + 'static,
) -> Outcome<T> {
    let (pod, facts, named) = {
        let state = worker.state();
        (Arc::clone(&state.pod), facts(inner, &state), state.named.clone())
    };
    let (inner, uid) = (Arc::clone(inner), worker.uid.clone());
    let task = tokio::task::spawn_blocking(move || {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        work(&pod, &inner.config.pod_dir(&uid), &facts, &lookups(&inner, &namespace, &named))
    });
    Ok(task.await?)
}

/// Sets the pod's volumes up.
pub(crate) async fn mount_volumes<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
) -> Outcome<Step> {
    match with_volumes(inner, worker, |pod, dir, facts, sources| volumes::set_up(pod, dir, facts, sources)).await? {
        Ok(paths) => {
            let mut state = worker.state();
            state.paths = paths;
            state.volumes = Volumes::Mounted;
            state.volume_failures = 0;
        }
        Err((volume, error)) => {
            let text = format!("MountVolume.SetUp failed for volume {volume:?} : {error}");
            let pod = worker.pod();
            inner.recorder.event(&reference_to(pod.as_ref()), EventType::Warning, "FailedMount", text.clone());
            let mut state = worker.state();
            let failure = Failure {
                reason: "FailedMount".to_owned(),
                message: text,
                retry_at: retry::set_up_at(state.volume_failures),
            };
            state.volumes = Volumes::Failed(failure);
            state.volume_failures += 1;
        }
    }
    // After a failure the plan knows when to try again.
    Ok(Step::Again)
}

/// Brings volumes up to date with what they are made from, and tries failed ones at once.
pub(crate) async fn refresh_volumes<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let mounted = {
        let mut state = worker.state();
        if let Volumes::Failed(_) = state.volumes {
            state.volumes = Volumes::Unmounted;
        }
        state.start_failures.retain(|_, failure| failure.reason != starting::CONFIG_ERROR);
        state.volumes == Volumes::Mounted && !state.gone && !state.torn_down
    };
    if !mounted {
        return;
    }
    match with_volumes(inner, worker, |pod, dir, facts, sources| volumes::refresh(pod, dir, facts, sources)).await {
        Ok(Ok(())) => {}
        Ok(Err((volume, error))) => tracing::warn!(pod = %worker.key, volume, %error, "cannot refresh a volume"),
        Err(error) => tracing::warn!(pod = %worker.key, %error, "cannot refresh volumes"),
    }
}
