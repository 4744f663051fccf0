//! What the worker of a pod tells the API: the pod's status, and that it has ended.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use stead_api::preparation::PREPARED;

use super::Inner;
use super::worker::Worker;

/// Writes what the pod is to show, if that is not what it shows.
pub(super) async fn report(inner: &Arc<Inner>, worker: &Arc<Worker>, status: PodStatus) -> kube::Result<()> {
    let shown = worker.state().pod.status.clone();
    if shown.as_ref().is_some_and(|shown| in_order(shown) == in_order(&status)) {
        return Ok(());
    }
    let withdrawn = shown.is_some_and(|shown| is_answered(&shown)) && !is_answered(&status);
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &worker.key.namespace);
    let patch = patch(&worker.uid, &status, withdrawn);
    match api.patch_status(&worker.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(pod) => worker.take(&Arc::new(pod)),
        // Gone, or another pod of that name: the watch tells.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409 | 422) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Conditions are merged by type, so that those of others stay; what a condition no longer says is taken
/// back, and addresses are replaced. `withdrawn` takes away the answer to a request that is no more.
fn patch(uid: &str, status: &PodStatus, withdrawn: bool) -> Value {
    let mut patch = json!({
        "phase": status.phase, "reason": status.reason, "message": status.message,
        "hostIP": status.host_ip, "podIP": status.pod_ip, "startTime": status.start_time, "qosClass": status.qos_class,
        "hostIPs": status.host_ips, "podIPs": status.pod_ips, "conditions": status.conditions,
        "initContainerStatuses": status.init_container_statuses, "containerStatuses": status.container_statuses,
        "observedGeneration": status.observed_generation,
    });
    for list in ["hostIPs", "podIPs"] {
        patch[list].as_array_mut().into_iter().for_each(|list| list.push(json!({"$patch": "replace"})));
    }
    for condition in patch["conditions"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for field in ["reason", "message"] {
            condition.entry(field).or_insert(Value::Null);
        }
    }
    if withdrawn {
        let gone = json!({"type": PREPARED, "$patch": "delete"});
        patch["conditions"].as_array_mut().into_iter().for_each(|conditions| conditions.push(gone.clone()));
    }
    json!({"metadata": {"uid": uid}, "status": patch})
}

/// The order of conditions says nothing, and the API server has its own.
fn in_order(status: &PodStatus) -> PodStatus {
    let mut status = status.clone();
    status.conditions.iter_mut().for_each(|all| all.sort_by(|a, b| a.type_.cmp(&b.type_)));
    status
}

fn is_answered(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == PREPARED)
}

/// Tells the API that the pod has ended here.
pub(super) async fn delete(inner: &Arc<Inner>, worker: &Arc<Worker>) -> kube::Result<bool> {
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &worker.key.namespace);
    let preconditions = Preconditions { uid: Some(worker.uid.clone()), resource_version: None };
    let params =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&worker.key.name, &params).await {
        Ok(_) => Ok(false),
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {
            worker.state().gone = true;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
