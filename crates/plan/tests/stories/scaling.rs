//! Scaling down and moving the first ordinal: U9 to U11.

use expect_test::expect;
use stead_plan::statefulset::Action;

use crate::world::{World, web};
use crate::{check, parallel, retention, start_at};

#[test]
fn u09_ordinals_may_start_elsewhere() {
    let mut world = World::running(2);
    world.edit(|spec| {
        start_at(spec, 2);
        spec.replicas = Some(3);
    });
    world.run();
    world.told(expect![[r#"
        create web-2@a
        create web-3@a
        create web-4@a
        delete web-1 (condemned)
        delete web-0 (condemned)
    "#]]);
    world.partition(1);
    world.image("b");
    world.run();
    world.told(expect![[r#"
            replace web-4@b (outdated)
            replace web-3@b (outdated)
        "#]]);
}

#[test]
fn u10_s03_scaling_down_goes_from_the_top_past_one_unhealthy_replica_only() {
    let mut healthy = World::running(5);
    healthy.scale(2);
    healthy.run();
    check(
        &healthy.tell(),
        expect![[r#"
        delete web-4 (condemned)
        delete web-3 (condemned)
        delete web-2 (condemned)
    "#]],
    );

    let mut one = World::running(5);
    one.wait_s(60);
    one.unready("web-3");
    one.scale(2);
    one.run_but(&["web-3"]);
    check(
        &one.tell(),
        expect![[r#"
        delete web-4 (condemned)
        delete web-3 (condemned)
        delete web-2 (condemned)
    "#]],
    );

    let mut two = World::running(5);
    two.wait_s(60);
    two.unready("web-3");
    two.unready("web-4");
    two.scale(2);
    two.run_but(&["web-3", "web-4"]);
    assert_eq!(two.tell(), "\n");
    assert_eq!(two.waits(), ["web-4 is unhealthy, and so is a lower replica that is to go"]);
    two.ready("web-3");
    two.run_but(&["web-4"]);
    check(
        &two.tell(),
        expect![[r#"
        delete web-4 (condemned)
        delete web-3 (condemned)
        delete web-2 (condemned)
    "#]],
    );
}

#[test]
fn u10_replicas_that_ended_for_good_do_not_hold_up_scaling_down() {
    let mut world = World::running(3);
    world.scale(0);
    world.phase("web-0", "Failed");
    world.phase("web-2", "Failed");
    world.run();
    world.told(expect![[r#"
        delete web-2 (condemned)
        delete web-1 (condemned)
        delete web-0 (condemned)
    "#]]);
}

#[test]
fn u11_unhealthy_replicas_hold_an_ordered_scale_to_zero_but_not_a_parallel_one() {
    for (is_parallel, left) in [(false, 3), (true, 0)] {
        let mut set = web(3);
        if is_parallel {
            parallel(set.spec.get_or_insert_default());
        }
        let mut world = World::up(set);
        let all = ["web-0", "web-1", "web-2"];
        world.wait_s(60);
        all.iter().for_each(|pod| world.unready(pod));
        world.scale(0);
        world.run_but(&all);
        assert_eq!(world.pods.len(), left, "parallel: {is_parallel}");
    }
}

/// A parallel set that is scaled from 5 to 8 while the quota has room for no more than that.
fn short_of(refuses: fn(&World, &Action) -> bool) -> World {
    let mut world = World::parallel(5);
    world.refuses = refuses;
    world.scale(8);
    world.run();
    world.delete_pod("web-0");
    world.run();
    world
}

#[test]
fn s11_a_claim_that_is_refused_keeps_no_other_replica_of_a_parallel_set_away() {
    let mut world = short_of(|_, action| matches!(action, Action::CreateClaim { ordinal, .. } if ordinal.0 == 6));
    world.told(expect![[r#"
        create web-5@a
        create web-7@a
        create web-0@a
    "#]]);
}

#[test]
fn s11_a_pod_that_is_refused_keeps_no_other_replica_of_a_parallel_set_away() {
    let mut world = short_of(|_, action| matches!(action, Action::CreatePod { ordinal, .. } if ordinal.0 == 5));
    world.told(expect![[r#"
        create web-6@a
        create web-7@a
        create web-0@a
    "#]]);
}

#[test]
fn a_condemned_replica_stays_until_its_claim_goes_with_it() {
    let mut set = web(2);
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    world.refuses = |_, action| matches!(action, Action::OwnClaim { .. });
    world.scale(1);
    world.run();
    assert_eq!(world.tell(), "\n");
    world.refuses = |_, _| false;
    world.run();
    world.told(expect![[r#"
        own data-web-1: pod
        delete web-1 (condemned)
        collected data-web-1
    "#]]);
}
