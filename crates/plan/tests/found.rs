//! Stories about mistakes that the linter and the model checker found in the planner.

mod world;

use k8s_openapi::api::apps::v1::StatefulSetUpdateStrategy;
use stead_plan::statefulset::{Action, wishes};
use world::{World, retention, web};

#[test]
fn a_parallel_scale_down_says_whose_end_it_waits_for() {
    let mut world = World::parallel(2);
    world.scale(0);
    world.settle();
    let wanted = ["web-1", "web-0"].map(|pod| format!("{pod} is terminating and holds its ordinal until it is gone"));
    assert_eq!(world.waits(), wanted);
}

#[test]
fn an_ownerless_revision_is_adopted_before_it_is_renumbered() {
    let mut world = World::running(1);
    world.image("b");
    world.run();
    world.image("a");
    let oldest = world.revisions.values_mut().find(|revision| revision.revision == 1).expect("the first revision");
    oldest.metadata.owner_references = None;
    let plan = world.sync();
    assert!(plan.actions().any(|action| matches!(action, Action::AdoptRevision(_))));
    world.run();
    assert_eq!(world.history(), "b:2 a:3");
}

#[test]
fn a_claim_that_goes_with_its_pod_is_not_used_again_though_the_policy_has_changed() {
    let mut world = World::running(2);
    world.edit(|spec| retention(spec, "Delete", "Retain"));
    world.settle();
    world.scale(1);
    world.settle();
    let doomed = world.claims["data-web-1"].clone();
    // The collector is slow, and the user has second thoughts.
    world.pods.remove("web-1");
    world.edit(|spec| retention(spec, "Retain", "Retain"));
    world.scale(2);
    world.settle();
    assert!(!world.pods.contains_key("web-1"));
    assert_eq!(world.waits(), ["data-web-1 belongs to what is gone and will be deleted"]);
    world.collect();
    world.run();
    assert_ne!(world.claims["data-web-1"].metadata.uid, doomed.metadata.uid, "pod and claim are both new");
}

#[test]
fn a_set_made_again_does_not_use_claims_that_go_with_the_old_one() {
    let mut world = World::running(1);
    world.edit(|spec| retention(spec, "Retain", "Delete"));
    world.settle();
    // The set is deleted and made again; the pod is collected first.
    world.pods.clear();
    world.revisions.clear();
    world.set.metadata.uid = Some("set-2".to_owned());
    world.set.status = None;
    world.settle();
    assert!(world.pods.is_empty());
    assert_eq!(world.waits(), ["data-web-0 belongs to what is gone and will be deleted"]);
    world.collect();
    world.run();
    assert!(world.pods.contains_key("web-0"));
}

#[test]
fn a_reset_that_has_begun_is_finished_before_the_next_one_takes_a_replica_down() {
    let mut world = World::running(2);
    let old = world.claims.clone();
    world.annotate(wishes::RESET, "0=1");
    world.sync();
    // Another one is asked for while the first pod ends. It was taken first, so that neither came back.
    world.annotate(wishes::RESET, "0=1,1=1");
    world.settle();
    assert_eq!(world.waits(), ["web-0 is terminating and holds its ordinal until it is gone"]);
    world.run();
    assert_eq!(world.show(), "web-0@a ready\nweb-1@a ready\n");
    for claim in ["data-web-0", "data-web-1"] {
        assert_ne!(world.claims[claim].metadata.uid, old[claim].metadata.uid);
    }
}

#[test]
fn a_replica_that_is_lost_before_its_reset_keeps_its_claims_until_its_turn() {
    let mut world = World::running(2);
    let old = world.claims["data-web-0"].metadata.uid.clone();
    world.annotate(wishes::RESET, "1=1");
    world.sync();
    world.gone("web-1");
    world.sync();
    world.collect();
    // web-1 is made after web-0, which is lost now and asked for, too.
    world.annotate(wishes::RESET, "0=1,1=1");
    world.pods.remove("web-0");
    world.sync();
    assert!(world.pods.contains_key("web-0"), "others wait for it");
    assert_eq!(world.claims["data-web-0"].metadata.uid, old);
    world.run();
    assert_ne!(world.claims["data-web-0"].metadata.uid, old);
    assert_eq!(world.show(), "web-0@a ready\nweb-1@a ready\n");
}

#[test]
fn a_paused_set_does_not_bring_back_old_replicas_beside_new_ones_where_they_must_not_meet() {
    let mut set = web(2);
    let strategy = StatefulSetUpdateStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    set.spec.get_or_insert_default().update_strategy = Some(strategy);
    let mut world = World::up(set);
    world.image("b");
    world.sync();
    world.gone("web-0");
    world.gone("web-1");
    world.sync();
    world.annotate(wishes::PAUSED, "true");
    world.run();
    assert_eq!(world.show(), "web-0@b ready\nweb-1@b ready\n");
}

#[test]
fn a_claim_that_grows_is_waited_for_though_its_template_asks_for_more_by_then() {
    let mut world = World::running(2);
    world.provision();
    world.claim_size("2Gi");
    world.sync();
    world.provision();
    world.sync();
    let asks = |world: &World| {
        ["data-web-0", "data-web-1"].map(|claim| {
            let resources = world.claims[claim].spec.clone().and_then(|spec| spec.resources);
            resources.and_then(|resources| resources.requests).unwrap_or_default()["storage"].0.clone()
        })
    };
    assert_eq!(asks(&world), ["2Gi", "2Gi"], "the volume of the first one is still growing");
    world.claim_size("3Gi");
    world.settle();
    assert_eq!(asks(&world), ["2Gi", "2Gi"]);
    assert_eq!(world.waits(), ["data-web-0 asks for more than its volume has so far"]);
}
