//! The worker's writes to the API: the pod's status, and its final deletion.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use stead_net::Network;
use stead_runtime::Runtime;

use super::step::Outcome;
use super::{Step, Worker};
use crate::agent::Inner;

/// Writes the status if the API server shows another one.
pub(super) async fn report<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    status: PodStatus,
) -> Outcome<()> {
    let pod = worker.pod();
    if pod.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &worker.key.namespace);
    let patch = serde_json::json!({
        "metadata": {"uid": worker.uid},
        "status": {
            "phase": status.phase,
            "reason": status.reason,
            "message": status.message,
            "hostIP": status.host_ip,
            "hostIPs": status.host_ips,
            "podIP": status.pod_ip,
            "podIPs": status.pod_ips,
            "startTime": status.start_time,
            "qosClass": status.qos_class,
            "conditions": status.conditions,
            "initContainerStatuses": status.init_container_statuses,
            "containerStatuses": status.container_statuses,
            "observedGeneration": status.observed_generation,
        },
    });
    match api.patch_status(&worker.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(pod) => {
            worker.state().see(Arc::new(pod));
            Ok(())
        }
        // Gone, or another pod of that name: the watch tells.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409 | 422) => {
            tracing::debug!(pod = %worker.key, message = %answer.message, "status not taken");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells the API server that the pod has ended on its node.
pub(super) async fn delete<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) -> Outcome<Step> {
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &worker.key.namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(worker.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&worker.key.name, &params).await {
        // A finalizer may keep the object; it is gone when the watch says so.
        Ok(_) => Ok(Step::Wait),
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {
            worker.update(|state| state.gone = true);
            Ok(Step::Again)
        }
        Err(error) => Err(error.into()),
    }
}
