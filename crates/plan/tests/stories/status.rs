//! What the status shows, and what it leaves alone: U22, U24.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::StatefulSetCondition;
use k8s_openapi::api::core::v1::Probe;
use stead_plan::statefulset::conditions::onto;
use stead_plan::statefulset::wishes::{AUTO_ROLLBACK, PROGRESS_DEADLINE};
use stead_plan::statefulset::{Action, Undone, status_after};

use crate::parallel;
use crate::world::{World, web};

#[test]
fn u22_labels_of_the_set_change_nothing() {
    let mut world = World::running(2);
    world.set.metadata.labels.get_or_insert_default().insert("tier".to_owned(), "db".to_owned());
    assert!(world.plan().is_empty());
    world.scale(3);
    assert!(!world.plan().is_empty());
}

#[test]
fn u24_s05_conditions_of_others_survive_every_write() {
    let mut world = World::running(2);
    let condition =
        StatefulSetCondition { type_: "Mine".to_owned(), status: "True".to_owned(), ..StatefulSetCondition::default() };
    let status = world.set.status.get_or_insert_default();
    status.conditions.get_or_insert_default().insert(0, condition.clone());
    assert!(world.plan().is_empty(), "a stranger's condition is no reason to write");
    world.scale(3);
    world.run();
    let conditions = world.set.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    assert_eq!(conditions[0], condition);
    let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Mine", "Progressing", "Available", "Blocked"]);
    // Somebody replaces the whole list: what is his stays, what is ours returns.
    world.set.status.get_or_insert_default().conditions = Some(vec![condition.clone()]);
    world.run();
    let conditions = world.set.status.unwrap_or_default().conditions.unwrap_or_default();
    assert_eq!((conditions.len(), &conditions[0]), (4, &condition));
}

#[test]
fn u24_conditions_that_came_while_it_was_planned_survive_the_write() {
    let condition = |type_: &str, status: &str| StatefulSetCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        ..StatefulSetCondition::default()
    };
    let mut world = World::running(1);
    let mut planned = world.set.status.clone().unwrap_or_default();
    planned.conditions.get_or_insert_default().push(condition("Theirs", "False"));
    let status = world.set.status.get_or_insert_default();
    status.conditions = Some(vec![condition("Theirs", "True"), condition("Available", "False")]);
    let written = onto(world.set.status.as_ref(), &planned).conditions.unwrap_or_default();
    let shown: Vec<_> = written.iter().map(|condition| format!("{}={}", condition.type_, condition.status)).collect();
    assert_eq!(shown, ["Theirs=True", "Available=True", "Progressing=True", "Blocked=False"]);
}

#[test]
fn a_generation_is_observed_though_nothing_else_changes() {
    let mut world = World::running(1);
    world.edit(|spec| spec.revision_history_limit = Some(3));
    let plan = world.plan();
    assert!(plan.batches.is_empty() && !plan.is_empty(), "the status alone is written");
    world.run();
    assert_eq!(world.set.status.unwrap_or_default().observed_generation, world.set.metadata.generation);
}

#[test]
fn counts_of_zero_are_left_out() {
    let mut world = World::running(1);
    world.scale(0);
    world.run();
    let status = world.set.status.unwrap_or_default();
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (0, None, None));
}

#[test]
fn a_replica_that_goes_is_still_counted_when_it_becomes_available() {
    let mut set = web(2);
    let spec = set.spec.get_or_insert_default();
    parallel(spec);
    spec.min_ready_seconds = Some(10);
    let mut world = World::new(set);
    world.sync();
    world.ready("web-0");
    world.wait_s(10);
    world.ready("web-1");
    world.scale(1);
    world.settle();
    assert_eq!(world.plan().wake_at, Some(world.now + SignedDuration::from_secs(10)));
}

#[test]
fn what_fails_is_not_counted_as_done() {
    let mut world = World::running(2);
    world.image("b");
    let plan = world.plan();
    let find = |wanted: fn(&Action) -> bool| plan.actions().find(|action| wanted(action)).expect("planned");
    let (revision, deletion) = (
        find(|action| matches!(action, Action::CreateRevision { .. })),
        find(|action| matches!(action, Action::DeletePod { .. })),
    );
    let current = |failed: &[&Action]| {
        let mut undone = Undone::default();
        failed.iter().for_each(|action| undone.add(action));
        status_after(&world.set, &plan, &undone).map(|status| status.current_replicas)
    };
    assert_eq!(current(&[]), Some(Some(1)), "one is on its way out");
    assert_eq!(current(&[deletion]), Some(Some(2)), "it is not");
    assert_eq!(current(&[revision]), None, "a status would name a revision that does not exist");
}

#[test]
fn pods_are_counted_once_it_is_certain_whose_they_are() {
    let mut world = World::running(2);
    world.pods.get_mut("web-1").expect("it runs").metadata.owner_references = None;
    world.set.status.get_or_insert_default().replicas = 1;
    let plan = world.sync();
    assert!(plan.actions().any(|action| matches!(action, Action::AdoptPod(_))));
    assert_eq!(world.set.status.as_ref().map(|status| status.replicas), Some(1), "others may have changed meanwhile");
    world.run();
    assert_eq!(world.set.status.as_ref().map(|status| status.replicas), Some(2));
}

#[test]
fn a_rollout_ends_when_all_are_ready_or_where_it_is_watched_when_they_have_come_to_stay() {
    let counts_at_once = |annotations: &[(&str, &str)], probe: Option<Probe>| {
        let mut set = web(1);
        let pod = set.spec.get_or_insert_default().template.spec.get_or_insert_default();
        pod.containers[0].readiness_probe = probe;
        let mut world = World::up(set);
        annotations.iter().for_each(|(key, value)| world.annotate(key, value));
        world.image("b");
        world.settle();
        world.gone("web-0");
        world.settle();
        world.ready("web-0");
        world.settle();
        world.counts()
    };
    let (ended, open) = (
        "replicas=1 ready=1 available=1 current=1@b updated=1@b",
        "replicas=1 ready=1 available=1 current=0@a updated=1@b",
    );
    assert_eq!(counts_at_once(&[], None), ended);
    assert_eq!(counts_at_once(&[(PROGRESS_DEADLINE, "60")], None), open);
    assert_eq!(counts_at_once(&[(AUTO_ROLLBACK, "true")], None), open);
    assert_eq!(counts_at_once(&[(PROGRESS_DEADLINE, "60")], Some(Probe::default())), ended, "a probe says so");
}

#[test]
fn a_watched_rollout_does_not_end_with_a_replica_that_is_only_just_back() {
    let mut world = World::running(1);
    world.annotate(PROGRESS_DEADLINE, "600");
    world.image("b");
    world.settle();
    world.gone("web-0");
    world.settle();
    world.crash("web-0", 1);
    world.back("web-0");
    world.wait_s(3);
    world.settle();
    let current = |world: &World| world.counts().split(' ').nth(3).unwrap_or_default().to_owned();
    assert_eq!(current(&world), "current=0@a");
    world.wait_s(60);
    world.settle();
    assert_eq!(current(&world), "current=1@b");
}

#[test]
fn a_watched_rollout_that_is_paused_at_its_end_is_looked_at_when_it_may_have_ended() {
    let woken_after = |annotation: Option<&str>| {
        let mut world = World::running(1);
        annotation.iter().for_each(|key| world.annotate(key, "60"));
        world.image("b");
        world.settle();
        world.gone("web-0");
        world.settle();
        world.ready("web-0");
        world.annotate("stead.dev/paused", "true");
        world.settle();
        world.plan().wake_at.map(|at| at.duration_since(world.now).as_secs())
    };
    assert_eq!(woken_after(Some(PROGRESS_DEADLINE)), Some(2));
    assert_eq!(woken_after(None), None);
}

#[test]
fn a_paused_canary_that_nobody_watches_is_left_in_peace() {
    let mut world = World::running(2);
    world.partition(1);
    world.image("b");
    world.settle();
    world.gone("web-1");
    world.settle();
    world.ready("web-1");
    world.annotate("stead.dev/paused", "true");
    world.settle();
    assert_eq!(world.plan().wake_at, None);
}
