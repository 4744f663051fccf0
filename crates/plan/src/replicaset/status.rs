//! The status of a ReplicaSet (contract 1.29).

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::template_of;
use crate::pods;

/// The condition that tells of pods that cannot be made or deleted.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Why a plan could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether a pod could not be made; otherwise one could not be deleted.
    pub creating: bool,
    /// The API's words.
    pub message: String,
}

/// The counts, from pods as they were observed.
pub(super) fn count(set: &ReplicaSet, mine: &[&Pod], active: &[&Pod], now: Timestamp) -> ReplicaSetStatus {
    let empty = BTreeMap::new();
    let template = template_of(set).and_then(|template| template.metadata.as_ref()?.labels.as_ref()).unwrap_or(&empty);
    let fully_labelled = |pod: &Pod| {
        template
            .iter()
            .all(|(key, value)| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value))
    };
    let counted = |wanted: &dyn Fn(&Pod) -> bool| {
        let count = active.iter().filter(|pod| wanted(pod)).count();
        Some(total(count)).filter(|count| *count > 0)
    };
    let leaving = mine.iter().filter(|pod| pods::is_terminating(pod) && !pods::phase(pod).is_terminal());
    ReplicaSetStatus {
        replicas: total(active.len()),
        fully_labeled_replicas: counted(&fully_labelled),
        ready_replicas: counted(&pods::is_ready),
        available_replicas: counted(&|pod| pods::is_available(pod, min_ready_s(set), now)),
        terminating_replicas: Some(total(leaving.count())),
        observed_generation: set.metadata.generation,
        conditions: None,
    }
}

/// When the counts next change by the passing of time alone.
pub(super) fn next_change(set: &ReplicaSet, active: &[&Pod], now: Timestamp) -> Option<Timestamp> {
    active.iter().filter_map(|pod| pods::available_at(pod, min_ready_s(set))).filter(|at| *at > now).min()
}

/// The whole status after a plan was carried out, with what went wrong if anything did; none when it is
/// what the set shows already. A failure that persists is not written again.
pub fn finish(
    set: &ReplicaSet,
    counts: &ReplicaSetStatus,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<ReplicaSetStatus> {
    let stored = set.status.clone().unwrap_or_default();
    let mut conditions = stored.conditions.clone().unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_ == REPLICA_FAILURE);
    match failure {
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
        Some(_) if known => {}
        Some(failure) => conditions.push(ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(if failure.creating { "FailedCreate" } else { "FailedDelete" }.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
    }
    let status =
        ReplicaSetStatus { conditions: Some(conditions).filter(|conditions| !conditions.is_empty()), ..counts.clone() };
    (comparable(&status) != comparable(&stored)).then_some(status)
}

/// Absent and zero counts are the same.
fn comparable(status: &ReplicaSetStatus) -> ReplicaSetStatus {
    let count = |count: Option<i32>| Some(count.unwrap_or(0));
    ReplicaSetStatus {
        fully_labeled_replicas: count(status.fully_labeled_replicas),
        ready_replicas: count(status.ready_replicas),
        available_replicas: count(status.available_replicas),
        conditions: status.conditions.clone().filter(|conditions| !conditions.is_empty()),
        ..status.clone()
    }
}

fn min_ready_s(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

fn total(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
