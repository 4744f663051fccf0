//! Update order by role: the leader goes last, whoever it is at the time.

use expect_test::expect;

use crate::parallel;
use crate::world::World;

fn led_by(leader: &str) -> World {
    let mut world = World::running(3);
    world.annotate("stead.dev/update-order-label", "role=leader");
    for pod in ["web-0", "web-1", "web-2"] {
        world.role(pod, if pod == leader { "leader" } else { "follower" });
    }
    world
}

#[test]
fn the_leader_is_updated_last() {
    let mut world = led_by("web-2");
    world.image("b");
    world.run();
    world.told(expect![[r#"
            replace web-1@b (outdated)
            replace web-0@b (outdated)
            replace web-2@b (outdated)
        "#]]);
}

#[test]
fn leadership_that_moves_meanwhile_is_followed() {
    let mut world = led_by("web-2");
    world.image("b");
    world.settle();
    world.gone("web-1");
    world.settle();
    world.ready("web-1");
    world.role("web-2", "follower");
    world.role("web-0", "leader");
    world.run();
    world.told(expect![[r#"
            replace web-1@b (outdated)
            replace web-2@b (outdated)
            replace web-0@b (outdated)
        "#]]);
}

#[test]
fn the_partition_still_counts_by_ordinal() {
    let mut world = led_by("web-2");
    world.partition(1);
    world.image("b");
    world.run();
    world.told(expect![[r#"
            replace web-1@b (outdated)
            replace web-2@b (outdated)
        "#]]);
}

#[test]
fn a_parallel_set_keeps_the_order_too() {
    let mut world = led_by("web-1");
    world.edit(parallel);
    world.image("b");
    world.run();
    world.told(expect![[r#"
            replace web-2@b (outdated)
            replace web-0@b (outdated)
            replace web-1@b (outdated)
        "#]]);
}

#[test]
fn one_that_becomes_the_leader_while_it_ends_is_waited_for() {
    let mut world = World::parallel(3);
    world.annotate("stead.dev/update-order-label", "role=leader");
    world.image("b");
    world.settle();
    world.told(expect!["delete web-2 (outdated)\n"]);
    world.role("web-2", "leader");
    world.settle();
    assert_eq!(world.tell(), "\n", "only one at a time");
    assert_eq!(world.waits(), ["web-2 is terminating and holds its ordinal until it is gone"]);
}

#[test]
fn one_that_becomes_the_leader_while_it_is_replaced_is_waited_for() {
    let mut world = led_by("web-0");
    world.image("b");
    world.settle();
    world.told(expect![[r#"
        delete web-2 (outdated)
    "#]]);
    world.role("web-0", "follower");
    world.role("web-2", "leader");
    world.settle();
    assert_eq!(world.tell(), "\n");
    assert_eq!(world.waits(), ["web-2 is terminating and holds its ordinal until it is gone"]);
}
