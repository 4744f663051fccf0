//! Rolling out a revision: U3 to U5, U20, U21, several at once, hash collisions.

use expect_test::expect;

use crate::world::{World, web};
use crate::{check, on_delete, parallel};

#[test]
fn u03_an_update_goes_from_the_top_one_at_a_time() {
    let mut world = World::running(3);
    world.image("b");
    world.sync();
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=2@a updated=0@b"]);
    world.run();
    world.told(expect![[r#"
            replace web-2@b (outdated)
            replace web-1@b (outdated)
            replace web-0@b (outdated)
        "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@b updated=3@b"]);
}

#[test]
fn u04_going_back_makes_no_new_revision() {
    let mut world = World::running(3);
    world.image("b");
    world.run();
    world.image("a");
    world.tell();
    world.run();
    world.told(expect![[r#"
            renumber a to 3
            replace web-2@a (outdated)
            replace web-1@a (outdated)
            replace web-0@a (outdated)
        "#]]);
    assert_eq!(world.history(), "b:2 a:3");
}

#[test]
fn u05_s02_a_broken_update_stops_at_the_top_and_heals_when_the_template_is_put_back() {
    for ordered in [true, false] {
        let mut set = web(3);
        if !ordered {
            parallel(set.spec.get_or_insert_default());
        }
        let mut world = World::up(set);
        world.image("broken");
        world.run_but(&["web-2"]);
        check(
            &world.show(),
            expect![[r#"
            web-0@a ready
            web-1@a ready
            web-2@broken not ready
        "#]],
        );
        assert_eq!(world.waits(), ["web-2 is not running and ready"], "it says which pod it waits for");
        world.image("a");
        world.tell();
        world.run();
        // Kubernetes waits here for somebody to delete web-2 (kubernetes#67250).
        world.told(expect![[r#"
                renumber a to 3
                replace web-2@a (broken)
            "#]]);
        check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=3@a"]);
    }
}

#[test]
fn u05_a_replica_that_once_stood_halts_the_rollout() {
    let mut world = World::running(3);
    world.wait_s(60);
    world.unready("web-2");
    world.image("b");
    world.run_but(&["web-2"]);
    assert_eq!(world.tell(), "\n", "nothing is replaced");
    assert_eq!(world.waits(), ["web-2 is not running and ready"]);
    world.ready("web-2");
    world.run();
    world.told(expect![[r#"
            replace web-2@b (outdated)
            replace web-1@b (outdated)
            replace web-0@b (outdated)
        "#]]);
}

#[test]
fn u05_a_fix_may_come_as_a_third_revision() {
    let mut world = World::running(3);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.image("fixed");
    world.tell();
    world.run();
    world.told(expect![[r#"
            replace web-2@fixed (broken)
            replace web-1@fixed (outdated)
            replace web-0@fixed (outdated)
        "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@fixed updated=3@fixed"]);
}

#[test]
fn u05_an_update_to_a_crashing_image_stops_at_the_top_though_it_looks_ready_for_a_moment() {
    let mut world = World::running(3);
    world.image("crashing");
    world.settle();
    world.gone("web-2");
    world.settle();
    world.ready("web-2");
    world.settle();
    assert_eq!(world.waits(), ["web-2 has not been up for long enough to be trusted"]);
    world.crash("web-2", 1);
    world.run_but(&["web-2"]);
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
        web-2@crashing not ready
    "#]],
    );
    world.image("a");
    world.tell();
    world.run();
    world.told(expect![[r#"
            renumber a to 3
            replace web-2@a (broken)
        "#]]);
}

#[test]
fn u05_a_replica_lost_while_the_update_is_in_doubt_returns_at_the_old_revision() {
    let mut world = World::running(3);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.delete_pod("web-0");
    world.tell();
    world.run_but(&["web-2"]);
    world.told(expect![[r#"
        create web-0@a
    "#]]);
}

#[test]
fn replicas_made_at_the_new_revision_before_their_turn_stay_there() {
    // Found by a random life: web-0 took itself for an update in doubt, and was made again for ever.
    for is_parallel in [false, true] {
        let mut set = web(3);
        if is_parallel {
            parallel(set.spec.get_or_insert_default());
        }
        let mut world = World::up(set);
        world.phase("web-0", "Failed");
        world.phase("web-1", "Failed");
        world.image("b");
        world.run();
        assert_eq!(world.counts(), "replicas=3 ready=3 available=3 current=3@b updated=3@b");
    }
}

#[test]
fn u20_on_delete_leaves_the_replacing_to_others_and_completes_all_the_same() {
    let mut set = web(2);
    on_delete(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    world.image("b");
    world.run();
    assert_eq!(world.tell(), "\n");
    check(&world.counts(), expect!["replicas=2 ready=2 available=2 current=2@a updated=0@b"]);
    world.delete_pod("web-0");
    world.run();
    check(&world.counts(), expect!["replicas=2 ready=2 available=2 current=1@a updated=1@b"]);
    world.delete_pod("web-1");
    world.run();
    world.told(expect![[r#"
        create web-0@b
        create web-1@b
    "#]]);
    // Kubernetes would leave currentRevision at a for ever (kubernetes#73492).
    check(&world.counts(), expect!["replicas=2 ready=2 available=2 current=2@b updated=2@b"]);
}

#[test]
fn u21_old_revisions_are_forgotten_beyond_the_limit() {
    let mut set = web(1);
    set.spec.get_or_insert_default().revision_history_limit = Some(1);
    let mut world = World::up(set);
    for image in ["b", "c", "d"] {
        world.image(image);
        world.run();
    }
    assert_eq!(world.history(), "c:3 d:4");
}

#[test]
fn two_templates_with_one_hash_get_two_names() {
    let mut world = World::running(1);
    world.image("b");
    let plan = world.plan();
    let name = plan.actions().find_map(|action| match action {
        stead_plan::statefulset::Action::CreateRevision { name, .. } => Some(name.clone()),
        _ => None,
    });
    let name = name.expect("a new template is a new revision");
    // Somebody else's revision stands on that very name.
    let mut stranger = world.revisions.values().next().expect("revision a").clone();
    stranger.metadata.name = Some(name.0.clone());
    stranger.metadata.labels = None;
    world.revisions.insert(name.0.clone(), stranger);
    world.run();
    assert_eq!(world.set.status.clone().unwrap_or_default().collision_count, Some(1));
    assert_ne!(world.set.status.unwrap_or_default().update_revision, Some(name.0));
}

#[test]
fn a_replica_that_is_back_from_a_short_run_is_trusted_only_after_a_while() {
    let mut world = World::running(3);
    world.image("b");
    world.settle();
    world.gone("web-2");
    world.settle();
    world.crash("web-2", 1);
    world.back("web-2");
    world.settle();
    assert_eq!(world.waits(), ["web-2 has not been up for long enough to be trusted"]);
    let wake_at = world.plan().wake_at.expect("it looks again");
    assert_eq!(wake_at.duration_since(world.now).as_secs(), 10);
    world.tell();
    world.wait_s(9);
    world.settle();
    assert_eq!(world.tell(), "\n");
    world.wait_s(1);
    world.settle();
    assert_eq!(world.tell(), "delete web-1 (outdated)\n");
}

#[test]
fn the_last_replica_of_a_rollout_is_looked_at_again_though_nothing_waits_for_it() {
    let mut world = World::running(2);
    world.partition(1);
    world.image("b");
    world.settle();
    world.gone("web-1");
    world.settle();
    world.crash("web-1", 1);
    world.back("web-1");
    world.settle();
    assert!(world.condition("Progressing").contains("RollingOut"), "it has been up for a moment only");
    let wake_at = world.plan().wake_at.expect("it looks again");
    assert_eq!(wake_at.duration_since(world.now).as_secs(), 10);
    world.wait_s(10);
    world.settle();
    assert!(world.condition("Progressing").contains("RolloutComplete"));
}
