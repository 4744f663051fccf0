//! Stories about mistakes that the linter and the model checker found in the planner.

mod world;

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
