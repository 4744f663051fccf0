//! Reserved ordinals: replicas are counted around them, and everything follows.

use expect_test::expect;

use crate::world::{World, web};
use crate::{check, parallel, retention};

const RESERVED: &str = "stead.dev/reserve-ordinals";

#[test]
fn replicas_are_counted_around_reserved_ordinals() {
    let mut set = web(3);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(RESERVED.to_owned(), "0,2-3".to_owned());
    let mut world = World::new(set);
    world.run();
    world.told(expect![[r#"
        create web-1@a
        create web-4@a
        create web-5@a
    "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=3@a"]);
    world.scale(4);
    world.run();
    world.scale(1);
    world.run();
    world.told(expect![[r#"
        create web-6@a
        delete web-6 (condemned)
        delete web-5 (condemned)
        delete web-4 (condemned)
    "#]]);
    assert_eq!(world.claims.keys().next().map(String::as_str), Some("data-web-1"));
}

#[test]
fn a_chosen_replica_is_removed_by_reserving_its_ordinal_and_one_less() {
    let mut world = World::running(4);
    let kept = [world.uid("web-0"), world.uid("web-2"), world.uid("web-3")];
    world.annotate(RESERVED, "1");
    world.scale(3);
    world.run();
    world.told(expect![[r#"
        delete web-1 (condemned)
    "#]]);
    assert_eq!([world.uid("web-0"), world.uid("web-2"), world.uid("web-3")], kept, "the others are untouched");
    assert!(world.claims.contains_key("data-web-1"), "its claim stays");
    // And it comes back when the ordinal is free again, with its claim.
    world.unannotate(RESERVED);
    world.run();
    world.told(expect![[r#"
        create web-1@a
        delete web-3 (condemned)
    "#]]);
}

#[test]
fn without_one_less_a_replacement_comes_first() {
    let mut world = World::running(3);
    world.annotate(RESERVED, "1");
    world.settle();
    check(
        &world.condition("Progressing"),
        expect!["Progressing=True RolloutComplete: 2 of 3 replicas are at revision a and available"],
    );
    world.run();
    world.told(expect![[r#"
        create web-3@a
        delete web-1 (condemned)
    "#]]);
}

#[test]
fn partitions_and_updates_go_by_replicas_not_by_numbers() {
    let mut set = web(4);
    set.metadata.annotations.get_or_insert_default().insert(RESERVED.to_owned(), "1-2".to_owned());
    let mut world = World::up(set);
    world.partition(2);
    world.image("b");
    world.run();
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-3@a ready
        web-4@b ready
        web-5@b ready
    "#]],
    );
    world.partition(0);
    world.tell();
    world.run();
    world.told(expect![[r#"
            replace web-3@b (outdated)
            replace web-0@b (outdated)
        "#]]);
}

#[test]
fn the_claim_of_a_removed_replica_goes_when_the_set_says_so() {
    let mut set = web(3);
    let spec = set.spec.get_or_insert_default();
    retention(spec, "Delete", "Retain");
    parallel(spec);
    let mut world = World::up(set);
    world.annotate(RESERVED, "0");
    world.scale(2);
    world.run();
    world.told(expect![[r#"
        own data-web-0: pod
        delete web-0 (condemned)
        collected data-web-0
    "#]]);
}

#[test]
fn a_list_that_cannot_be_read_is_ignored_whole_and_said_so() {
    let mut world = World::running(3);
    world.events.clear();
    world.annotate(RESERVED, "0,x");
    world.run();
    assert_eq!(world.tell(), "\n");
    check(
        &world.condition("AnnotationsValid"),
        expect![[
            r#"AnnotationsValid=False InvalidAnnotation: stead.dev/reserve-ordinals: "0,x" is ignored: 'x' is neither an ordinal nor a range of ordinals"#
        ]],
    );
    check(
        &world.events.join("\n"),
        expect![[
            r#"Warning InvalidAnnotation stead.dev/reserve-ordinals: "0,x" is ignored: 'x' is neither an ordinal nor a range of ordinals"#
        ]],
    );
    world.events.clear();
    world.unannotate(RESERVED);
    world.run();
    check(&world.condition("AnnotationsValid"), expect!["AnnotationsValid=True AllRead: "]);
    assert!(world.events.is_empty());
}
