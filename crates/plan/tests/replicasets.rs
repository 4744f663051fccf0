//! ReplicaSets: what is made, what goes first, what is taken and let go, what the status says.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use stead_plan::replicaset::{self, Action, Failure, Observed, Plan};

const NOW: i64 = 1_000_000;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("a plain number of seconds"))
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "web".to_owned())])
}

fn set(replicas: i32) -> ReplicaSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec::default()),
    };
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            uid: Some("set".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            template: Some(template),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

/// A pod of the set, Ready for an hour on node `n`.
fn pod(name: &str) -> Pod {
    let made = replicaset::pod(&set(1));
    let ready = PodCondition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(at(NOW - 3600)),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            creation_timestamp: Some(at(NOW - 3600)),
            ..made.metadata
        },
        spec: Some(PodSpec { node_name: Some("n".to_owned()), ..PodSpec::default() }),
        status: Some(PodStatus {
            phase: Some("Running".to_owned()),
            conditions: Some(vec![ready]),
            ..PodStatus::default()
        }),
    }
}

fn with(mut pod: Pod, change: impl FnOnce(&mut Pod)) -> Pod {
    change(&mut pod);
    pod
}

fn plan(set: &ReplicaSet, pods: &[Pod]) -> Plan {
    let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
    let sets = [Arc::new(set.clone())];
    replicaset::plan(set, &Observed { pods: &pods, sets: &sets }, at(NOW).0)
}

fn deleted(plan: &Plan) -> Vec<&str> {
    let deleted = plan.actions().filter_map(|action| match action {
        Action::DeletePod(target) => Some(target.name.as_str()),
        _ => None,
    });
    deleted.collect()
}

#[test]
fn what_is_missing_is_made_and_ended_pods_are_replaced_but_left() {
    let ended = with(pod("ended"), |pod| pod.status.get_or_insert_default().phase = Some("Failed".to_owned()));
    let plan = plan(&set(3), &[pod("a"), ended]);
    assert_eq!(plan.batches, [vec![Action::CreatePod, Action::CreatePod]]);
    assert_eq!((plan.status.replicas, plan.status.ready_replicas), (1, Some(1)));
}

#[test]
fn the_least_useful_pods_go_first() {
    let unassigned = with(pod("unassigned"), |pod| pod.spec.get_or_insert_default().node_name = None);
    let pending = with(pod("pending"), |pod| pod.status.get_or_insert_default().phase = Some("Pending".to_owned()));
    let unready = with(pod("unready"), |pod| pod.status.get_or_insert_default().conditions = None);
    let cheap = with(pod("cheap"), |pod| {
        let cost = ("controller.kubernetes.io/pod-deletion-cost".to_owned(), "-1".to_owned());
        pod.metadata.annotations = Some(BTreeMap::from([cost]));
    });
    let lonely = with(pod("lonely"), |pod| pod.spec.get_or_insert_default().node_name = Some("m".to_owned()));
    let young = with(pod("young"), |pod| {
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions[0].last_transition_time = Some(at(NOW - 10));
    });
    let old = pod("old");
    // The lonely one is first, and goes last for being alone on its node.
    let pods = [lonely, old, young, cheap, unready, pending, unassigned];
    for (wanted, gone) in [
        (6, &["unassigned"][..]),
        (5, &["unassigned", "pending"]),
        (4, &["unassigned", "pending", "unready"]),
        (3, &["unassigned", "pending", "unready", "cheap"]),
        (2, &["unassigned", "pending", "unready", "cheap", "young"]),
        (1, &["unassigned", "pending", "unready", "cheap", "young", "old"]),
    ] {
        assert_eq!(deleted(&plan(&set(wanted), &pods)), gone, "{wanted} wanted");
    }
}

#[test]
fn orphans_are_taken_strangers_left_and_misfits_let_go() {
    let orphan = with(pod("orphan"), |pod| pod.metadata.owner_references = None);
    let foreign = with(pod("foreign"), |pod| {
        pod.metadata.owner_references.get_or_insert_default()[0].uid = "other".to_owned();
    });
    let misfit = with(pod("misfit"), |pod| pod.metadata.labels = None);
    let plan = plan(&set(1), &[orphan.clone(), foreign, misfit.clone()]);
    let target = |pod: &Pod| stead_plan::ids::Target::of(&pod.metadata);
    assert_eq!(
        plan.batches,
        [vec![Action::ConfirmSet], vec![Action::AdoptPod(target(&orphan)), Action::ReleasePod(target(&misfit))]]
    );
}

#[test]
fn a_set_being_deleted_only_counts() {
    let leaving = {
        let mut set = set(3);
        set.metadata.deletion_timestamp = Some(at(NOW));
        set
    };
    let plan = plan(&leaving, &[pod("a")]);
    assert!(plan.batches.is_empty());
    assert_eq!(plan.status.replicas, 1);
}

#[test]
fn the_status_is_written_once_and_failures_come_and_go() {
    let mut set = set(1);
    let counts = plan(&set, &[pod("a")]).status;
    let now = at(NOW).0;
    set.status = replicaset::finish(&set, &counts, None, now);
    assert!(set.status.is_some());
    assert_eq!(replicaset::finish(&set, &counts, None, now), None, "nothing changed");
    let failure = Failure { creating: true, message: "quota exceeded".to_owned() };
    set.status = replicaset::finish(&set, &counts, Some(&failure), now);
    let condition = set.status.clone().and_then(|status| status.conditions?.into_iter().next()).expect("a condition");
    assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
    let again = Failure { creating: true, message: "other words".to_owned() };
    assert_eq!(replicaset::finish(&set, &counts, Some(&again), now), None, "a persisting failure stays as it is");
    let healed = replicaset::finish(&set, &counts, None, now).expect("the failure is gone");
    assert_eq!(healed.conditions, None);
}

#[test]
fn pods_of_sets_with_the_same_owner_crowd_a_node_and_those_of_others_do_not() {
    let owned = |name: &str, owner: &str| {
        let mut set = set(1);
        set.metadata.name = Some(name.to_owned());
        set.metadata.uid = Some(name.to_owned());
        let owner = stead_plan::pods::controller_reference(
            "apps/v1",
            "Deployment",
            &ObjectMeta { uid: Some(owner.to_owned()), ..ObjectMeta::default() },
        );
        set.metadata.owner_references = Some(vec![owner]);
        set
    };
    let on = |node: &str, name: &str, set: &str| {
        with(pod(name), |pod| {
            pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
            pod.metadata.owner_references.get_or_insert_default()[0].uid = set.to_owned();
        })
    };
    let sets = [owned("mine", "d"), owned("sibling", "d"), owned("stranger", "e")].map(Arc::new);
    let pods = [
        on("n", "a", "mine"),
        on("m", "b", "mine"),
        on("m", "c", "sibling"),
        on("n", "x", "stranger"),
        on("n", "y", "stranger"),
        on("n", "z", "stranger"),
    ];
    let pods = pods.map(Arc::new);
    let plan = replicaset::plan(&sets[0], &Observed { pods: &pods, sets: &sets }, at(NOW).0);
    assert_eq!(deleted(&plan), ["b"]);
}

#[test]
fn of_pods_that_are_alike_the_younger_goes_first() {
    let young = with(pod("young"), |pod| pod.metadata.creation_timestamp = Some(at(NOW - 10)));
    assert_eq!(deleted(&plan(&set(1), &[pod("old"), young])), ["young"]);
}

#[test]
fn a_pod_takes_over_what_the_template_says() {
    let mut set = set(1);
    set.metadata.namespace = Some("shop".to_owned());
    let template = set.spec.get_or_insert_default().template.get_or_insert_default();
    let meta = ObjectMeta {
        labels: Some(labels()),
        annotations: Some(BTreeMap::from([("note".to_owned(), "n".to_owned())])),
        finalizers: Some(vec!["example.com/keep".to_owned()]),
        ..ObjectMeta::default()
    };
    template.metadata = Some(meta.clone());
    let made = replicaset::pod(&set).metadata;
    assert_eq!((made.generate_name.as_deref(), made.namespace.as_deref()), (Some("web-"), Some("shop")));
    assert_eq!((made.labels, made.annotations, made.finalizers), (meta.labels, meta.annotations, meta.finalizers));
    assert_eq!(made.owner_references.map(|owners| owners.len()), Some(1));
}

#[test]
fn only_living_orphans_that_match_are_taken_and_none_by_a_set_that_goes() {
    let orphan = |change: fn(&mut Pod)| {
        with(pod("orphan"), |pod| {
            pod.metadata.owner_references = None;
            change(pod);
        })
    };
    let taken =
        |set: &ReplicaSet, pod: Pod| !plan(set, &[pod]).batches.iter().flatten().all(|a| *a == Action::CreatePod);
    assert!(taken(&set(1), orphan(|_| {})));
    assert!(!taken(&set(1), orphan(|pod| pod.metadata.labels = None)));
    assert!(!taken(&set(1), orphan(|pod| pod.metadata.deletion_timestamp = Some(at(NOW)))));
    assert!(!taken(&set(1), orphan(|pod| pod.status.get_or_insert_default().phase = Some("Failed".to_owned()))));
    let leaving = {
        let mut set = set(1);
        set.metadata.deletion_timestamp = Some(at(NOW));
        set
    };
    assert!(!taken(&leaving, orphan(|_| {})));
    let foreign = with(pod("foreign"), |pod| {
        pod.metadata.owner_references.get_or_insert_default()[0].uid = "other".to_owned();
    });
    let plan = plan(&set(1), &[foreign]);
    assert_eq!((plan.status.replicas, plan.status.ready_replicas), (0, None), "it does not count, though it matches");
}

#[test]
fn pods_count_as_available_after_their_time_and_it_is_looked_again_then() {
    let mut set = set(2);
    set.spec.get_or_insert_default().min_ready_seconds = Some(60);
    let ready_for = |seconds: i64| {
        with(pod("a"), |pod| {
            let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions[0].last_transition_time = Some(at(NOW - seconds));
        })
    };
    let seen = |seconds| {
        let plan = plan(&set, &[ready_for(seconds), pod("b")]);
        (plan.status.ready_replicas, plan.status.available_replicas, plan.wake_at)
    };
    assert_eq!(seen(59), (Some(2), Some(1), Some(at(NOW + 1).0)));
    assert_eq!(seen(60), (Some(2), Some(2), None));
}

#[test]
fn the_status_tells_apart_what_is_labelled_in_full_and_what_is_leaving() {
    let mut set = set(3);
    let meta = set.spec.get_or_insert_default().template.get_or_insert_default().metadata.get_or_insert_default();
    meta.labels.get_or_insert_default().insert("tier".to_owned(), "db".to_owned());
    let whole = with(pod("whole"), |pod| {
        pod.metadata.labels.get_or_insert_default().insert("tier".to_owned(), "db".to_owned());
    });
    let leaving = with(pod("leaving"), |pod| pod.metadata.deletion_timestamp = Some(at(NOW)));
    let ended = with(leaving.clone(), |pod| pod.status.get_or_insert_default().phase = Some("Failed".to_owned()));
    let status = plan(&set, &[pod("half"), whole, leaving.clone(), leaving, ended]).status;
    assert_eq!((status.replicas, status.fully_labeled_replicas, status.terminating_replicas), (2, Some(1), Some(2)));
}

#[test]
fn each_count_is_worth_a_write_and_zero_is_as_good_as_nothing() {
    let mut set = set(1);
    let now = at(NOW).0;
    let counts = plan(&set, &[pod("a")]).status;
    set.status = Some(counts.clone());
    let written = |change: fn(&mut ReplicaSetStatus)| {
        let mut set = set.clone();
        change(set.status.get_or_insert_default());
        replicaset::finish(&set, &counts, None, now).is_some()
    };
    assert!(!written(|_| {}));
    for change in [
        (|status| status.replicas = 7) as fn(&mut ReplicaSetStatus),
        |status| status.fully_labeled_replicas = Some(7),
        |status| status.ready_replicas = Some(7),
        |status| status.available_replicas = Some(7),
        |status| status.terminating_replicas = Some(7),
        |status| status.observed_generation = Some(7),
        |status| status.observed_generation = None,
    ] {
        assert!(written(change));
    }
    assert!(!written(|status| status.conditions = Some(Vec::new())));
    let none = plan(&set, &[]).status;
    set.status = Some(ReplicaSetStatus {
        fully_labeled_replicas: Some(0),
        ready_replicas: Some(0),
        available_replicas: Some(0),
        ..none.clone()
    });
    assert_eq!(replicaset::finish(&set, &none, None, now), None);
}
