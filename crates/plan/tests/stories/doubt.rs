//! Updates in doubt: at which revision lost replicas return meanwhile, and how long exactly a rollout waits
//! for the last replica it has made.

use expect_test::expect;
use k8s_openapi::api::core::v1::Probe;
use stead_plan::statefulset::wishes::UPDATE_LAST;

use crate::parallel;
use crate::world::{World, web};

/// The update to b has taken the highest of three replicas, which has not become Ready yet.
fn in_doubt(mut world: World) -> World {
    world.image("b");
    world.sync();
    world.gone("web-2");
    world.sync();
    world.start_unready("web-2");
    world.tell();
    world
}

#[test]
fn s07_a_lost_replica_that_is_next_in_turn_returns_at_the_update_revision() {
    let mut world = in_doubt(World::running(3));
    world.pods.remove("web-1");
    world.sync();
    world.told(expect!["create web-1@b\n"]);
}

#[test]
fn s07_a_lost_replica_whose_turn_has_not_come_returns_as_it_was() {
    let mut world = in_doubt(World::running(3));
    world.pods.remove("web-0");
    world.sync();
    world.told(expect!["create web-0@a\n"]);
}

#[test]
fn one_that_never_stood_comes_to_the_update_revision_when_its_turn_has_come() {
    let mut world = World::parallel(3);
    world.partition(2);
    world.delete_pod("web-1");
    world.gone("web-1");
    world.image("b");
    world.run_but(&["web-1", "web-2"]);
    world.told(expect![[r#"
        create web-1@a
        replace web-2@b (outdated)
    "#]]);
    // Without the partition it is web-1's turn next.
    world.edit(|spec| spec.update_strategy.get_or_insert_default().rolling_update = None);
    world.sync();
    world.told(expect!["delete web-1 (broken)\n"]);
}

#[test]
fn what_was_made_at_the_update_revision_does_not_move_back_while_others_start() {
    let mut world = World::parallel(3);
    world.image("b");
    // Two are lost before the controller looks.
    world.pods.remove("web-0");
    world.pods.remove("web-1");
    world.sync();
    world.told(expect![[r#"
        create web-0@b
        create web-1@b
        delete web-2 (outdated)
    "#]]);
    for pod in ["web-0", "web-1"] {
        world.start_unready(pod);
    }
    world.settle();
    assert_eq!(world.tell(), "\n");
}

#[test]
fn a_probe_that_has_passed_is_proof_enough() {
    let mut set = web(2);
    let pod = set.spec.get_or_insert_default().template.spec.get_or_insert_default();
    pod.containers[0].readiness_probe = Some(Probe::default());
    let mut world = World::up(set);
    world.image("b");
    world.sync();
    world.gone("web-1");
    world.sync();
    world.tell();
    world.ready("web-1");
    world.sync();
    world.told(expect!["delete web-0 (outdated)\n"]);
}

#[test]
fn the_first_replica_without_a_probe_is_waited_for_to_the_second() {
    let mut world = World::parallel(2);
    world.image("b");
    world.sync();
    world.gone("web-1");
    world.sync();
    world.tell();
    world.ready("web-1");
    world.wait_s(1);
    let plan = world.sync();
    assert_eq!(world.waits(), ["web-1 has not been up for long enough to be trusted"]);
    assert_eq!(plan.wake_at, Some(world.now + jiff::SignedDuration::from_secs(1)));
    world.wait_s(1);
    world.sync();
    world.told(expect!["delete web-0 (outdated)\n"]);
}

#[test]
fn a_parallel_rollout_waits_for_min_ready_seconds() {
    let mut set = web(2);
    let spec = set.spec.get_or_insert_default();
    parallel(spec);
    spec.min_ready_seconds = Some(10);
    let mut world = World::new(set);
    world.sync();
    world.ready("web-0");
    world.ready("web-1");
    world.wait_s(60);
    world.sync();
    world.image("b");
    world.sync();
    world.gone("web-1");
    world.sync();
    world.ready("web-1");
    world.tell();
    world.wait_s(9);
    world.settle();
    assert_eq!(world.tell(), "\n");
    world.wait_s(1);
    world.sync();
    world.told(expect!["delete web-0 (outdated)\n"]);
}

#[test]
fn a_leader_that_starts_is_waited_for_as_any_other() {
    let mut world = World::parallel(3);
    world.annotate(UPDATE_LAST, "role=leader");
    world.image("b");
    world.sync();
    world.gone("web-2");
    world.sync();
    world.start_unready("web-2");
    world.tell();
    // The role moves to the replica that the rollout has just made, and that would come last now.
    world.role("web-2", "leader");
    world.settle();
    assert_eq!(world.tell(), "\n", "one replica at a time");
    world.ready("web-2");
    world.wait_s(2);
    world.sync();
    world.told(expect!["delete web-1 (outdated)\n"]);
}
