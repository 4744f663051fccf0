//! The end of every simulation (I12): faults have stopped, nobody asks for anything any more; the desired
//! state must be reached in bounded time, and then no further write may happen but leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use stead_plan::pods;
use stead_plan::statefulset::views::Observed;
use stead_plan::statefulset::{View as Asked, wishes};
use stead_store::Entry;

use super::users::{NAMESPACE, User};
use super::world::World;

/// Longest way to the desired state: a few of the longest back-offs (five minutes each) in a row.
const REACHED_MAX: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_secs(1);
/// Nothing may be written for so long: longer than any retry.
const QUIET: Duration = Duration::from_secs(600);
/// What was still under way when the state was reached may take so many times [`QUIET`].
const QUIET_TRIES: u32 = 4;

/// What is durable, decoded.
pub(crate) struct View {
    entries: Vec<Arc<Entry>>,
}

impl View {
    pub(crate) fn of(world: &World) -> Self {
        Self { entries: world.disk().contents().0 }
    }

    /// Everything of one table in the users' namespace.
    fn all<K: DeserializeOwned>(&self, table: &str) -> Vec<K> {
        let own = self.entries.iter().filter(|entry| {
            let key = &entry.key;
            *key.namespace == *NAMESPACE && key.resource.0.split('.').next() == Some(table)
        });
        own.map(|entry| serde_json::from_slice(&entry.bytes).expect("invariant: what is stored can be decoded"))
            .collect()
    }

    pub(crate) fn sets(&self) -> Vec<StatefulSet> {
        self.all("statefulsets")
    }

    pub(crate) fn pods(&self) -> BTreeMap<String, Pod> {
        self.all("pods").into_iter().map(|pod: Pod| (pod.metadata.name.clone().unwrap_or_default(), pod)).collect()
    }

    pub(crate) fn claims(&self) -> BTreeMap<String, PersistentVolumeClaim> {
        let all: Vec<PersistentVolumeClaim> = self.all("persistentvolumeclaims");
        all.into_iter().map(|claim| (claim.metadata.name.clone().unwrap_or_default(), claim)).collect()
    }

    pub(crate) fn revisions(&self) -> Vec<ControllerRevision> {
        self.all("controllerrevisions")
    }

    fn slices(&self) -> Vec<EndpointSlice> {
        self.all("endpointslices")
    }

    /// UID of each claim.
    pub(crate) fn claim_uids(&self) -> BTreeMap<String, String> {
        self.claims().into_iter().map(|(name, claim)| (name, claim.metadata.uid.unwrap_or_default())).collect()
    }
}

/// Ends the faults, waits for the desired state and then for silence.
pub(crate) async fn settle(world: &World) {
    world.calm();
    put_right(world).await;
    let started = world.story().elapsed();
    loop {
        let problems = unreached(world);
        if problems.is_empty() {
            break;
        }
        if world.story().elapsed() - started > REACHED_MAX {
            world.story().violated("I12", format!("the desired state is not reached: {}", problems.join("; ")));
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    world.story().tell("world", "the desired state is reached");
    be_quiet(world).await;
    let problems = unreached(world);
    if !problems.is_empty() {
        world.story().violated("I12", format!("the desired state was left again: {}", problems.join("; ")));
    }
}

async fn be_quiet(world: &World) {
    for _ in 0..QUIET_TRIES {
        let mark = world.disk().newest();
        tokio::time::sleep(QUIET).await;
        if world.observer().unrest(mark.0).is_empty() {
            for late in world.observer().unshown() {
                world.story().violated("I6", late);
            }
            return;
        }
    }
    let mark = world.disk().newest();
    tokio::time::sleep(QUIET).await;
    let unrest = world.observer().unrest(mark.0);
    if let Some(last) = unrest.last() {
        world.story().violated("I12", format!("{} writes in ten quiet minutes, the last: {last}", unrest.len()));
    }
}

/// What people left that cannot work is taken back.
async fn put_right(world: &World) {
    let user = User::of(world);
    for machine in world.machines() {
        user.cordon(machine.name(), false).await;
    }
    let view = View::of(world);
    for set in view.sets() {
        let name = set.metadata.name.clone().unwrap_or_default();
        let template = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let image = template.and_then(|spec| spec.containers.first()).and_then(|container| container.image.clone());
        if image.is_some_and(|image| is_broken(&image)) {
            user.set_image(&name, "app:mended").await;
        }
        user.annotate(&name, wishes::PAUSED, None).await;
        // A partition holds replicas at the current revision, which may be one that never worked.
        let current = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = view.revisions().into_iter().find(|revision| revision.metadata.name == current);
        let current = current.and_then(|revision| revision.data).map(|data| data.0.to_string()).unwrap_or_default();
        if current.split('"').any(is_broken) {
            user.partition(&name, 0).await;
        }
    }
}

fn is_broken(image: &str) -> bool {
    [":bad", ":mute", ":absent"].iter().any(|kind| image.ends_with(kind))
}

/// What is missing from the desired state.
pub(crate) fn unreached(world: &World) -> Vec<String> {
    let view = View::of(world);
    let (pods, claims, revisions) = (view.pods(), view.claims(), view.revisions());
    let mut problems = Vec::new();
    let mut ready = BTreeSet::new();
    for set in view.sets() {
        let found = set_problems(&set, &pods, &claims, &revisions);
        problems.extend(found);
        if let Some(uid) = &set.metadata.uid {
            let own =
                pods.values().filter(|pod| pods::is_controlled_by(&pod.metadata, &stead_plan::ids::Uid(uid.clone())));
            ready.extend(own.filter(|pod| pods::is_ready(pod)).filter_map(|pod| pod.metadata.uid.clone()));
        }
    }
    let sets: BTreeSet<String> = view.sets().into_iter().filter_map(|set| set.metadata.uid).collect();
    for (name, pod) in &pods {
        let owner = pods::controller_of(&pod.metadata);
        if owner.is_some_and(|owner| !sets.contains(&owner.uid)) {
            problems.push(format!("{name} outlives its set"));
        }
    }
    problems.extend(world.observer().process_problems(&pods));
    problems.extend(slice_problems(&view, &pods, &ready));
    problems.extend(name_problems(world, &view, &pods));
    problems
}

fn set_problems(
    set: &StatefulSet,
    pods: &BTreeMap<String, Pod>,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
    revisions: &[ControllerRevision],
) -> Vec<String> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let uid = stead_plan::ids::Uid(set.metadata.uid.clone().unwrap_or_default());
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
    let own = revisions.iter().filter(|revision| pods::is_controlled_by(&revision.metadata, &uid));
    let newest = own.max_by_key(|revision| revision.revision).and_then(|revision| revision.metadata.name.clone());
    let rolling = spec.update_strategy.and_then(|strategy| strategy.rolling_update);
    let asked = Asked::new(set, &Observed::default()).set;
    let range = asked.range;
    let updated_from = range.partition_end(rolling.and_then(|rolling| rolling.partition).unwrap_or(0));
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
        let label = found.metadata.labels.as_ref().and_then(|labels| labels.get("controller-revision-hash"));
        let held = ordinal < updated_from;
        let right = if held { status.current_revision.as_ref() } else { newest.as_ref() };
        if label != right && !(held && asked.wishes.hold_on_raise) {
            problems.push(format!("{pod} is at {label:?}, not {right:?}"));
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
        let own =
            pods.iter().filter(|(_, pod)| pods::is_controlled_by(&pod.metadata, &stead_plan::ids::Uid(uid.clone())));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<K: DeserializeOwned>(json: Value) -> K {
        serde_json::from_value(json).expect("an object")
    }

    fn owner() -> Value {
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}])
    }

    /// What is wrong with a set whose replicas from 1 on are updated, its two being at these revisions.
    fn problems(annotations: &Value, revisions: [&str; 2]) -> Vec<String> {
        let set = object(json!({
            "metadata": {"name": "web", "uid": "u", "generation": 1, "annotations": annotations},
            "spec": {"replicas": 2, "selector": {}, "serviceName": "web", "template": {},
                     "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
            "status": {"replicas": 2, "readyReplicas": 2, "observedGeneration": 1, "currentRevision": "web-a"},
        }));
        let pod = |(ordinal, revision): (usize, &str)| {
            let pod = object(json!({
                "metadata": {"name": format!("web-{ordinal}"), "ownerReferences": owner(),
                             "labels": {"controller-revision-hash": revision}},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            }));
            (format!("web-{ordinal}"), pod)
        };
        let pods = revisions.into_iter().enumerate().map(pod).collect();
        let revision = |(number, name): (usize, &str)| {
            object(json!({"metadata": {"name": name, "ownerReferences": owner()}, "revision": number}))
        };
        let history: Vec<ControllerRevision> = ["web-a", "web-b"].into_iter().enumerate().map(revision).collect();
        set_problems(&set, &pods, &BTreeMap::new(), &history)
    }

    #[test]
    fn what_stands_below_a_partition_is_judged_too() {
        assert_eq!(problems(&json!({}), ["web-a", "web-b"]), Vec::<String>::new());
        let early = r#"web-0 is at Some("web-b"), not Some("web-a")"#;
        assert_eq!(problems(&json!({}), ["web-b", "web-b"]), [early]);
        let hold = json!({wishes::PARTITION_RAISE: "hold"});
        assert_eq!(problems(&hold, ["web-b", "web-b"]), Vec::<String>::new(), "where that is asked for");
    }
}
