//! Rollouts that get nowhere: the deadline, and what never happens twice.

use expect_test::expect;
use k8s_openapi::api::apps::v1::StatefulSet;

use crate::world::{World, web};
use crate::{check, on_delete};

pub(crate) const DEADLINE: &str = "stead.dev/progress-deadline-seconds";
pub(crate) const ROLLBACK: &str = "stead.dev/auto-rollback";

/// A set whose rollouts have a minute, and are taken back after that where `rollback` says so.
pub(crate) fn with_a_deadline(replicas: i32, rollback: bool) -> StatefulSet {
    let mut set = web(replicas);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DEADLINE.to_owned(), "60".to_owned());
    if rollback {
        annotations.insert(ROLLBACK.to_owned(), "true".to_owned());
    }
    set
}

/// Three replicas at `a` that are to make progress within a minute.
pub(crate) fn hurried(rollback: bool) -> World {
    let mut world = World::up(with_a_deadline(3, rollback));
    world.events.clear();
    world
}

/// One replica without a probe, to be taken back when it does not come up within a minute.
pub(crate) fn alone() -> World {
    World::up(with_a_deadline(1, true))
}

pub(crate) fn wait_until_the_deadline(world: &mut World) {
    for _ in 0..7 {
        world.wait_s(10);
        world.settle();
    }
}

#[test]
fn a_rollout_that_gets_nowhere_in_time_has_failed() {
    let mut world = hurried(false);
    world.image("broken");
    world.run_but(&["web-2"]);
    check(
        &world.condition("Progressing"),
        expect!["Progressing=True RollingOut: 0 of 3 replicas are at revision broken and available"],
    );
    let wake_at = world.plan().wake_at.expect("it knows when its patience ends");
    assert!(wake_at.duration_since(world.now).as_secs() <= 60);
    world.events.clear();
    wait_until_the_deadline(&mut world);
    check(
        &world.condition("Progressing"),
        expect![
            "Progressing=False ProgressDeadlineExceeded: 0 of 3 replicas are at revision broken and available; no replica became available for 60 s: web-2 is not running and ready"
        ],
    );
    check(
        &world.events.join("\n"),
        expect![[r#"
        Warning RolloutWaiting The rollout waits: web-2 is not running and ready
        Warning ProgressDeadlineExceeded 0 of 3 replicas are at revision web-68d8587b9f and available; no replica became available for 60 s: web-2 is not running and ready"#]],
    );
    world.events.clear();
    world.wait_s(600);
    assert!(world.plan().is_empty(), "having failed is said once");
    // It is not given up for good.
    world.ready("web-2");
    world.run();
    check(
        &world.condition("Progressing"),
        expect!["Progressing=True RolloutComplete: 3 of 3 replicas are at revision broken and available"],
    );
}

#[test]
fn every_replica_that_becomes_available_starts_the_clock_anew() {
    let mut world = hurried(false);
    world.image("b");
    for pod in ["web-2", "web-1", "web-0"] {
        world.settle();
        world.gone(pod);
        world.settle();
        world.wait_s(45);
        world.ready(pod);
        world.settle();
        world.wait_s(5);
    }
    world.run();
    assert!(!world.events.iter().any(|event| event.contains("Deadline")), "{:#?}", world.events);
    check(
        &world.condition("Progressing"),
        expect!["Progressing=True RolloutComplete: 3 of 3 replicas are at revision b and available"],
    );
}

#[test]
fn a_failed_rollout_is_taken_back_as_undo_would() {
    let mut world = hurried(true);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.tell();
    wait_until_the_deadline(&mut world);
    world.run();
    world.told(expect![[r#"
            roll back broken to a
            renumber a to 3
            replace web-2@a (broken)
        "#]]);
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
        web-2@a ready
    "#]],
    );
    check(
        &world.condition("Progressing"),
        expect![
            "Progressing=True RolloutComplete: 3 of 3 replicas are at revision a and available; revision broken was rolled back"
        ],
    );
    assert_eq!(world.history(), "broken:2 a:3");
    assert!(world.events.iter().any(|event| event.starts_with("Normal RolledBack StatefulSet web went back")));
}

#[test]
fn a_revision_that_somebody_brings_back_is_not_taken_back_again() {
    let mut world = hurried(true);
    world.image("broken");
    world.run_but(&["web-2"]);
    wait_until_the_deadline(&mut world);
    world.run();
    world.image("broken");
    world.run_but(&["web-2"]);
    world.tell();
    wait_until_the_deadline(&mut world);
    world.run_but(&["web-2"]);
    assert_eq!(world.tell(), "\n");
    check(
        &world.condition("Progressing"),
        expect![
            "Progressing=False ProgressDeadlineExceeded: 0 of 3 replicas are at revision broken and available; no replica became available for 60 s: web-2 is not running and ready; it was rolled back before and is not a second time"
        ],
    );
    // Another broken revision is another matter.
    world.image("worse");
    world.run_but(&["web-2"]);
    wait_until_the_deadline(&mut world);
    world.run();
    assert_eq!(world.history().split(' ').next_back().map(|last| last.starts_with("a:")), Some(true));
}

#[test]
fn a_set_without_a_former_revision_only_says_that_it_failed() {
    let mut world = World::new(with_a_deadline(1, true));
    world.run_but(&["web-0"]);
    wait_until_the_deadline(&mut world);
    world.told(expect![[r#"
        create web-0@a
    "#]]);
    check(
        &world.condition("Progressing"),
        expect![
            "Progressing=False ProgressDeadlineExceeded: 0 of 1 replicas are at revision a and available; no replica became available for 60 s: web-0 is not running and ready"
        ],
    );
}

#[test]
fn what_breaks_after_a_rollout_is_complete_takes_nothing_back() {
    let mut world = hurried(true);
    world.partition(2);
    world.image("b");
    world.run();
    check(
        &world.condition("Progressing"),
        expect!["Progressing=True RolloutComplete: 1 of 3 replicas are at revision b and available"],
    );
    world.tell();
    world.wait_s(600);
    world.unready("web-2");
    world.settle();
    wait_until_the_deadline(&mut world);
    assert_eq!(world.tell(), "\n");
    check(&world.condition("Blocked"), expect!["Blocked=True PodNotReady: web-2 is not running and ready"]);
}

#[test]
fn a_paused_rollout_and_one_that_waits_for_people_have_no_deadline() {
    let mut paused = hurried(true);
    paused.image("broken");
    paused.run_but(&["web-2"]);
    paused.annotate("stead.dev/paused", "true");
    paused.run_but(&["web-2"]);
    wait_until_the_deadline(&mut paused);
    check(
        &paused.condition("Progressing"),
        expect!["Progressing=Unknown Paused: 0 of 3 replicas are at revision broken and available"],
    );

    let mut waiting = hurried(true);
    waiting.edit(on_delete);
    waiting.image("b");
    waiting.run();
    wait_until_the_deadline(&mut waiting);
    check(
        &waiting.condition("Progressing"),
        expect![
            "Progressing=True RolloutComplete: 0 of 3 replicas are at revision b and available; the others come to it when somebody deletes them"
        ],
    );
}

#[test]
fn a_rollout_that_has_failed_halfway_stays_so() {
    let mut world = hurried(false);
    world.image("broken");
    world.run_but(&["web-1"]);
    wait_until_the_deadline(&mut world);
    let failed = world.condition("Progressing");
    assert!(failed.starts_with("Progressing=False ProgressDeadlineExceeded: 1 of 3"), "{failed}");
    world.wait_s(10);
    assert!(world.plan().is_empty());
}

#[test]
fn a_set_that_is_scaled_is_under_way_again() {
    let mut world = World::running(2);
    world.scale(3);
    world.sync();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RollingOut"));
}

#[test]
fn a_partition_holds_no_rollout_up() {
    let mut world = World::running(3);
    world.partition(1);
    world.image("b");
    world.run();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RolloutComplete"));
    // Those below it count, too, as soon as it is taken away.
    world.partition(0);
    world.sync();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RollingOut"));
}

#[test]
fn a_replica_without_a_probe_is_no_progress_until_it_is_trusted() {
    let mut world = alone();
    world.image("b");
    world.sync();
    world.gone("web-0");
    world.sync();
    world.ready("web-0");
    world.settle();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RollingOut"));
    world.wait_s(2);
    world.settle();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RolloutComplete"));
}

#[test]
fn on_delete_is_complete_when_all_stand_whatever_they_run() {
    let mut set = web(1);
    on_delete(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    world.image("b");
    world.delete_pod("web-0");
    world.sync();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RollingOut"));
}

#[test]
fn a_replica_below_the_partition_is_no_part_of_the_rollout() {
    let mut world = World::running(2);
    world.partition(2);
    world.wait_s(60);
    world.unready("web-1");
    world.image("b");
    world.sync();
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RolloutComplete"));
}
