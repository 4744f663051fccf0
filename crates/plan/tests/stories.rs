//! The worked scenarios U1–U24 of the contract as stories, with the differences that Stead's design
//! makes. What a story writes is compared with a golden transcript; the invariants are checked by
//! the world at every step.

mod world;

use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSetCondition, StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use world::{World, web};

fn check(told: &str, expected: Expect) {
    expected.assert_eq(told);
}

fn parallel(spec: &mut StatefulSetSpec) {
    spec.pod_management_policy = Some("Parallel".to_owned());
}

fn on_delete(spec: &mut StatefulSetSpec) {
    spec.update_strategy = Some(StatefulSetUpdateStrategy { type_: Some("OnDelete".to_owned()), rolling_update: None });
}

fn retention(spec: &mut StatefulSetSpec, when_scaled: &str, when_deleted: &str) {
    spec.persistent_volume_claim_retention_policy = Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_scaled: Some(when_scaled.to_owned()),
        when_deleted: Some(when_deleted.to_owned()),
    });
}

fn start_at(spec: &mut StatefulSetSpec, start: i32) {
    spec.ordinals = Some(StatefulSetOrdinals { start: Some(start) });
}

#[test]
fn u01_replicas_appear_strictly_one_after_the_other() {
    let mut world = World::new(web(3));
    world.settle();
    assert_eq!(world.waits(), ["web-0 is not running and ready"]);
    assert_eq!(world.claims.keys().collect::<Vec<_>>(), ["data-web-0"], "claims come with their pod");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        create web-0@a
        create web-1@a
        create web-2@a
    "#]],
    );
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
fn u03_an_update_goes_from_the_top_one_at_a_time() {
    let mut world = World::running(3);
    world.image("b");
    world.sync();
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=2@a updated=0@b"]);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (outdated)
        create web-2@b
        delete web-1 (outdated)
        create web-1@b
        delete web-0 (outdated)
        create web-0@b
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        renumber a to 3
        delete web-2 (outdated)
        create web-2@a
        delete web-1 (outdated)
        create web-1@a
        delete web-0 (outdated)
        create web-0@a
    "#]],
    );
    assert_eq!(world.history(), "b:2 a:3");
}

#[test]
fn u05_a_broken_update_stops_at_the_top_and_heals_when_the_template_is_put_back() {
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
        check(
            &world.tell(),
            expect![[r#"
            renumber a to 3
            delete web-2 (broken)
            create web-2@a
        "#]],
        );
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
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (outdated)
        create web-2@b
        delete web-1 (outdated)
        create web-1@b
        delete web-0 (outdated)
        create web-0@b
    "#]],
    );
}

#[test]
fn u05_a_fix_may_come_as_a_third_revision() {
    let mut world = World::running(3);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.image("fixed");
    world.tell();
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (broken)
        create web-2@fixed
        delete web-1 (outdated)
        create web-1@fixed
        delete web-0 (outdated)
        create web-0@fixed
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        renumber a to 3
        delete web-2 (broken)
        create web-2@a
    "#]],
    );
}

#[test]
fn u05_a_replica_lost_while_the_update_is_in_doubt_returns_at_the_old_revision() {
    let mut world = World::running(3);
    world.image("broken");
    world.run_but(&["web-2"]);
    world.delete_pod("web-0");
    world.tell();
    world.run_but(&["web-2"]);
    check(
        &world.tell(),
        expect![[r#"
        create web-0@a
    "#]],
    );
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
fn u06_the_partition_holds_back_the_lower_replicas() {
    let mut world = World::running(3);
    world.partition(3);
    world.image("b");
    world.run();
    assert_eq!(world.tell(), "\n", "nothing moves");
    check(&world.counts(), expect!["replicas=3 ready=3 available=3 current=3@a updated=0@b"]);
    world.partition(2);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (outdated)
        create web-2@b
    "#]],
    );
    world.delete_pod("web-0");
    world.delete_pod("web-2");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        create web-0@a
        create web-2@b
    "#]],
    );
    world.partition(0);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-1 (outdated)
        create web-1@b
        delete web-0 (outdated)
        create web-0@b
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        create web-0@a
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (outdated)
        create web-2@a
        delete web-1 (outdated)
        create web-1@a
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        create web-2@a
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        adopt revision a
        adopt web-0
        adopt web-1
    "#]],
    );
    check(
        &world.show(),
        expect![[r#"
        web-0@a ready
        web-1@a ready
    "#]],
    );
}

#[test]
fn u09_ordinals_may_start_elsewhere() {
    let mut world = World::running(2);
    world.edit(|spec| {
        start_at(spec, 2);
        spec.replicas = Some(3);
    });
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        create web-2@a
        create web-3@a
        create web-4@a
        delete web-1 (condemned)
        delete web-0 (condemned)
    "#]],
    );
    world.partition(1);
    world.image("b");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-4 (outdated)
        create web-4@b
        delete web-3 (outdated)
        create web-3@b
    "#]],
    );
}

#[test]
fn u10_scaling_down_goes_from_the_top_past_one_unhealthy_replica_only() {
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
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (condemned)
        delete web-1 (condemned)
        delete web-0 (condemned)
    "#]],
    );
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

#[test]
fn u12_an_evicted_replica_returns_with_its_name_and_claim() {
    let mut world = World::running(3);
    world.scale(4);
    world.phase("web-1", "Failed");
    let (claim, above) = (world.claims["data-web-1"].metadata.uid.clone(), world.uid("web-2"));
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-1 (ended)
        create web-1@a
        create web-3@a
    "#]],
    );
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
fn u14_claims_of_condemned_replicas_go_with_them() {
    let mut set = web(3);
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    world.scale(1);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        own data-web-1: pod
        own data-web-2: pod
        delete web-2 (condemned)
        collected data-web-2
        delete web-1 (condemned)
        collected data-web-1
    "#]],
    );
    world.scale(3);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        create web-1@a
        create web-2@a
    "#]],
    );
}

#[test]
fn u14_a_doomed_claim_is_not_used_again() {
    let mut set = web(2);
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    world.scale(1);
    world.settle();
    // The pod goes, the collector is slow, and the set is scaled up again.
    let doomed = world.claims["data-web-1"].clone();
    world.gone("web-1");
    world.claims.insert("data-web-1".to_owned(), doomed);
    world.scale(2);
    world.tell();
    world.settle();
    assert_eq!(world.tell(), "\n");
    assert_eq!(world.waits(), ["data-web-1 belongs to what is gone and will be deleted"]);
    world.collect();
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        collected data-web-1
        create web-1@a
    "#]],
    );
}

#[test]
fn u15_claims_may_go_with_the_set() {
    let mut set = web(1);
    retention(set.spec.get_or_insert_default(), "Retain", "Delete");
    let mut world = World::up(set);
    let owner = |world: &World| {
        let owners = world.claims["data-web-0"].metadata.owner_references.clone();
        owners.unwrap_or_default().into_iter().map(|owner| owner.kind).collect::<Vec<_>>()
    };
    assert_eq!(owner(&world), ["StatefulSet"]);
    world.edit(|spec| retention(spec, "Retain", "Retain"));
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        own data-web-0: nobody
    "#]],
    );
    assert!(owner(&world).is_empty());
}

#[test]
fn u16_a_deleted_claim_and_pod_both_come_back_fresh() {
    let mut world = World::running(3);
    let old = (world.claims["data-web-1"].metadata.uid.clone(), world.uid("web-0"), world.uid("web-2"));
    world.delete_claim("data-web-1");
    world.delete_pod("web-1");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        collected data-web-1
        create web-1@a
    "#]],
    );
    assert_ne!(world.claims["data-web-1"].metadata.uid, old.0);
    assert_eq!((world.uid("web-0"), world.uid("web-2")), (old.1, old.2), "the others are untouched");
}

#[test]
fn u16_a_pod_is_not_made_on_a_claim_that_is_going() {
    let mut world = World::running(1);
    world.delete_claim("data-web-0");
    world.delete_pod("web-0");
    let going = world.claims["data-web-0"].clone();
    world.gone("web-0");
    world.claims.insert("data-web-0".to_owned(), going);
    world.events.clear();
    world.settle();
    assert_eq!(world.waits(), ["data-web-0 is being deleted"]);
    check(
        &world.events[0],
        expect![
            "Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: pvc data-web-0 is being deleted"
        ],
    );
    world.collect();
    world.run();
    assert!(world.pods.contains_key("web-0"));
}

#[test]
fn u17_a_pod_without_the_labels_is_let_go_and_taken_back() {
    let mut world = World::running(1);
    let uid = world.uid("web-0");
    let relabel = |world: &mut World, value: Option<&str>| {
        let pod = world.pods.get_mut("web-0").expect("web-0 exists");
        let labels = pod.metadata.labels.get_or_insert_default();
        match value {
            Some(value) => labels.insert("app".to_owned(), value.to_owned()),
            None => labels.remove("app"),
        };
    };
    relabel(&mut world, None);
    world.settle();
    assert_eq!(world.waits(), ["web-0 is not this set's pod, but has its name"]);
    relabel(&mut world, Some("web"));
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        release web-0
        adopt web-0
    "#]],
    );
    assert_eq!(world.uid("web-0"), uid);
}

#[test]
fn u18_a_set_made_again_over_its_orphans_restarts_nothing() {
    let mut world = World::running(3);
    for pod in world.pods.values_mut() {
        pod.metadata.owner_references = None;
    }
    for revision in world.revisions.values_mut() {
        revision.metadata.owner_references = None;
    }
    world.set.metadata.uid = Some("set-2".to_owned());
    world.set.metadata.generation = Some(1);
    world.set.status = None;
    world.scale(2);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        adopt revision a
        adopt web-0
        adopt web-1
        adopt web-2
        delete web-2 (condemned)
    "#]],
    );
    assert_eq!(world.history(), "a:1");
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
    check(
        &world.tell(),
        expect![[r#"
        create web-0@b
        create web-1@b
    "#]],
    );
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
fn u22_labels_of_the_set_change_nothing() {
    let mut world = World::running(2);
    world.set.metadata.labels.get_or_insert_default().insert("tier".to_owned(), "db".to_owned());
    assert!(world.plan().is_empty());
}

#[test]
fn u23_a_claim_controlled_by_somebody_else_survives_scaling_down() {
    let mut set = web(2);
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    let claim = world.claims.get_mut("data-web-1").expect("the claim exists");
    claim.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: "keeper".to_owned(),
        uid: "keeper".to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    world.events.clear();
    world.scale(1);
    world.run();
    assert!(world.claims.contains_key("data-web-1"));
    let warning = world.events.iter().find(|event| event.starts_with("Warning")).expect("a warning");
    check(
        warning,
        expect![
            "Warning ConflictingController PersistentVolumeClaim data-web-1 has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim"
        ],
    );
}

#[test]
fn u24_conditions_of_others_survive_every_write() {
    let mut world = World::running(2);
    let condition =
        StatefulSetCondition { type_: "Mine".to_owned(), status: "True".to_owned(), ..StatefulSetCondition::default() };
    let status = world.set.status.get_or_insert_default();
    status.conditions = Some(vec![condition.clone()]);
    assert!(world.plan().is_empty());
    world.scale(3);
    world.run();
    assert_eq!(world.set.status.unwrap_or_default().conditions, Some(vec![condition]));
}

#[test]
fn the_lesson_update_with_partition_break_and_raise() {
    let mut world = World::running(3);
    world.scale(2);
    world.run();
    world.scale(3);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (condemned)
        create web-2@a
    "#]],
    );
    world.partition(1);
    world.annotate("kubernetes.io/change-cause", "kubectl set image statefulset/web web=b --record=true");
    world.image("b");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (outdated)
        create web-2@b
        delete web-1 (outdated)
        create web-1@b
    "#]],
    );
    let causes: Vec<_> = world.revisions.values().filter_map(|r| r.metadata.annotations.clone()).collect();
    assert_eq!(causes.len(), 1, "the change cause is kept with its revision: {causes:?}");
    world.partition(3);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (outdated)
        create web-2@a
        delete web-1 (outdated)
        create web-1@a
    "#]],
    );
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
    check(
        &world.tell(),
        expect![[r#"
        delete web-2 (broken)
        create web-2@a
    "#]],
    );
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
fn deleting_the_set_only_keeps_its_status() {
    let mut world = World::running(2);
    world.set.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    world.image("b");
    world.delete_pod("web-0");
    world.gone("web-0");
    world.settle();
    assert_eq!(world.tell(), "\n");
    check(&world.counts(), expect!["replicas=1 ready=1 available=1 current=1@a updated=0@?"]);
}

#[test]
fn several_replicas_may_be_down_when_the_set_says_so() {
    let mut set = web(4);
    let spec = set.spec.get_or_insert_default();
    parallel(spec);
    spec.update_strategy = Some(StatefulSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateStatefulSetStrategy {
            partition: Some(0),
            max_unavailable: Some(IntOrString::String("50%".to_owned())),
        }),
    });
    let mut world = World::up(set);
    world.image("b");
    world.sync();
    check(
        &world.tell(),
        expect![[r#"
        delete web-3 (outdated)
        delete web-2 (outdated)
    "#]],
    );
    world.settle();
    assert_eq!(world.tell(), "\n", "no more than two at once");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        create web-2@b
        create web-3@b
        delete web-1 (outdated)
        delete web-0 (outdated)
        create web-0@b
        create web-1@b
    "#]],
    );
}

#[test]
fn pods_of_others_do_not_shadow_an_ordinal() {
    let mut world = World::running(1);
    let mut impostor = world.pods["web-0"].clone();
    impostor.metadata.name = Some("web-01".to_owned());
    impostor.metadata.owner_references = None;
    world.pods.insert("web-01".to_owned(), impostor);
    world.scale(2);
    world.run();
    assert!(world.pods.contains_key("web-1"));
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
