//! How replicas come and come back: U1, U2, U12, U13, U19.

use expect_test::expect;

use crate::world::{World, web};
use crate::{check, parallel};

#[test]
fn u01_replicas_appear_strictly_one_after_the_other() {
    let mut world = World::new(web(3));
    world.settle();
    assert_eq!(world.waits(), ["web-0 is not running and ready"]);
    assert_eq!(world.claims.keys().collect::<Vec<_>>(), ["data-web-0"], "claims come with their pod");
    world.run();
    world.told(expect![[r#"
        create web-0@a
        create web-1@a
        create web-2@a
    "#]]);
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=3@a"]);
    assert_eq!(world.history(), "a:1");
    check(
        &world.events.join("\n"),
        expect![[r#"
        Normal SuccessfulCreate Create Claim data-web-0 Pod web-0 in StatefulSet web success
        Normal SuccessfulCreate Create Pod web-0 in StatefulSet web successful
        Normal SuccessfulCreate Create Claim data-web-1 Pod web-1 in StatefulSet web success
        Normal SuccessfulCreate Create Pod web-1 in StatefulSet web successful
        Normal SuccessfulCreate Create Claim data-web-2 Pod web-2 in StatefulSet web success
        Normal SuccessfulCreate Create Pod web-2 in StatefulSet web successful"#]],
    );
}

#[test]
fn u02_parallel_replicas_do_not_wait_for_each_other() {
    let mut set = web(3);
    parallel(set.spec.get_or_insert_default());
    let mut world = World::new(set);
    world.settle();
    assert_eq!(world.pods.len(), 3);
    world.run_but(&["web-0"]);
    check(&world.counts(), expect!["replicas=3 ready=2 available=2 current=3@a updated=3@a"]);
}

#[test]
fn u12_an_evicted_replica_returns_with_its_name_and_claim() {
    let mut world = World::running(3);
    world.scale(4);
    world.phase("web-1", "Failed");
    let (claim, above) = (world.claims["data-web-1"].metadata.uid.clone(), world.uid("web-2"));
    world.run();
    world.told(expect![[r#"
            replace web-1@a (ended)
            create web-3@a
        "#]]);
    assert_eq!(world.claims["data-web-1"].metadata.uid, claim);
    assert_eq!(world.uid("web-2"), above);
}

#[test]
fn u13_a_replica_on_a_lost_node_is_not_replaced() {
    let mut world = World::running(3);
    world.delete_pod("web-1");
    world.image("b");
    world.scale(4);
    world.settle();
    assert_eq!(world.tell(), "\n");
    assert_eq!(world.waits(), ["web-1 is terminating and holds its ordinal until it is gone"]);
}

#[test]
fn u19_min_ready_seconds_hold_back_the_next_replica() {
    let mut set = web(2);
    set.spec.get_or_insert_default().min_ready_seconds = Some(30);
    let mut world = World::new(set);
    world.settle();
    world.ready("web-0");
    world.settle();
    let wake_at = world.plan().wake_at.expect("it knows when to look again");
    assert_eq!(wake_at.duration_since(world.now).as_secs(), 30);
    assert_eq!(world.pods.len(), 1);
    world.wait_s(30);
    world.settle();
    assert_eq!(world.pods.len(), 2);
    world.ready("web-1");
    world.wait_s(30);
    world.settle();
    check(&world.counts(), expect!["replicas=2 ready=2 available=2 current=2@a updated=2@a"]);
    world.edit(|spec| spec.min_ready_seconds = Some(3600));
    world.settle();
    check(&world.counts(), expect!["replicas=2 ready=2 available=0 current=2@a updated=2@a"]);
    world.edit(|spec| spec.min_ready_seconds = Some(0));
    world.settle();
    check(&world.counts(), expect!["replicas=2 ready=2 available=2 current=2@a updated=2@a"]);
    assert_eq!(world.plan().wake_at, None);
}
