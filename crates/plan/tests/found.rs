//! Stories about mistakes that the linter and the model checker found in the planner.

mod world;

use k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy;
use stead_plan::statefulset::Action;
use world::{World, web};

#[test]
fn a_parallel_scale_down_says_whose_end_it_waits_for() {
    let mut set = web(2);
    set.spec.get_or_insert_default().pod_management_policy = Some("Parallel".to_owned());
    let mut world = World::up(set);
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

fn retention(world: &mut World, when_scaled: &str, when_deleted: &str) {
    world.edit(|spec| {
        spec.persistent_volume_claim_retention_policy = Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_scaled: Some(when_scaled.to_owned()),
            when_deleted: Some(when_deleted.to_owned()),
        });
    });
}

#[test]
fn a_claim_that_goes_with_its_pod_is_not_used_again_though_the_policy_has_changed() {
    let mut world = World::running(2);
    retention(&mut world, "Delete", "Retain");
    world.settle();
    world.scale(1);
    world.settle();
    let doomed = world.claims["data-web-1"].clone();
    // The collector is slow, and the user has second thoughts.
    world.pods.remove("web-1");
    retention(&mut world, "Retain", "Retain");
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
    retention(&mut world, "Retain", "Delete");
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
