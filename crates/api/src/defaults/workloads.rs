//! Defaults of StatefulSets, Deployments, ReplicaSets and their revisions (contract 9,
//! `statefulset.md` A).

use k8s_openapi::api::apps::v1::{
    ControllerRevision, Deployment, ReplicaSet, RollingUpdateDeployment, StatefulSet, StatefulSetSpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{fill, pod_template_spec, storage, unset};

const REVISION_HISTORY_LIMIT: i32 = 10;
const PROGRESS_DEADLINE_S: i32 = 600;

/// A StatefulSet (A2-A8).
pub fn stateful_set(set: &mut StatefulSet) {
    let spec = set.spec.get_or_insert_default();
    fill(&mut spec.pod_management_policy, "OrderedReady");
    update_strategy(spec);
    let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    fill(&mut retention.when_deleted, "Retain");
    fill(&mut retention.when_scaled, "Retain");
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(REVISION_HISTORY_LIMIT);
    pod_template_spec(&mut spec.template);
    spec.volume_claim_templates.iter_mut().flatten().for_each(storage::persistent_volume_claim);
    // An empty name and no name are the same to Kubernetes, also when it compares specs.
    if unset(&spec.service_name) {
        spec.service_name = None;
    }
    let status = set.status.get_or_insert_default();
    status.available_replicas.get_or_insert(0);
}

/// The block with the partition appears by itself only when the whole strategy was left out (A3).
fn update_strategy(spec: &mut StatefulSetSpec) {
    let strategy = spec.update_strategy.get_or_insert_default();
    if unset(&strategy.type_) {
        strategy.type_ = Some("RollingUpdate".to_owned());
        strategy.rolling_update.get_or_insert_default();
    }
    if strategy.type_.as_deref() == Some("RollingUpdate")
        && let Some(rolling_update) = &mut strategy.rolling_update
    {
        rolling_update.partition.get_or_insert(0);
    }
}

/// A Deployment.
pub fn deployment(deployment: &mut Deployment) {
    let spec = deployment.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(REVISION_HISTORY_LIMIT);
    spec.progress_deadline_seconds.get_or_insert(PROGRESS_DEADLINE_S);
    let strategy = spec.strategy.get_or_insert_default();
    fill(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let quarter = || IntOrString::String("25%".to_owned());
        let rolling_update = strategy.rolling_update.get_or_insert_with(RollingUpdateDeployment::default);
        rolling_update.max_unavailable.get_or_insert_with(quarter);
        rolling_update.max_surge.get_or_insert_with(quarter);
    }
    pod_template_spec(&mut spec.template);
    deployment.status.get_or_insert_default();
}

/// A ReplicaSet.
pub fn replica_set(set: &mut ReplicaSet) {
    let spec = set.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    pod_template_spec(spec.template.get_or_insert_default());
    set.status.get_or_insert_default();
}

/// A ControllerRevision: nothing is left out that could be filled in.
pub fn controller_revision(_revision: &mut ControllerRevision) {}
