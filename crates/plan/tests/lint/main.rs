//! The linter notices each kind of mistake in a plan that was sound before.

mod books;
mod budgets;
mod claims;
mod deeds;
mod preparing;
#[path = "../world/mod.rs"]
mod world;

use stead_plan::ids::{ResourceVersion, Uid};
use stead_plan::statefulset::lint::{Flaw, Law, lint};
use stead_plan::statefulset::ordinals::Ordinal;
use stead_plan::statefulset::revisions::RevisionName;
use stead_plan::statefulset::views::PodView;
use stead_plan::statefulset::{Action, ClaimKeeper, Plan, Removal, Rule, View, Wait};
use world::{World, web};

/// The laws that the world's next plan breaks after `spoil`.
fn broken(world: &World, spoil: impl FnOnce(&View, &mut Plan)) -> Vec<Law> {
    let (view, mut plan) = world.decide();
    assert!(lint(&view, &plan, world.now).is_empty(), "the plan is sound at first: {plan:#?}");
    spoil(&view, &mut plan);
    let mut laws: Vec<Law> = lint(&view, &plan, world.now).into_iter().map(|flaw| flaw.law).collect();
    laws.sort_unstable();
    laws.dedup();
    laws
}

/// As [`broken`], where what was seen is spoiled too.
fn blurred(world: &World, spoil: impl FnOnce(&mut View, &mut Plan)) -> Vec<Law> {
    let (mut view, mut plan) = world.decide();
    spoil(&mut view, &mut plan);
    let mut laws: Vec<Law> = lint(&view, &plan, world.now).into_iter().map(|flaw| flaw.law).collect();
    laws.sort_unstable();
    laws.dedup();
    laws
}

/// The laws broken when the plan does `deed` as well.
fn also(world: &World, deed: impl FnOnce(&View) -> Action) -> Vec<Law> {
    broken(world, |view, plan| plan.batches.push(vec![deed(view)]))
}

/// The laws broken when the plan leaves out what `is_it`.
fn without(world: &World, is_it: fn(&Action) -> bool) -> Vec<Law> {
    broken(world, |_, plan| {
        let before = plan.actions().count();
        plan.batches.iter_mut().for_each(|batch| batch.retain(|action| !is_it(action)));
        plan.batches.retain(|batch| !batch.is_empty());
        assert!(plan.actions().count() < before, "it was planned");
    })
}

fn seen(view: &mut View, pod: usize) -> &mut PodView {
    std::sync::Arc::make_mut(&mut view.pods[pod])
}

/// Three replicas, all up, and a new image.
fn updating() -> World {
    let mut world = World::running(3);
    world.image("b");
    world
}

/// Three replicas that are to become one.
fn shrinking() -> World {
    let mut world = World::running(3);
    world.scale(1);
    world
}

fn deletion(plan: &mut Plan) -> &mut Action {
    let mut actions = plan.batches.iter_mut().flatten();
    actions.find(|action| matches!(action, Action::DeletePod { .. })).expect("a deletion is planned")
}

fn delete(view: &View, pod: usize, why: Removal) -> Action {
    let pod = &view.pods[pod];
    Action::DeletePod { target: pod.target.clone(), ordinal: pod.ordinal.expect("a replica"), why }
}

/// Has the plan delete the pod at `pod` of those that are seen, and no other.
fn delete_only(view: &View, plan: &mut Plan, pod: usize, why: Removal) {
    plan.batches.retain(|batch| !matches!(batch[0], Action::DeletePod { .. }));
    plan.batches.push(vec![delete(view, pod, why)]);
}

#[test]
fn s09_what_is_deleted_is_named_exactly() {
    for spoil in [
        |_: &View, plan: &mut Plan| {
            let Action::DeletePod { target, .. } = deletion(plan) else { return };
            target.uid = Uid::default();
        },
        |_: &View, plan: &mut Plan| {
            let Action::DeletePod { target, .. } = deletion(plan) else { return };
            target.resource_version = ResourceVersion("1".to_owned());
        },
    ] {
        assert!(broken(&shrinking(), spoil).contains(&Law::Exact));
    }
}

#[test]
fn nothing_is_written_twice() {
    let laws = broken(&shrinking(), |_, plan| {
        let again = deletion(plan).clone();
        plan.batches.push(vec![again]);
    });
    assert!(laws.contains(&Law::Once) && laws.contains(&Law::Stages), "{laws:?}");
}

#[test]
fn claims_come_before_the_pods_that_mount_them() {
    let world = World::new(web(1));
    assert_eq!(broken(&world, |_, plan| plan.batches.reverse()), [Law::Stages]);
    let without_claims = |_: &View, plan: &mut Plan| {
        plan.batches.retain(|batch| !matches!(batch[0], Action::CreateClaim { .. }));
    };
    assert_eq!(broken(&world, without_claims), [Law::ClaimsFirst]);
}

#[test]
fn replicas_are_made_from_below_and_only_where_one_is_wanted_and_missing() {
    let make = |ordinal: i32| {
        move |view: &View, plan: &mut Plan| {
            let revision = view.template.name.clone();
            plan.batches = vec![vec![Action::CreatePod { ordinal: Ordinal(ordinal), revision }]];
        }
    };
    let mut world = World::running(2);
    assert!(broken(&world, make(1)).contains(&Law::Vacant));
    assert!(broken(&world, make(2)).contains(&Law::Wanted));
    world.delete_pod("web-0");
    world.gone("web-0");
    world.scale(3);
    assert!(broken(&world, make(2)).contains(&Law::FromBelow));
}

#[test]
fn replicas_go_from_above_and_one_at_a_time() {
    let lower_first = |view: &View, plan: &mut Plan| *deletion(plan) = delete(view, 1, Removal::Condemned);
    assert!(broken(&shrinking(), lower_first).contains(&Law::FromAbove));
    let both = |view: &View, plan: &mut Plan| {
        let last = plan.batches.last_mut().expect("a deletion is planned");
        last.push(delete(view, 1, Removal::Condemned));
    };
    assert!(broken(&shrinking(), both).contains(&Law::FromAbove));
}

#[test]
fn a_deletion_has_a_reason_that_holds() {
    for why in [Removal::Ended, Removal::Condemned, Removal::Outdated, Removal::Broken] {
        let world = World::running(2);
        let laws = also(&world, |view| delete(view, 0, why));
        assert!(laws.contains(&Law::Reason), "{why:?}: {laws:?}");
    }
}

#[test]
fn an_update_takes_one_replica_down_and_none_below_the_partition() {
    let laws = broken(&updating(), |view, plan| {
        let last = plan.batches.last_mut().expect("a deletion is planned");
        last.push(delete(view, 1, Removal::Outdated));
    });
    assert!(laws.contains(&Law::Budget), "{laws:?}");
    let mut world = updating();
    world.partition(3);
    world.sync();
    let laws = also(&world, |view| delete(view, 2, Removal::Outdated));
    assert!(laws.contains(&Law::Reason), "{laws:?}");
}

#[test]
fn a_pod_is_made_at_the_revision_of_its_ordinal() {
    let mut world = updating();
    world.partition(1);
    world.run();
    world.delete_pod("web-0");
    world.gone("web-0");
    let laws = broken(&world, |view, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::CreatePod { revision, .. } = action {
                *revision = view.template.name.clone();
            }
        }
    });
    assert_eq!(laws, [Law::Revision]);
}

#[test]
fn claims_are_owned_as_the_policy_says() {
    let laws = broken(&World::running(1), |view, plan| {
        let claim = view.claims.named("data-web-0").expect("it is seen").target.clone();
        let owner = ClaimKeeper::Set;
        plan.batches.push(vec![Action::OwnClaim { target: claim, ordinal: Ordinal(0), owner }]);
    });
    assert_eq!(laws, [Law::ClaimOwners]);
}

#[test]
fn revisions_in_use_are_kept_and_the_template_is_written_down() {
    let mut world = updating();
    world.sync();
    let laws = broken(&world, |view, plan| {
        plan.batches.push(vec![Action::DeleteRevision(view.revisions[0].target.clone())]);
    });
    assert!(laws.contains(&Law::History), "{laws:?}");
    let laws = broken(&World::new(web(1)), |_, plan| {
        plan.batches[0].retain(|action| !matches!(action, Action::CreateRevision { .. }));
        plan.batches.retain(|batch| !batch.is_empty());
    });
    assert!(laws.contains(&Law::History), "{laws:?}");
}

#[test]
fn only_what_matches_and_is_nobodys_is_adopted() {
    let laws = broken(&World::running(1), |view, plan| {
        plan.batches.push(vec![Action::AdoptPod(view.pods[0].target.clone())]);
    });
    assert!(laws.contains(&Law::Adoption) && laws.contains(&Law::Stages), "{laws:?}");
}

#[test]
fn the_status_counts_what_was_seen() {
    for spoil in [
        |_: &View, plan: &mut Plan| plan.status.ready_replicas = Some(2),
        |_: &View, plan: &mut Plan| plan.status.observed_generation = Some(7),
        |_: &View, plan: &mut Plan| plan.status.current_revision = Some(RevisionName::default().0),
    ] {
        assert_eq!(broken(&World::running(1), spoil), [Law::Status]);
    }
}

#[test]
fn silence_is_explained_truly_and_time_is_not_slept_through() {
    let mut world = World::running(2);
    world.wait_s(60);
    world.unready("web-0");
    world.sync();
    assert_eq!(broken(&world, |_, plan| plan.waits.clear()), [Law::Silence]);
    let laws = broken(&world, |_, plan| {
        plan.waits = vec![Wait { on: "web-1".to_owned(), rule: Rule::NotReady, since: None, detail: None }];
    });
    assert_eq!(laws, [Law::Truth]);
    let mut set = web(2);
    set.spec.get_or_insert_default().min_ready_seconds = Some(30);
    let mut world = World::new(set);
    world.settle();
    world.ready("web-0");
    assert_eq!(broken(&world, |_, plan| plan.wake_at = None), [Law::Wake]);
}

#[test]
fn a_set_that_goes_is_left_alone() {
    let mut world = World::running(1);
    world.set.metadata.deletion_timestamp = world.pods["web-0"].metadata.creation_timestamp.clone();
    world.sync();
    let laws = also(&world, |view| delete(view, 0, Removal::Condemned));
    assert!(laws.contains(&Law::Deleting), "{laws:?}");
}

#[test]
fn a_flaw_names_its_law() {
    let flaw = Flaw { law: Law::FromBelow, about: "2 is made while 1 does not stand".to_owned() };
    assert_eq!(flaw.to_string(), "FromBelow: 2 is made while 1 does not stand");
}
