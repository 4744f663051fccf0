//! What is missing from the desired state.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use stead_plan::ids::Uid;
use stead_plan::pods;
use stead_plan::statefulset::View as Asked;
use stead_plan::statefulset::views::Observed;

use super::{View, placed};
use crate::cluster::world::World;

/// Something that is not as it should be at rest.
pub(crate) struct Problem {
    /// The invariant that it violates if it stays.
    pub(crate) invariant: &'static str,
    pub(crate) text: String,
}

impl Problem {
    /// Something that only means that everything has not come to rest yet.
    fn of_rest(text: String) -> Self {
        Self { invariant: "I12", text }
    }
}

/// What is missing from the desired state.
pub(crate) fn unreached(world: &World) -> Vec<Problem> {
    let view = View::of(world);
    let (pods, claims, revisions) = (view.pods(), view.claims(), view.revisions());
    let mut problems = Vec::new();
    let mut ready = BTreeSet::new();
    for set in view.sets() {
        problems.extend(set_problems(&set, &pods, &claims).into_iter().map(Problem::of_rest));
        problems.extend(placed::problems(&set, &pods, &revisions));
        if let Some(uid) = &set.metadata.uid {
            let own = pods.values().filter(|pod| pods::is_controlled_by(&pod.metadata, &Uid(uid.clone())));
            ready.extend(own.filter(|pod| pods::is_ready(pod)).filter_map(|pod| pod.metadata.uid.clone()));
        }
    }
    let others = outlived(&view, &pods).chain(world.observer().process_problems(&pods));
    let shown = slice_problems(&view, &pods, &ready).into_iter().chain(name_problems(world, &view, &pods));
    problems.extend(others.chain(shown).map(Problem::of_rest));
    problems
}

/// Pods whose set is gone.
fn outlived(view: &View, pods: &BTreeMap<String, Pod>) -> impl Iterator<Item = String> {
    let sets: BTreeSet<String> = view.sets().into_iter().filter_map(|set| set.metadata.uid).collect();
    let left = pods.iter().filter(move |(_, pod)| {
        let owner = pods::controller_of(&pod.metadata);
        owner.is_some_and(|owner| !sets.contains(&owner.uid))
    });
    left.map(|(name, _)| format!("{name} outlives its set"))
}

fn set_problems(
    set: &StatefulSet,
    pods: &BTreeMap<String, Pod>,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
) -> Vec<String> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let uid = Uid(set.metadata.uid.clone().unwrap_or_default());
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let replicas = spec.replicas.unwrap_or(1);
    let mut problems = Vec::new();
    if set.metadata.deletion_timestamp.is_some() {
        return vec![format!("{name} is still being deleted")];
    }
    if status.observed_generation != set.metadata.generation {
        problems.push(format!("{name} has not been observed"));
    }
    if status.replicas != replicas || status.ready_replicas.unwrap_or(0) != replicas {
        problems.push(format!("{name}: {}/{:?} of {replicas}", status.replicas, status.ready_replicas));
    }
    let range = Asked::new(set, &Observed::default()).set.range;
    let templates = spec.volume_claim_templates.unwrap_or_default();
    for ordinal in range.ascending() {
        let pod = format!("{name}-{ordinal}");
        let Some(found) = pods.get(&pod) else {
            problems.push(format!("{pod} is missing"));
            continue;
        };
        if !pods::is_ready(found) || pods::is_terminating(found) || !pods::is_controlled_by(&found.metadata, &uid) {
            problems.push(format!("{pod} is not Ready"));
        }
        for template in &templates {
            let claim = format!("{}-{pod}", template.metadata.name.clone().unwrap_or_default());
            let bound = claims.get(&claim).is_some_and(stead_plan::claims::is_bound);
            let staying = claims.get(&claim).is_some_and(|claim| claim.metadata.deletion_timestamp.is_none());
            // A claim whose deletion somebody asked for stays until its pod goes.
            let leaving = claims.contains_key(&claim) && !staying;
            if !bound && !leaving {
                problems.push(format!("{claim} is not bound"));
            }
        }
    }
    let surplus = pods.values().filter(|pod| pods::is_controlled_by(&pod.metadata, &uid)).count();
    if i32::try_from(surplus).unwrap_or(i32::MAX) != replicas {
        problems.push(format!("{name} owns {surplus} pods, not {replicas}"));
    }
    problems
}

/// The name server gives every Ready replica's address.
fn name_problems(world: &World, view: &View, pods: &BTreeMap<String, Pod>) -> Vec<String> {
    let mut problems = Vec::new();
    for set in view.sets() {
        let (service, uid) = (set.metadata.name.unwrap_or_default(), set.metadata.uid.unwrap_or_default());
        let own = pods.iter().filter(|(_, pod)| pods::is_controlled_by(&pod.metadata, &Uid(uid.clone())));
        for (name, pod) in own.filter(|(_, pod)| pods::is_ready(pod)) {
            let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).and_then(|ip| ip.parse().ok());
            let answer = world.resolve(&format!("{name}.{service}"));
            if ip.is_none() || answer.as_deref() != ip.as_ref().map(std::slice::from_ref) {
                problems.push(format!("{name} is at {ip:?} and is said to be at {answer:?}"));
            }
        }
    }
    problems
}

/// The slices name every Ready pod of the sets and no other, each at its address.
fn slice_problems(view: &View, pods: &BTreeMap<String, Pod>, ready: &BTreeSet<String>) -> Vec<String> {
    let (mut named, mut elsewhere) = (BTreeSet::new(), Vec::new());
    for endpoint in view.slices().into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default()) {
        let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
        let Some(uid) = endpoint.target_ref.and_then(|target| target.uid).filter(|_| is_ready) else { continue };
        let pod = pods.values().find(|pod| pod.metadata.uid.as_ref() == Some(&uid));
        let ip = pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.pod_ip.as_ref());
        if ip.is_some_and(|ip| endpoint.addresses != [ip.as_str()]) {
            elsewhere.push(format!("a slice says that {uid} is at {:?}, not {ip:?}", endpoint.addresses));
        }
        named.insert(uid);
    }
    let known: BTreeSet<String> = pods.values().filter_map(|pod| pod.metadata.uid.clone()).collect();
    let missing = ready.iter().filter(|uid| !named.contains(*uid)).map(|uid| format!("no slice names {uid}"));
    let stale =
        named.iter().filter(|uid| !known.contains(*uid)).map(|uid| format!("a slice names {uid}, which is gone"));
    missing.chain(stale).chain(elsewhere).collect()
}
