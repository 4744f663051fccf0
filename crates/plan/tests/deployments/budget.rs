//! Who grows and who shrinks, and by how much.

use super::*;

/// Sets of these sizes, oldest first, the last one of the present template; what is available of each.
fn family(replicas: i32, surge: i32, unavailable: i32, sizes: &[(&str, i32, i32)]) -> World {
    let mut world = World::new(replicas);
    world.budget(surge, unavailable);
    world.run();
    for (image, ..) in &sizes[1..] {
        world.image(image);
        world.run();
    }
    for set in world.sets.values_mut() {
        let (_, size, _) = sizes.iter().find(|(image, ..)| *image == image_of(set)).expect("a known set");
        set.spec.get_or_insert_default().replicas = Some(*size);
    }
    let up = |image: &str| sizes.iter().find(|(known, ..)| *known == image).map_or(0, |(.., up)| *up);
    world.pods(up);
    world.tell();
    world
}

/// The sizes after one step, all sets.
fn step(world: &mut World) -> String {
    world.sync();
    world.sizes()
}

#[test]
fn the_unhealthy_go_first_then_the_oldest_as_far_as_the_budget_allows() {
    for (sizes, wanted) in [
        // Nothing may go: all that is up is needed, and what is down is the new.
        (&[("a", 8, 8), ("b", 5, 0)][..], "a=8 b=5"),
        // What of the old is down anyway goes, and no more.
        (&[("a", 8, 6), ("b", 5, 2)], "a=6 b=5"),
        (&[("a", 8, 5), ("b", 5, 3)], "a=5 b=5"),
        // The new is up: as much of the old goes.
        (&[("a", 8, 8), ("b", 5, 5)], "a=3 b=5"),
        (&[("a", 8, 8), ("b", 5, 3)], "a=5 b=5"),
        // Of two old ones the older goes first; what is down goes from both.
        (&[("a", 4, 4), ("b", 4, 4), ("c", 5, 2)], "a=2 b=4 c=5"),
        (&[("a", 4, 2), ("b", 4, 3), ("c", 5, 4)], "a=1 b=3 c=5"),
        (&[("a", 1, 1), ("b", 7, 7), ("c", 5, 5)], "b=3 c=5"),
        // What is down goes as far as the budget allows, though too few are up as it is.
        (&[("a", 8, 3), ("b", 5, 2)], "a=6 b=5"),
        (&[("a", 4, 1), ("b", 4, 1), ("c", 5, 2)], "a=2 b=4 c=5"),
        // What went for being down is not counted again among those that may go though they are up.
        (&[("a", 2, 1), ("b", 2, 2), ("c", 9, 9)], "c=9"),
    ] {
        assert_eq!(step(&mut family(10, 3, 2, sizes)), wanted, "{sizes:?}");
    }
}

#[test]
fn a_new_set_that_somebody_made_too_large_is_brought_back() {
    assert_eq!(step(&mut family(3, 1, 0, &[("a", 5, 5)])), "a=3");
    assert_eq!(step(&mut family(3, 1, 0, &[("a", 1, 1), ("b", 4, 4)])), "a=1 b=3");
    let mut recreated = family(3, 1, 0, &[("a", 5, 5)]);
    recreated.recreate();
    assert_eq!(step(&mut recreated), "a=3");
}

#[test]
fn scaling_in_the_middle_keeps_the_proportions_of_all_sets() {
    for (sizes, replicas, wanted) in [
        (&[("a", 8, 8), ("b", 5, 0)][..], 15, "a=11 b=7"),
        (&[("a", 8, 8), ("b", 5, 0)], 5, "a=5 b=3"),
        (&[("a", 8, 8), ("b", 5, 0)], 0, ""),
        (&[("a", 3, 3), ("b", 5, 5), ("c", 5, 0)], 20, "a=5 b=9 c=9"),
        (&[("a", 5, 5), ("b", 5, 5), ("c", 3, 0)], 5, "a=3 b=3 c=2"),
        (&[("a", 4, 4), ("b", 4, 4), ("c", 5, 0)], 11, "a=4 b=4 c=6"),
        (&[("a", 12, 12), ("b", 1, 0)], 9, "a=11 b=1"),
        // Of sets of one size the newer grows first, the older shrinks first.
        (&[("a", 6, 6), ("b", 6, 6)], 11, "a=6 b=8"),
        (&[("a", 6, 6), ("b", 6, 6)], 8, "a=5 b=6"),
        // The parts are rounded up, and what was given away is gone.
        (&[("a", 4, 4), ("b", 4, 4), ("c", 5, 0)], 12, "a=4 b=5 c=6"),
    ] {
        let mut world = family(10, 3, 2, sizes);
        world.edit(|spec| spec.replicas = Some(replicas));
        assert_eq!(step(&mut world), wanted, "{sizes:?} to {replicas}");
    }
}

#[test]
fn once_the_new_set_has_everything_scaling_takes_the_old_ones_away() {
    let paused = |sizes: &[(&str, i32, i32)]| {
        let mut world = family(10, 3, 2, sizes);
        world.edit(|spec| spec.paused = Some(true));
        step(&mut world)
    };
    assert_eq!(paused(&[("a", 2, 2), ("b", 10, 10)]), "b=10");
    assert_eq!(
        paused(&[("a", 2, 2), ("b", 10, 9)]),
        "a=2 b=11",
        "one of the new is not up yet, so all keep their part"
    );
    assert_eq!(paused(&[("a", 2, 2), ("b", 9, 9)]), "a=2 b=11");
    assert_eq!(paused(&[("a", 2, 2), ("b", 11, 10)]), "a=2 b=11", "as many are up, but it is too large");
}

#[test]
fn a_set_without_replicas_is_not_written_when_the_others_are_scaled() {
    let written = |sizes: &[(&str, i32, i32)]| {
        let mut world = family(10, 3, 2, sizes);
        // What all were scaled under is not true any more.
        world.budget(2, 2);
        world.edit(|spec| spec.paused = Some(true));
        let plan = world.plan();
        let images = plan.actions().map(|action| match action {
            Action::UpdateSet { set, .. } => image_of(set),
            other => panic!("{other:?}"),
        });
        images.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(written(&[("a", 0, 0), ("b", 2, 2), ("c", 10, 10)]), "b", "the new one has everything");
    assert_eq!(written(&[("a", 0, 0), ("b", 8, 8), ("c", 5, 0)]), "b c");
}

#[test]
fn a_set_that_somebody_scaled_to_what_is_wanted_does_not_hold_up_the_next_rollout() {
    let mut world = family(3, 1, 0, &[("a", 4, 4)]);
    world.edit(|spec| spec.replicas = Some(4));
    world.sync();
    assert_eq!(world.annotation("a", "deployment.kubernetes.io/desired-replicas").as_deref(), Some("4"));
    world.image("b");
    world.run();
    assert_eq!(world.sizes(), "b=4");
}

#[test]
fn a_paused_deployment_with_one_set_is_kept_at_its_size() {
    let paused = |sizes: &[(&str, i32, i32)]| {
        let mut world = family(3, 1, 0, sizes);
        world.edit(|spec| spec.paused = Some(true));
        step(&mut world)
    };
    assert_eq!(paused(&[("a", 5, 5)]), "a=3");
    assert_eq!(paused(&[("a", 5, 5), ("b", 0, 0)]), "a=3", "it is the active one that counts");
    assert_eq!(paused(&[("a", 0, 0), ("b", 0, 0)]), "b=3");
}

#[test]
fn surge_and_unavailability_cannot_both_be_nothing() {
    assert_eq!(step(&mut family(3, 0, 0, &[("a", 3, 3), ("b", 0, 0)])), "a=2");
    assert_eq!(step(&mut family(3, 1, 0, &[("a", 3, 3), ("b", 1, 0)])), "a=3 b=1");
}
