//! Plans that write down the wrong thing: revisions, templates that return, and at which revision pods are made.

use stead_plan::statefulset::wishes::{AUTO_ROLLBACK, PAUSED, PROGRESS_DEADLINE, ROLLED_BACK};

use super::*;

#[test]
fn revisions_get_the_number_above_all_others() {
    let number = |world: &World, to: i64| {
        broken(world, |_, plan| {
            for action in plan.batches.iter_mut().flatten() {
                if let Action::CreateRevision { number, .. } | Action::RenumberRevision { number, .. } = action {
                    *number = to;
                }
            }
        })
    };
    assert_eq!(number(&updating(), 3), [], "it need not be the next one");
    assert!(number(&updating(), 1).contains(&Law::History));
    let mut back = updating();
    back.run();
    back.image("a");
    assert!(number(&back, 2).contains(&Law::History), "that is the one of b");
    let other = broken(&back, |view, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::RenumberRevision { target, .. } = action {
                *target = view.revisions[1].target.clone();
            }
        }
    });
    assert!(other.contains(&Law::History), "b is not the template");
    let laws = broken(&updating(), |_, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::CreateRevision { name, .. } = action {
                *name = RevisionName("web-other".to_owned());
            }
        }
    });
    assert!(laws.contains(&Law::History), "{laws:?}");
    let adopted = also(&World::running(1), |view| Action::AdoptRevision(view.revisions[0].target.clone()));
    assert!(adopted.contains(&Law::Adoption), "it has its owner: {adopted:?}");
}

#[test]
fn history_is_cut_to_its_limit_from_the_oldest_on() {
    let mut world = World::running(1);
    for image in ["b", "c", "d"] {
        world.image(image);
        world.run();
    }
    world.edit(|spec| spec.revision_history_limit = Some(2));
    assert_eq!(without(&world, |action| matches!(action, Action::DeleteRevision(_))), [Law::History]);
    let laws = broken(&world, |view, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::DeleteRevision(target) = action {
                *target = view.revisions[1].target.clone();
            }
        }
    });
    assert_eq!(laws, [Law::History], "that is the second oldest");
}

#[test]
fn a_revision_that_is_not_known_exactly_is_not_touched() {
    let mut world = updating();
    world.run();
    world.edit(|spec| spec.revision_history_limit = Some(0));
    let laws = blurred(&world, |view, plan| {
        view.revisions[0].target.uid = Uid::default();
        let target = view.revisions[0].target.clone();
        plan.batches = vec![vec![Action::DeleteRevision(target)]];
    });
    assert_eq!(laws, [Law::Exact]);
}

#[test]
fn a_template_that_is_stored_already_is_not_written_down_again() {
    let again = broken(&World::before_a_default(), |view, plan| {
        let (name, hash) = (view.template.name.clone(), view.template.hash.clone());
        plan.batches.insert(0, vec![Action::CreateRevision { name, hash, number: 2 }]);
    });
    assert_eq!(again, [Law::History]);
}

#[test]
fn a_template_is_taken_back_only_where_somebody_asked_for_it() {
    let asking = |annotations: &[(&str, &str)]| {
        let mut world = updating();
        world.sync();
        annotations.iter().for_each(|(key, value)| world.annotate(key, value));
        world
    };
    let both = [(PROGRESS_DEADLINE, "60"), (AUTO_ROLLBACK, "true")];
    let update = updating().decide().0.template.name.0;
    let take_back = |world: &World| {
        also(world, |view| {
            let to = view.set.current_revision.clone().expect("it was rolled out");
            Action::RollBack { to, from: view.template.name.clone() }
        })
        .contains(&Law::Reason)
    };
    assert!(!take_back(&asking(&both)));
    assert!(take_back(&asking(&both[..1])) && take_back(&asking(&both[1..])), "both have to be there");
    assert!(take_back(&asking(&[both[0], both[1], (PAUSED, "true")])), "nothing is rolled");
    assert!(take_back(&asking(&[both[0], both[1], (ROLLED_BACK, &update)])), "once is enough");
    let other = |to: usize, from: usize| {
        also(&asking(&both), |view| Action::RollBack {
            to: view.revisions[to].name(),
            from: view.revisions[from].name(),
        })
        .contains(&Law::Reason)
    };
    assert!(!other(0, 1) && other(1, 1) && other(0, 0), "from the new one to the former one");
    let mut done = asking(&both);
    done.run();
    assert!(take_back(&done), "there is nothing else to go back to");
}

/// The laws broken when every pod is made at the revision called by the image.
fn made_at(world: &World, image: &str) -> Vec<Law> {
    let name = world.revisions.keys().find(|name| world.letter(name) == image).expect("it is stored").clone();
    broken(world, |_, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::CreatePod { revision, .. } = action {
                *revision = RevisionName(name.clone());
            }
        }
    })
}

#[test]
fn a_lost_replica_of_a_paused_set_comes_back_as_it_was_and_not_as_another_one_is() {
    for (lost, was, other) in [("web-0", "a", "b"), ("web-2", "b", "c")] {
        let mut world = updating();
        world.run_but(&["web-1"]);
        world.annotate(PAUSED, "true");
        world.image("c");
        world.settle();
        world.pods.remove(lost);
        world.ready("web-1");
        assert_eq!(made_at(&world, was), [], "{lost}");
        assert_eq!(made_at(&world, other), [Law::Revision], "{lost}");
    }
}

#[test]
fn new_replicas_come_at_the_new_revision_where_the_old_ones_had_to_go_first() {
    let mut world = World::running(2);
    world.edit(|spec| spec.update_strategy.get_or_insert_default().type_ = Some("Recreate".to_owned()));
    world.image("b");
    world.sync();
    world.gone("web-0");
    world.gone("web-1");
    world.sync();
    world.ready("web-0");
    assert_eq!(made_at(&world, "b"), []);
    assert_eq!(made_at(&world, "a"), [Law::Revision], "one of the new ones is there already");
}
