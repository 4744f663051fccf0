//! Claims that follow their template's size, and claims that do not match it (S8).

use std::sync::Arc;

use expect_test::expect;
use k8s_openapi::api::storage::v1::StorageClass;

use crate::check;
use crate::world::World;

fn bound(replicas: i32) -> World {
    let mut world = World::running(replicas);
    world.provision();
    world.settle();
    world.events.clear();
    world
}

#[test]
fn claims_grow_replica_by_replica_in_the_order_of_a_rollout() {
    let mut world = bound(3);
    world.claim_size("2Gi");
    world.settle();
    world.told(expect![[r#"
        grow data-web-2 to 2Gi
    "#]]);
    assert_eq!(world.waits(), ["data-web-2 asks for more than its volume has so far"]);
    check(
        &world.condition("ClaimsMatch"),
        expect![
            "ClaimsMatch=False ClaimsGrowing: data-web-0: it is to grow to 2Gi; data-web-1: it is to grow to 2Gi; data-web-2: it is growing"
        ],
    );
    for _ in 0..3 {
        world.provision();
        world.settle();
    }
    world.told(expect![[r#"
        grow data-web-1 to 2Gi
        grow data-web-0 to 2Gi
    "#]]);
    check(&world.condition("ClaimsMatch"), expect!["ClaimsMatch=True ClaimsMatch: "]);
    check(
        &world.events.join("\n"),
        expect![[r#"
        Normal SuccessfulUpdate Update Claim data-web-2 Pod web-2 in StatefulSet web success
        Normal SuccessfulUpdate Update Claim data-web-1 Pod web-1 in StatefulSet web success
        Normal SuccessfulUpdate Update Claim data-web-0 Pod web-0 in StatefulSet web success"#]],
    );
    assert_eq!(world.history(), "a:1", "pods have nothing to do with it");
}

#[test]
fn a_full_volume_grows_though_its_replica_is_down() {
    let mut world = bound(2);
    world.wait_s(60);
    world.unready("web-0");
    world.claim_size("2Gi");
    world.settle();
    world.provision();
    world.settle();
    world.told(expect![[r#"
        grow data-web-1 to 2Gi
        grow data-web-0 to 2Gi
    "#]]);
}

#[test]
fn new_replicas_start_with_what_the_template_says_now() {
    let mut world = bound(1);
    world.claim_size("2Gi");
    world.scale(2);
    world.run();
    let size = |claim: &str| {
        let spec = world.claims[claim].spec.clone().unwrap_or_default();
        spec.resources.and_then(|resources| resources.requests).unwrap_or_default()["storage"].0.clone()
    };
    assert_eq!((size("data-web-0"), size("data-web-1")), ("2Gi".to_owned(), "2Gi".to_owned()));
}

#[test]
fn a_paused_set_lets_nothing_grow() {
    let mut world = bound(1);
    world.annotate("stead.dev/paused", "true");
    world.claim_size("2Gi");
    world.settle();
    assert_eq!(world.tell(), "\n");
}

#[test]
fn s08_claims_that_differ_from_their_template_are_named() {
    let mut world = bound(2);
    world.classes = vec![Arc::new(StorageClass::default())];
    world.claim_size("2Gi");
    world.settle();
    assert_eq!(world.tell(), "\n", "their class does not let them grow");
    // It is said once.
    world.sync();
    check(
        &world.condition("ClaimsMatch"),
        expect![
            "ClaimsMatch=False ClaimsDiffer: data-web-0: its size is 1Gi, the template says 2Gi; data-web-1: its size is 1Gi, the template says 2Gi"
        ],
    );
    check(
        &world.events.join("\n"),
        expect![
            "Warning ClaimsDiffer data-web-0: its size is 1Gi, the template says 2Gi; data-web-1: its size is 1Gi, the template says 2Gi"
        ],
    );
    world.edit(|spec| {
        let claim = spec.volume_claim_templates.get_or_insert_default()[0].spec.get_or_insert_default();
        claim.access_modes = Some(vec!["ReadWriteMany".to_owned()]);
        claim.storage_class_name = Some("fast".to_owned());
        claim.volume_mode = Some("Block".to_owned());
    });
    world.settle();
    check(
        &world.condition("ClaimsMatch"),
        expect![[
            r#"ClaimsMatch=False ClaimsDiffer: data-web-0: its class is "standard", the template says "fast"; data-web-0: its access is ["ReadWriteOnce"], the template says ["ReadWriteMany"]; data-web-0: its mode is "Filesystem", the template says "Block"; and 5 more"#
        ]],
    );
}

#[test]
fn a_claim_that_is_to_be_made_anew_is_not_grown_first() {
    // Found by a random life: the claim was asked to grow after it had been deleted.
    let mut world = bound(2);
    world.claim_size("2Gi");
    world.annotate("stead.dev/reset", "1=1");
    world.run();
    world.provision();
    world.run();
    world.told(expect![[r#"
        delete web-1 (reset)
        grow data-web-0 to 2Gi
        delete data-web-1
        collected data-web-1
        create web-1@a
    "#]]);
}
