//! Paused sets: nothing rolls, nothing is forgotten, lost replicas come back as they were.

use expect_test::expect;

use crate::check;
use crate::world::{World, web};

const PAUSED: &str = "stead.dev/paused";

/// Three replicas, of which the highest has been updated to `b` when the set is paused.
fn paused_half_way() -> World {
    let mut world = World::running(3);
    world.image("b");
    world.settle();
    world.gone("web-2");
    world.settle();
    world.annotate(PAUSED, "true");
    world.run();
    world.tell();
    world
}

#[test]
fn a_paused_set_rolls_nothing_and_resumes_where_it_was() {
    let mut world = paused_half_way();
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
        web-2@b ready
    "#]],
    );
    check(
        &world.condition("Progressing"),
        expect!["Progressing=Unknown Paused: 1 of 3 replicas are at revision b and available"],
    );
    world.unannotate(PAUSED);
    world.run();
    world.told(expect![[r#"
            replace web-1@b (outdated)
            replace web-0@b (outdated)
        "#]]);
    assert_eq!(world.annotation("stead.dev/paused-replicas"), None, "nothing is left written down");
}

#[test]
fn lost_replicas_of_a_paused_set_return_at_the_revision_they_had() {
    let mut world = paused_half_way();
    for pod in ["web-0", "web-2"] {
        world.delete_pod(pod);
    }
    world.run();
    world.told(expect![[r#"
        create web-0@a
        create web-2@b
    "#]]);
    // Also when a pod vanishes without having been seen terminating, and the template moves on.
    world.image("c");
    world.settle();
    world.pods.remove("web-2");
    world.phase("web-1", "Failed");
    world.run();
    world.told(expect![[r#"
            replace web-1@a (ended)
            create web-2@b
        "#]]);
}

#[test]
fn a_set_that_is_paused_before_its_template_changes_keeps_the_old_one() {
    let mut world = World::running(2);
    world.annotate(PAUSED, "true");
    world.image("b");
    world.run();
    world.delete_pod("web-1");
    world.scale(3);
    world.run();
    world.told(expect![[r#"
        create web-1@a
        create web-2@a
    "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=0@b"]);
}

#[test]
fn a_paused_set_still_scales_down() {
    let mut world = paused_half_way();
    world.scale(1);
    world.run();
    world.told(expect![[r#"
        delete web-2 (condemned)
        delete web-1 (condemned)
    "#]]);
}

#[test]
fn history_keeps_what_a_paused_set_may_need() {
    let mut set = web(2);
    set.spec.get_or_insert_default().revision_history_limit = Some(0);
    let mut world = World::up(set);
    world.image("b");
    world.settle();
    world.gone("web-1");
    world.settle();
    world.annotate(PAUSED, "true");
    world.run();
    world.image("c");
    world.pods.remove("web-1");
    world.run();
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@b ready
    "#]],
    );
}

#[test]
fn a_paused_set_keeps_no_more_history_than_it_needs() {
    let mut set = web(1);
    set.spec.get_or_insert_default().revision_history_limit = Some(0);
    let mut world = World::up(set);
    world.annotate("stead.dev/paused", "true");
    for image in ["b", "c"] {
        world.image(image);
        world.run();
    }
    assert_eq!(world.history(), "a:1 c:3");
}

#[test]
fn a_paused_set_scaled_to_nothing_and_back_has_rolled_out_nothing() {
    let mut world = World::running(2);
    world.annotate("stead.dev/paused", "true");
    world.image("b");
    world.scale(0);
    world.run();
    world.scale(2);
    world.run();
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
    "#]],
    );
    world.unannotate("stead.dev/paused");
    world.scale(0);
    world.run();
    world.scale(1);
    world.run();
    check(
        &world.show(),
        expect![[r#"
        web-0@b ready
    "#]],
    );
}
