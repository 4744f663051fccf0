//! The worker's writes to the API: the pod's status, and its final deletion.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde::Serialize;
use serde_json::{Value, json};
use stead_api::preparation::PREPARED;
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
    let is_shown = pod.status.as_ref().is_some_and(|shown| in_order(shown) == in_order(&status));
    if is_shown || worker.state().has_reported(&status) {
        return Ok(());
    }
    let withdrawn = is_answered(pod.status.as_ref()) && !is_answered(Some(&status));
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &worker.key.namespace);
    let patch = Patch::Strategic(patch(&worker.uid, &status, withdrawn));
    match api.patch_status(&worker.key.name, &PatchParams::default(), &patch).await {
        Ok(pod) => {
            let mut state = worker.state();
            state.reported = Some((status, pod.status.clone()));
            state.see(Arc::new(pod));
            Ok(())
        }
        // The watch tells.
        Err(kube::Error::Api(answer)) if answer.code == 404 => {
            tracing::debug!(pod = %worker.key, "status not taken: the pod is gone");
            Ok(())
        }
        // Among them another pod of that name, which the watch tells as well.
        Err(error) => Err(error.into()),
    }
}

/// The order of conditions says nothing, and the API server has its own.
fn in_order(status: &PodStatus) -> PodStatus {
    let mut status = status.clone();
    status.conditions.iter_mut().for_each(|all| all.sort_by(|a, b| a.type_.cmp(&b.type_)));
    status
}

fn is_answered(status: Option<&PodStatus>) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == PREPARED)
}

/// Conditions are merged by type, so that those of others stay; everything else is the agent's alone.
/// What a condition no longer says is taken back, because a merge leaves what it is not told of.
/// `withdrawn` takes away the answer to a request that is no more.
fn patch(uid: &str, status: &PodStatus, withdrawn: bool) -> Value {
    let conditions = status.conditions.iter().flatten().map(condition);
    let gone = withdrawn.then(|| json!({"type": PREPARED, "$patch": "delete"}));
    let conditions: Vec<Value> = conditions.chain(gone).collect();
    json!({
        "metadata": {"uid": uid},
        "status": {
            "phase": status.phase,
            "reason": status.reason,
            "message": status.message,
            "hostIP": status.host_ip,
            "hostIPs": whole(status.host_ips.as_deref()),
            "podIP": status.pod_ip,
            "podIPs": whole(status.pod_ips.as_deref()),
            "startTime": status.start_time,
            "qosClass": status.qos_class,
            "conditions": conditions,
            "initContainerStatuses": status.init_container_statuses,
            "containerStatuses": status.container_statuses,
            "observedGeneration": status.observed_generation,
        },
    })
}

/// A condition with every field that it could have.
fn condition(condition: &PodCondition) -> Value {
    json!({
        "type": condition.type_,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastProbeTime": condition.last_probe_time,
        "lastTransitionTime": condition.last_transition_time,
        "observedGeneration": condition.observed_generation,
    })
}

/// A list that replaces the one there is. Addresses are merged otherwise, and a pod that has lost its
/// address would be said to have two.
fn whole<T: Serialize>(list: Option<&[T]>) -> Value {
    let Some(list) = list else { return Value::Null };
    json!(list.iter().map(|item| json!(item)).chain([json!({"$patch": "replace"})]).collect::<Vec<_>>())
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
        Err(error) => {
            // A conflict may be a lost race as well as another pod of that name.
            let found = api.get_opt(&worker.key.name).await?;
            if found.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(worker.uid.as_str())) {
                return Err(error.into());
            }
            worker.update(|state| state.gone = true);
            Ok(Step::Again)
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodIP;

    use super::*;

    #[test]
    fn an_address_that_changed_replaces_the_old_one() {
        let ip = "10.244.0.9".to_owned();
        let status = PodStatus { pod_ip: Some(ip.clone()), pod_ips: Some(vec![PodIP { ip }]), ..PodStatus::default() };
        let patch = patch("u", &status, false);
        assert_eq!(patch["status"]["podIPs"], json!([{"ip": "10.244.0.9"}, {"$patch": "replace"}]));
        assert_eq!(patch["status"]["hostIPs"], Value::Null);
    }

    #[test]
    fn a_condition_takes_back_what_it_no_longer_says() {
        let ready = PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), ..PodCondition::default() };
        let patch = patch("u", &PodStatus { conditions: Some(vec![ready]), ..PodStatus::default() }, false);
        let condition = patch["status"]["conditions"][0].as_object().expect("a condition");
        for field in ["reason", "message", "lastTransitionTime"] {
            assert_eq!(condition.get(field), Some(&Value::Null), "{field}");
        }
    }
}
