//! Which pods go first when there are too many (contract 1.28).

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use super::{Observed, uid_of};
use crate::ids::Uid;
use crate::pods::{self, Phase};

/// Annotation of a pod: the higher, the later it is deleted.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods of `active` that go first.
pub(super) fn victims<'a>(
    set: &ReplicaSet,
    active: &[&'a Pod],
    observed: &Observed<'_>,
    count: usize,
    now: Timestamp,
) -> Vec<&'a Pod> {
    let mut ranked = active.to_vec();
    if count >= ranked.len() {
        return ranked;
    }
    let crowd = crowd(set, observed);
    ranked.sort_by(|a, b| compare(a, b, &crowd, now));
    ranked.truncate(count);
    ranked
}

/// Active pods per node, of all sets with the owner of `set`.
fn crowd(set: &ReplicaSet, observed: &Observed<'_>) -> HashMap<String, usize> {
    let owner = pods::controller_of(&set.metadata).map(|owner| Uid(owner.uid.clone()));
    let related = |other: &ReplicaSet| match &owner {
        Some(owner) => pods::is_controlled_by(&other.metadata, owner),
        None => other.metadata.uid == set.metadata.uid,
    };
    let sets: Vec<Uid> =
        observed.sets.iter().filter(|other| related(other)).map(|other| uid_of(&other.metadata)).collect();
    let mut crowd = HashMap::new();
    for pod in observed.pods.iter().filter(|pod| pods::is_active(pod)) {
        let ours = pods::controller_of(&pod.metadata).is_some_and(|owner| sets.iter().any(|uid| uid.0 == owner.uid));
        if let (true, Some(node)) = (ours, node_of(pod)) {
            *crowd.entry(node.to_owned()).or_insert(0) += 1;
        }
    }
    crowd
}

/// Less means: goes first.
fn compare(a: &Pod, b: &Pod, crowd: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let crowd_of = |pod: &Pod| node_of(pod).and_then(|node| crowd.get(node)).copied().unwrap_or(0);
    node_of(a)
        .is_some()
        .cmp(&node_of(b).is_some())
        .then_with(|| progress(a).cmp(&progress(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd_of(b).cmp(&crowd_of(a)))
        .then_with(|| younger_first(pods::ready_since(a), pods::ready_since(b), a, b, now))
        .then_with(|| pods::restarts_max(b).cmp(&pods::restarts_max(a)))
        .then_with(|| younger_first(created(a), created(b), a, b, now))
}

/// Ages in powers of two; within one of them the UID decides, so that neither the oldest nor the
/// youngest of a rollout always goes.
fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, pod_a: &Pod, pod_b: &Pod, now: Timestamp) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else { return Ordering::Equal };
    if a == b {
        return Ordering::Equal;
    }
    let bucket = |since: Timestamp| {
        let age_ns = now.duration_since(since).as_nanos();
        u128::try_from(age_ns).ok().and_then(u128::checked_ilog2)
    };
    bucket(a).cmp(&bucket(b)).then_with(|| pod_a.metadata.uid.cmp(&pod_b.metadata.uid))
}

fn progress(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running => 2,
        Phase::Succeeded | Phase::Failed => 3,
    }
}

fn cost(pod: &Pod) -> i32 {
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
