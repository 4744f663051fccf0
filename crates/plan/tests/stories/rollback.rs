//! What is taken back when a rollout has failed, and what is not.

use expect_test::expect;
use stead_plan::statefulset::Action;
use stead_plan::statefulset::wishes::ROLLED_OUT;

use crate::progress::{DEADLINE, ROLLBACK, alone, hurried, wait_until_the_deadline, with_a_deadline};
use crate::world::World;
use crate::{check, on_delete};

#[test]
fn a_replica_that_was_ready_for_a_moment_has_not_ended_its_rollout() {
    let mut world = alone();
    world.image("crashing");
    world.settle();
    world.gone("web-0");
    world.settle();
    // Seen while it is Ready, and again after it has crashed.
    world.ready("web-0");
    world.settle();
    check(&world.counts(), expect!["replicas=1 ready=1 available=1 current=0@a updated=1@crashing"]);
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RollingOut"));
    world.crash("web-0", 1);
    wait_until_the_deadline(&mut world);
    world.run();
    world.told(expect![[r#"
        replace web-0@crashing (outdated)
        roll back crashing to a
        renumber a to 3
        replace web-0@a (broken)
    "#]]);
    check(&world.counts(), expect!["replicas=1 ready=1 available=1 current=1@a updated=1@a"]);
}

#[test]
fn with_min_ready_seconds_a_rollout_ends_when_all_are_available() {
    let mut world = alone();
    world.edit(|spec| spec.min_ready_seconds = Some(30));
    world.wait_s(60);
    world.settle();
    world.image("b");
    world.settle();
    world.gone("web-0");
    world.settle();
    world.ready("web-0");
    world.settle();
    check(&world.counts(), expect!["replicas=1 ready=1 available=0 current=0@a updated=1@b"]);
    world.wait_s(30);
    world.settle();
    check(&world.counts(), expect!["replicas=1 ready=1 available=1 current=1@b updated=1@b"]);
}

#[test]
fn a_template_whose_pods_are_refused_is_taken_back() {
    let mut world = hurried(true);
    world.image("b");
    world.run();
    world.tell();
    // No pod can be made from it, like one with a priority class that does not exist.
    world.refuses = |world, action| match action {
        Action::CreatePod { revision, .. } => world.letter(&revision.0) == "refused",
        _ => false,
    };
    world.image("refused");
    world.settle();
    world.gone("web-2");
    world.edit(|spec| spec.revision_history_limit = Some(0));
    world.settle();
    assert_eq!(world.history(), "b:2 refused:3", "history is cut though reconciliation fails (G4)");
    wait_until_the_deadline(&mut world);
    world.run();
    world.told(expect![[r#"
        delete web-2 (outdated)
        forget a
        roll back refused to b
        renumber b to 4
        create web-2@b
        forget refused
    "#]]);
    check(
        &world.show(),
        expect![[r#"
        web-0@b ready
        web-1@b ready
        web-2@b ready
    "#]],
    );
}

#[test]
fn a_claim_that_may_not_grow_keeps_no_rollback_away() {
    let mut world = hurried(true);
    world.provision();
    world.refuses = |_, action| matches!(action, Action::GrowClaim { .. });
    world.image("broken");
    world.claim_size("2Gi");
    world.run_but(&["web-2"]);
    wait_until_the_deadline(&mut world);
    world.run();
    let told = world.tell();
    assert!(told.contains("roll back broken to a"), "{told}");
}

#[test]
fn a_finished_canary_is_not_taken_back_because_of_something_else() {
    let mut world = hurried(true);
    world.partition(2);
    world.image("b");
    world.run();
    world.tell();
    // A fourth replica finds no room on any node.
    world.scale(4);
    world.run_but(&["web-3"]);
    wait_until_the_deadline(&mut world);
    world.run_but(&["web-3"]);
    world.told(expect![[r#"
        create web-3@b
    "#]]);
    check(
        &world.condition("Progressing"),
        expect![
            "Progressing=False ProgressDeadlineExceeded: 1 of 4 replicas are at revision b and available; no replica became available for 60 s: web-3 is not running and ready; it is not rolled back, for it was rolled out before"
        ],
    );
    // The same after a pause.
    world.annotate("stead.dev/paused", "true");
    world.settle();
    world.unannotate("stead.dev/paused");
    wait_until_the_deadline(&mut world);
    world.run_but(&["web-3"]);
    assert_eq!(world.tell(), "\n");
}

#[test]
fn a_canary_that_goes_on_is_taken_back_when_the_next_replica_fails() {
    let mut world = hurried(true);
    world.partition(2);
    world.image("b");
    world.run();
    world.partition(0);
    world.run_but(&["web-1"]);
    wait_until_the_deadline(&mut world);
    world.run();
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
        web-2@a ready
    "#]],
    );
}

#[test]
fn nothing_goes_back_to_a_template_that_never_worked() {
    let mut world = World::new(with_a_deadline(2, true));
    world.run_but(&["web-0"]);
    world.image("slow");
    world.run_but(&["web-0"]);
    world.tell();
    wait_until_the_deadline(&mut world);
    world.run_but(&["web-0"]);
    assert_eq!(world.tell(), "\n");
    check(
        &world.condition("Progressing"),
        expect![
            "Progressing=False ProgressDeadlineExceeded: 0 of 2 replicas are at revision slow and available; no replica became available for 60 s: web-0 is not running and ready; it is not rolled back, for revision a is not known to have worked"
        ],
    );
    world.ready("web-0");
    world.run();
    check(&world.counts(), expect!["replicas=2 ready=2 available=2 current=2@slow updated=2@slow"]);
}

#[test]
fn each_revision_is_taken_back_once_whatever_came_between() {
    let mut world = hurried(true);
    for image in ["worse", "worst"] {
        world.image(image);
        world.run_but(&["web-2"]);
        wait_until_the_deadline(&mut world);
        world.run();
    }
    world.image("worse");
    world.run_but(&["web-2"]);
    world.tell();
    wait_until_the_deadline(&mut world);
    world.run_but(&["web-2"]);
    assert_eq!(world.tell(), "\n");
    let condition = world.condition("Progressing");
    assert!(condition.ends_with("it was rolled back before and is not a second time"), "{condition}");
}

#[test]
fn a_replica_that_stood_for_a_while_at_what_is_taken_back_is_replaced_too() {
    let mut world = hurried(true);
    world.edit(|spec| spec.min_ready_seconds = Some(30));
    world.wait_s(60);
    world.settle();
    world.tell();
    world.image("short-lived");
    world.settle();
    world.gone("web-2");
    world.settle();
    world.ready("web-2");
    world.wait_s(20);
    world.unready("web-2");
    wait_until_the_deadline(&mut world);
    world.run();
    let (told, shown) = (world.tell(), world.show());
    assert!(told.contains("replace web-2@a (broken)"), "{told}");
    assert!(!shown.contains("short-lived") && !shown.contains("not ready"), "{shown}");
}

#[test]
fn who_asks_for_it_only_then_gets_the_template_back_that_stood() {
    let mut world = World::running(3);
    world.annotate(DEADLINE, "60");
    world.image("broken");
    world.run_but(&["web-2"]);
    wait_until_the_deadline(&mut world);
    world.tell();
    world.annotate(ROLLBACK, "true");
    world.sync();
    world.told(expect![[r#"
        roll back broken to a
    "#]]);
}

#[test]
fn what_people_have_rolled_out_by_hand_counts_as_rolled_out_once_all_run_it() {
    let mut set = with_a_deadline(1, true);
    on_delete(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    let rolled_out = |world: &World| world.letter(world.annotation(ROLLED_OUT).expect("it is written down"));
    world.image("b");
    world.run();
    assert_eq!(rolled_out(&world), "a", "nobody runs b");
    world.delete_pod("web-0");
    world.run();
    assert_eq!(rolled_out(&world), "b");
}
