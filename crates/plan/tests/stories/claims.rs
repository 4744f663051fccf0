//! Claims and who owns them: U14 to U16, U23.

use expect_test::expect;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use stead_plan::statefulset::Action;

use crate::world::{World, web};
use crate::{check, retention};

#[test]
fn u14_claims_of_condemned_replicas_go_with_them() {
    let mut set = web(3);
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    world.scale(1);
    world.run();
    world.told(expect![[r#"
        own data-web-1: pod
        own data-web-2: pod
        delete web-2 (condemned)
        collected data-web-2
        delete web-1 (condemned)
        collected data-web-1
    "#]]);
    world.scale(3);
    world.run();
    world.told(expect![[r#"
        create web-1@a
        create web-2@a
    "#]]);
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
    world.told(expect![[r#"
        collected data-web-1
        create web-1@a
    "#]]);
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
    world.told(expect![[r#"
        own data-web-0: nobody
    "#]]);
    assert!(owner(&world).is_empty());
}

#[test]
fn u16_a_deleted_claim_and_pod_both_come_back_fresh() {
    let mut world = World::running(3);
    let old = (world.claims["data-web-1"].metadata.uid.clone(), world.uid("web-0"), world.uid("web-2"));
    world.delete_claim("data-web-1");
    world.delete_pod("web-1");
    world.run();
    world.told(expect![[r#"
        collected data-web-1
        create web-1@a
    "#]]);
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
fn a_claim_that_is_gone_is_made_again_only_for_a_pod_that_has_yet_to_start() {
    let mut world = World::running(1);
    world.scale(2);
    world.settle();
    world.claims.clear();
    world.settle();
    assert!(world.claims.contains_key("data-web-1"));
    assert!(!world.claims.contains_key("data-web-0"), "its pod runs on what is mounted");
}

#[test]
fn a_replica_that_is_wanted_again_keeps_its_claim_though_its_pod_is_replaced() {
    type Spoil = fn(&mut World);
    let spoils: [(&str, Spoil); 3] = [
        ("it has ended", |world| world.phase("web-2", "Failed")),
        ("it never stood", |world| world.image("c")),
        ("all are replaced", |world| {
            world.edit(|spec| spec.update_strategy.get_or_insert_default().type_ = Some("Recreate".to_owned()));
            world.image("c");
        }),
    ];
    for (why, spoil) in spoils {
        let mut set = web(3);
        retention(set.spec.get_or_insert_default(), "Delete", "Retain");
        let mut world = World::up(set);
        world.image("broken");
        world.run_but(&["web-2"]);
        let claim = world.claims["data-web-2"].metadata.uid.clone();
        // Its claim is given to the pod, and the set is scaled back before the pod is asked to end.
        world.refuses = |_, action| matches!(action, Action::DeletePod { .. });
        world.scale(1);
        world.settle();
        assert!(world.claims["data-web-2"].metadata.owner_references.is_some(), "{why}");
        world.scale(3);
        spoil(&mut world);
        world.refuses = |_, _| false;
        world.run();
        assert_eq!(world.claims["data-web-2"].metadata.uid, claim, "{why}");
    }
}

#[test]
fn a_pod_stays_until_its_claim_does_not_go_with_it_any_more() {
    let mut set = web(2);
    retention(set.spec.get_or_insert_default(), "Delete", "Retain");
    let mut world = World::up(set);
    world.refuses = |_, action| matches!(action, Action::DeletePod { .. });
    world.scale(1);
    world.settle();
    world.tell();
    world.refuses = |_, action| matches!(action, Action::OwnClaim { .. });
    world.scale(2);
    world.image("b");
    world.run();
    assert_eq!(world.tell(), "\n");
    world.refuses = |_, _| false;
    world.run();
    world.told(expect![[r#"
        own data-web-1: nobody
        replace web-1@b (outdated)
        replace web-0@b (outdated)
    "#]]);
}

#[test]
fn two_templates_of_one_name_make_one_claim() {
    let mut set = web(1);
    let templates = set.spec.get_or_insert_default().volume_claim_templates.get_or_insert_default();
    templates.extend_from_within(..);
    let mut world = World::new(set);
    world.run();
    world.told(expect![[r#"
        create web-0@a
    "#]]);
}
