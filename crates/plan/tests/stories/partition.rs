//! The partition, and the lesson that uses it: U6 to U8.

use expect_test::expect;

use crate::check;
use crate::world::World;

#[test]
fn u06_the_partition_holds_back_the_lower_replicas() {
    let mut world = World::running(3);
    world.partition(3);
    world.image("b");
    world.run();
    assert_eq!(world.tell(), "\n", "nothing moves");
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=0@b"]);
    world.partition(2);
    world.run();
    world.told(expect![[r#"
            replace web-2@b (outdated)
        "#]]);
    world.delete_pod("web-0");
    world.delete_pod("web-2");
    world.run();
    world.told(expect![[r#"
        create web-0@a
        create web-2@b
    "#]]);
    world.partition(0);
    world.run();
    world.told(expect![[r#"
            replace web-1@b (outdated)
            replace web-0@b (outdated)
        "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@b updated=3@b"]);
}

#[test]
fn u07_a_failed_pod_that_is_held_is_waited_for() {
    let mut world = World::running(3);
    world.partition(1);
    world.image("b");
    world.run();
    world.phase("web-0", "Failed");
    world.delete_pod("web-0");
    world.tell();
    world.settle();
    check(&world.counts(), expect!["replicas=3 ready=2 available=2 current=0@a updated=2@b"]);
    assert_eq!(world.waits(), ["web-0 is terminating and holds its ordinal until it is gone"]);
    world.gone("web-0");
    world.run();
    world.told(expect![[r#"
        create web-0@a
    "#]]);
}

#[test]
fn u08_raising_the_partition_moves_replicas_back() {
    let mut world = World::running(3);
    world.partition(1);
    world.image("b");
    world.run();
    world.tell();
    world.partition(3);
    world.run();
    world.told(expect![[r#"
            replace web-2@a (outdated)
            replace web-1@a (outdated)
        "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=0@b"]);
}

#[test]
fn u08_raising_the_partition_leaves_replicas_alone_when_told_so() {
    let mut world = World::running(3);
    world.annotate("stead.dev/partition-raise", "hold");
    world.partition(1);
    world.image("b");
    world.run();
    world.partition(3);
    world.tell();
    world.run();
    assert_eq!(world.tell(), "\n");
    world.delete_pod("web-2");
    world.run();
    world.told(expect![[r#"
        create web-2@a
    "#]]);
}

#[test]
fn u08_the_partition_never_moves_replicas_forward() {
    // Re-created over orphans of an older revision: what is below the partition stays as it is.
    let mut world = World::running(2);
    for pod in world.pods.values_mut() {
        pod.metadata.owner_references = None;
    }
    for revision in world.revisions.values_mut() {
        revision.metadata.owner_references = None;
    }
    world.set.metadata.uid = Some("set-2".to_owned());
    world.set.status = None;
    world.partition(2);
    world.image("b");
    world.run();
    world.image("c");
    world.run();
    world.told(expect![[r#"
        adopt revision a
        adopt web-0
        adopt web-1
    "#]]);
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
    "#]],
    );
}

#[test]
fn the_lesson_update_with_partition_break_and_raise() {
    let mut world = World::running(3);
    world.scale(2);
    world.run();
    world.scale(3);
    world.run();
    world.told(expect![[r#"
            replace web-2@a (condemned)
        "#]]);
    world.partition(1);
    world.annotate("kubernetes.io/change-cause", "kubectl set image statefulset/web web=b --record=true");
    world.image("b");
    world.run();
    world.told(expect![[r#"
            replace web-2@b (outdated)
            replace web-1@b (outdated)
        "#]]);
    let causes: Vec<_> = world.revisions.values().filter_map(|r| r.metadata.annotations.clone()).collect();
    assert_eq!(causes.len(), 1, "the change cause is kept with its revision: {causes:?}");
    world.partition(3);
    world.run();
    world.told(expect![[r#"
            replace web-2@a (outdated)
            replace web-1@a (outdated)
        "#]]);
}

#[test]
fn raising_the_partition_over_a_broken_replica_brings_it_back_though_another_waits() {
    let mut world = World::running(3);
    world.partition(1);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.tell();
    world.partition(3);
    world.run();
    world.told(expect![[r#"
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
}

#[test]
fn a_replica_between_two_revisions_goes_back_too_when_the_partition_is_raised() {
    let mut world = World::running(2);
    world.partition(1);
    world.image("b");
    world.run();
    world.tell();
    world.image("c");
    world.partition(2);
    world.run();
    world.told(expect!["replace web-1@a (outdated)\n"]);
}

#[test]
fn what_was_undone_goes_back_too_when_the_partition_is_raised_over_it() {
    let mut world = World::running(3);
    world.wait_s(60);
    world.partition(1);
    world.image("b");
    world.run();
    world.tell();
    // The current revision is the newest again; what was tried in between was still made after it.
    world.image("a");
    world.partition(3);
    world.run();
    world.told(expect![[r#"
        renumber a to 3
        replace web-2@a (outdated)
        replace web-1@a (outdated)
    "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=3@a"]);
}

#[test]
fn held_back_replicas_stay_though_they_never_stood_until_the_template_is_another() {
    let mut world = World::running(3);
    world.annotate("stead.dev/partition-raise", "hold");
    world.partition(2);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.tell();
    world.partition(3);
    world.run_but(&["web-2"]);
    assert_eq!(world.tell(), "\n", "Kubernetes leaves it, too");
    world.image("c");
    world.run();
    world.told(expect![[r#"
        replace web-2@a (broken)
    "#]]);
}

#[test]
fn s04_counts_tell_three_revisions_apart() {
    let mut world = World::running(4);
    world.partition(3);
    world.image("b");
    world.run();
    world.partition(2);
    world.image("c");
    world.run_but(&["web-3"]);
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
        web-2@a ready
        web-3@c not ready
    "#]],
    );
    check(&world.counts(), expect!["replicas=4 ready=3 available=3 current=3@a updated=1@c"]);
    // One of the intermediate revision among them.
    world.annotate("stead.dev/partition-raise", "hold");
    world.partition(4);
    world.image("b");
    world.delete_pod("web-3");
    world.run();
    world.partition(3);
    world.run();
    world.image("d");
    world.partition(2);
    world.settle();
    check(&world.counts(), expect!["replicas=4 ready=4 available=4 current=3@a updated=0@d"]);
}
