//! Which reset comes first, and what rollouts do meanwhile.

use expect_test::expect;
use jiff::SignedDuration;
use stead_plan::statefulset::wishes::RESET;

use crate::world::World;

/// `ordinal` is being made anew: its pod and its claim are gone.
fn emptied(mut world: World, ordinal: i32) -> World {
    world.wait_s(60);
    world.annotate(RESET, &format!("{ordinal}=1"));
    world.settle();
    world.gone(&format!("web-{ordinal}"));
    world.sync();
    world.tell();
    world
}

#[test]
fn one_that_is_down_overtakes_nobody_below_it() {
    let mut world = emptied(World::running(3), 0);
    world.unready("web-2");
    world.wait_s(60);
    world.annotate(RESET, "0=1,2=1");
    world.settle();
    world.told(expect!["create web-0@a\n"]);
}

#[test]
fn nobody_overtakes_where_replicas_do_not_wait_for_those_below_them() {
    let mut world = emptied(World::parallel(3), 2);
    world.unready("web-1");
    world.wait_s(60);
    world.annotate(RESET, "1=1,2=1");
    world.settle();
    world.told(expect!["create web-2@a\n"]);
}

#[test]
fn when_one_will_overtake_is_known_though_something_else_is_to_be_said() {
    let mut world = emptied(World::running(3), 2);
    // Something that is said at once, so that nothing has to be said later.
    world.pods.get_mut("web-0").expect("it runs").spec.get_or_insert_default().volumes = None;
    world.unready("web-1");
    world.annotate(RESET, "1=1,2=1");
    world.settle();
    assert_eq!(world.plan().wake_at, Some(world.now + SignedDuration::from_secs(30)));
}

#[test]
fn a_rollout_takes_nobody_down_while_a_replica_is_made_anew() {
    let mut world = World::parallel(3);
    world.annotate(RESET, "0=1");
    world.image("b");
    world.settle();
    world.told(expect!["delete web-0 (reset)\n"]);
    assert!(world.waits().contains(&"web-0 is being made anew with its claims".to_owned()), "{:?}", world.waits());
    world.gone("web-0");
    world.settle();
    world.told(expect![[r#"
        delete data-web-0
        collected data-web-0
        create web-0@b
    "#]]);
    world.run();
    world.told(expect![[r#"
        replace web-2@b (outdated)
        replace web-1@b (outdated)
    "#]]);
}

#[test]
fn a_reset_that_has_to_wait_holds_up_no_rollout() {
    let mut world = World::parallel(3);
    world.wait_s(60);
    world.unready("web-1");
    world.annotate(RESET, "0=1");
    world.settle();
    assert_eq!(world.tell(), "\n", "another one is down");
    world.image("b");
    world.sync();
    world.told(expect!["delete web-2 (outdated)\n"]);
}

#[test]
fn a_reset_of_what_is_anothers_holds_up_no_rollout() {
    let mut world = World::parallel(3);
    let stranger = world.pods.get_mut("web-0").expect("it runs");
    stranger.metadata.labels = None;
    world.settle();
    world.annotate(RESET, "0=1");
    world.image("b");
    world.tell();
    world.sync();
    world.told(expect!["delete web-2 (outdated)\n"]);
}
