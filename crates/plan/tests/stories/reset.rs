//! Resetting one replica: its pod ends, its claims go, both are made anew, and nobody else notices.

use expect_test::expect;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use stead_plan::statefulset::wishes::RESETTING;

use crate::check;
use crate::world::{World, claim_spec, web};

const RESET: &str = "stead.dev/reset";

fn claim_uid(world: &World, claim: &str) -> Option<String> {
    world.claims[claim].metadata.uid.clone()
}

#[test]
fn a_replica_and_its_claim_are_made_anew_once_per_generation() {
    let mut world = World::running(3);
    let others = [world.uid("web-0"), world.uid("web-2")];
    let old = (world.uid("web-1"), claim_uid(&world, "data-web-1"));
    world.annotate(RESET, "1=1");
    world.run();
    world.told(expect![[r#"
        delete web-1 (reset)
        delete data-web-1
        collected data-web-1
        create web-1@a
    "#]]);
    assert_eq!([world.uid("web-0"), world.uid("web-2")], others, "the others are untouched");
    let new = (world.uid("web-1"), claim_uid(&world, "data-web-1"));
    assert!(new.0 != old.0 && new.1 != old.1);
    // Once: not when the pod is lost, not when the annotation goes and returns.
    world.delete_pod("web-1");
    world.run();
    world.unannotate(RESET);
    world.run();
    world.annotate(RESET, "1=1");
    world.run();
    world.told(expect![[r#"
        create web-1@a
    "#]]);
    assert_eq!(claim_uid(&world, "data-web-1"), new.1);
    world.annotate(RESET, "1=2");
    world.run();
    assert_ne!(claim_uid(&world, "data-web-1"), new.1, "a new generation is a new reset");
}

#[test]
fn all_claims_of_the_replica_go_whatever_is_interrupted() {
    let mut set = web(1);
    let wal = PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("wal".to_owned()), ..ObjectMeta::default() },
        spec: Some(claim_spec("1Gi")),
        ..PersistentVolumeClaim::default()
    };
    set.spec.get_or_insert_default().volume_claim_templates.get_or_insert_default().push(wal);
    let mut world = World::up(set);
    world.annotate(RESET, "0=1");
    world.settle();
    world.gone("web-0");
    // The controller died after the first of the two claims.
    world.delete_claim("data-web-0");
    world.tell();
    world.run();
    world.told(expect![[r#"
        delete wal-web-0
        collected wal-web-0
        create web-0@a
    "#]]);
}

#[test]
fn a_claim_goes_only_after_its_pod() {
    let mut world = World::running(2);
    world.annotate(RESET, "1=1");
    world.settle();
    world.told(expect![[r#"
        delete web-1 (reset)
    "#]]);
    assert_eq!(world.waits(), ["web-1 is terminating and holds its ordinal until it is gone"]);
    assert!(world.claims["data-web-1"].metadata.deletion_timestamp.is_none());
}

#[test]
fn several_resets_go_one_after_the_other() {
    let mut world = World::running(3);
    world.annotate(RESET, "0=1,2=1,7=1");
    world.run();
    world.told(expect![[r#"
        delete web-2 (reset)
        delete data-web-2
        collected data-web-2
        create web-2@a
        delete web-0 (reset)
        delete data-web-0
        collected data-web-0
        create web-0@a
    "#]]);
}

#[test]
fn a_broken_replica_can_be_reset_and_a_paused_set_too() {
    let mut world = World::running(2);
    world.annotate("stead.dev/paused", "true");
    world.wait_s(60);
    world.unready("web-1");
    world.wait_s(60);
    world.settle();
    world.annotate(RESET, "1=1");
    world.settle();
    assert_eq!(world.annotation(RESETTING), None, "it comes before nobody");
    world.run();
    world.told(expect![[r#"
        delete web-1 (reset)
        delete data-web-1
        collected data-web-1
        create web-1@a
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
fn a_set_made_again_over_claims_of_that_generation_resets_nothing() {
    let mut world = World::running(1);
    world.annotate(RESET, "0=1");
    world.run();
    let claim = claim_uid(&world, "data-web-0");
    world.pods.clear();
    world.set.metadata.uid = Some("set-2".to_owned());
    world.set.status = None;
    world.run();
    assert_eq!(claim_uid(&world, "data-web-0"), claim);
}

#[test]
fn a_claim_stays_while_another_has_the_name_of_its_replica() {
    let mut world = World::running(2);
    world.pods.remove("web-1");
    let mut stranger = world.pods["web-0"].clone();
    stranger.metadata.name = Some("web-1".to_owned());
    stranger.metadata.uid = Some("stranger".to_owned());
    stranger.metadata.owner_references = None;
    stranger.metadata.labels = None;
    world.pods.insert("web-1".to_owned(), stranger);
    world.annotate(RESET, "1=1");
    world.run();
    assert_eq!(world.tell(), "\n", "there is no replica to be made anew");
    assert_eq!(world.waits(), ["web-1 is not this set's pod, but has its name"]);
}

#[test]
fn a_replica_that_is_down_goes_first() {
    let mut world = World::running(2);
    world.wait_s(60);
    world.unready("web-0");
    world.annotate(RESET, "0=1,1=1");
    world.sync();
    assert_eq!(world.tell(), "delete web-0 (reset)\n");
}

#[test]
fn a_reset_whose_claim_takes_its_time_to_go_is_finished_before_another_one_begins() {
    let mut world = World::running(2);
    world.wait_s(60);
    world.annotate(RESET, "1=1");
    world.settle();
    world.gone("web-1");
    let mut going = world.claims["data-web-1"].clone();
    world.sync();
    // Something still protects the claim.
    going.metadata.deletion_timestamp = Some(Time(world.now));
    world.claims.insert("data-web-1".to_owned(), going);
    world.unready("web-0");
    world.annotate(RESET, "0=1,1=1");
    world.tell();
    world.settle();
    assert_eq!(world.tell(), "\n");
    assert!(world.waits().contains(&"web-1 is being made anew with its claims".to_owned()), "{:?}", world.waits());
}

#[test]
fn a_replica_that_is_replaced_anyway_is_deleted_once() {
    let mut world = World::running(2);
    world.image("broken");
    world.run_but(&["web-1"]);
    world.tell();
    world.image("c");
    world.annotate(RESET, "1=1");
    world.sync();
    assert_eq!(world.tell(), "delete web-1 (broken)\n");
}

fn without_claims(replicas: i32) -> World {
    let mut set = web(replicas);
    set.spec.get_or_insert_default().volume_claim_templates = None;
    World::up(set)
}

#[test]
fn a_lower_replica_that_breaks_meanwhile_is_made_anew_first_in_an_ordered_set() {
    let mut world = World::running(3);
    world.wait_s(60);
    world.annotate(RESET, "2=1");
    world.settle();
    world.unready("web-1");
    world.gone("web-2");
    world.settle();
    world.told(expect![[r#"
        delete web-2 (reset)
        delete data-web-2
        collected data-web-2
    "#]]);
    // web-2 is made after web-1, which turns out to be corrupt.
    world.annotate(RESET, "1=1,2=1");
    world.settle();
    assert_eq!(world.tell(), "\n", "it may still come up");
    world.wait_s(30);
    world.run();
    world.told(expect![[r#"
        delete web-1 (reset)
        delete data-web-1
        collected data-web-1
        create web-1@a
        create web-2@a
    "#]]);
}

#[test]
fn replicas_without_claims_go_one_after_the_other_and_those_that_are_down_first() {
    let mut world = without_claims(3);
    world.wait_s(60);
    world.unready("web-2");
    world.annotate(RESET, "0=1,2=1");
    world.run();
    world.told(expect![[r#"
        replace web-2@a (reset)
        replace web-0@a (reset)
    "#]]);
    world.wait_s(60);
    world.unready("web-0");
    world.annotate(RESET, "0=2,2=2");
    world.run();
    world.told(expect![[r#"
        replace web-0@a (reset)
        replace web-2@a (reset)
    "#]]);
    // Asked for while another one is in work.
    world.annotate(RESET, "0=2,2=3");
    world.settle();
    world.gone("web-2");
    world.settle();
    world.annotate(RESET, "0=3,2=3");
    world.settle();
    world.told(expect![[r#"
        replace web-2@a (reset)
    "#]]);
}

#[test]
fn what_was_made_anew_once_is_not_again_because_its_pod_was_rolled() {
    let mut world = World::running(3);
    world.annotate(RESET, "2=1");
    world.run();
    world.unannotate(RESET);
    world.image("b");
    world.run();
    world.tell();
    world.annotate(RESET, "2=1");
    world.run();
    assert_eq!(world.tell(), "\n", "its claim is of that generation");
}

#[test]
fn a_healthy_replica_waits_until_all_others_are_up() {
    let mut world = World::parallel(3);
    world.wait_s(60);
    world.unready("web-0");
    world.annotate(RESET, "1=1");
    world.settle();
    assert_eq!(world.tell(), "\n");
    assert_eq!(world.waits(), ["web-0 is not running and ready"]);
    world.ready("web-0");
    world.run();
    let told = world.tell();
    assert!(told.starts_with("delete web-1 (reset)"), "{told}");
}
