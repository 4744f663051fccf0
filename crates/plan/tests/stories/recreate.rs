//! The strategy Recreate of Kubernetes 1.37: every old pod is gone before the first new one comes.

use expect_test::expect;
use k8s_openapi::api::apps::v1::{StatefulSetSpec, StatefulSetUpdateStrategy};

use crate::world::{World, web};
use crate::{check, parallel, retention};

fn recreate(spec: &mut StatefulSetSpec) {
    spec.update_strategy = Some(StatefulSetUpdateStrategy { type_: Some("Recreate".to_owned()), rolling_update: None });
}

#[test]
fn all_old_replicas_go_before_the_first_new_one_comes() {
    let mut set = web(3);
    recreate(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    world.image("b");
    world.settle();
    world.told(expect![[r#"
        delete web-0 (outdated)
        delete web-1 (outdated)
        delete web-2 (outdated)
    "#]]);
    assert_eq!(world.condition("Progressing").split(':').next(), Some("Progressing=True RollingOut"));
    world.gone("web-2");
    world.gone("web-0");
    world.settle();
    assert_eq!(world.tell(), "\n", "the last old one is still there");
    assert_eq!(world.waits(), ["web-1 is terminating and holds its ordinal until it is gone"]);
    world.run();
    world.told(expect![[r#"
        create web-0@b
        create web-1@b
        create web-2@b
    "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@b updated=3@b"]);
}

#[test]
fn a_parallel_set_comes_back_at_once_and_health_is_no_matter() {
    let mut set = web(3);
    recreate(set.spec.get_or_insert_default());
    parallel(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    world.wait_s(60);
    world.unready("web-1");
    world.image("b");
    world.scale(2);
    world.run();
    world.told(expect![[r#"
        delete web-2 (condemned)
        delete web-0 (outdated)
        delete web-1 (outdated)
        create web-0@b
        create web-1@b
    "#]]);
}

#[test]
fn a_template_that_changes_meanwhile_lets_the_intermediate_replicas_go_too() {
    let mut set = web(2);
    recreate(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    world.image("b");
    world.settle();
    world.gone("web-0");
    world.gone("web-1");
    world.settle();
    world.image("c");
    world.tell();
    world.run();
    world.told(expect![[r#"
            replace web-0@c (broken)
            create web-1@c
        "#]]);
}

#[test]
fn only_the_claims_of_those_that_do_not_come_back_go_with_them() {
    let mut set = web(2);
    recreate(set.spec.get_or_insert_default());
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    let claims = world.claims.clone();
    world.image("b");
    world.scale(1);
    world.run();
    world.told(expect![[r#"
        own data-web-1: pod
        delete web-1 (condemned)
        delete web-0 (outdated)
        collected data-web-1
        create web-0@b
    "#]]);
    assert_eq!(world.claims["data-web-0"].metadata.uid, claims["data-web-0"].metadata.uid);
    assert!(!world.claims.contains_key("data-web-1"));
}

#[test]
fn the_claim_of_a_replica_that_is_condemned_on_its_way_out_goes_with_it() {
    let mut set = web(3);
    recreate(set.spec.get_or_insert_default());
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    world.image("b");
    world.settle();
    world.scale(2);
    world.run();
    world.told(expect![[r#"
        delete web-0 (outdated)
        delete web-1 (outdated)
        delete web-2 (outdated)
        own data-web-2: pod
        collected data-web-2
        create web-0@b
        create web-1@b
    "#]]);
}
