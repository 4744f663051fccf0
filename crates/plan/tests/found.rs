//! Stories about mistakes that the linter and the model checker found in the planner.

mod world;

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
