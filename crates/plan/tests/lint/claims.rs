//! Deeds about claims without a reason.

use k8s_openapi::api::apps::v1::StatefulSet;
use stead_plan::statefulset::views::{ClaimOwner, ClaimView};

use super::*;
use crate::world::retention;

fn keeping(replicas: i32, when_scaled: &str, when_deleted: &str) -> World {
    keeping_what(when_scaled, when_deleted, web(replicas))
}

fn keeping_what(when_scaled: &str, when_deleted: &str, mut set: StatefulSet) -> World {
    retention(set.spec.get_or_insert_default(), when_scaled, when_deleted);
    World::up(set)
}

fn claim<'a>(view: &'a mut View, name: &str) -> &'a mut ClaimView {
    view.claims.named_mut(name).expect("the claim is seen")
}

#[test]
fn a_claim_goes_only_for_a_reset_and_after_its_pod() {
    let goes = |view: &View| Action::DeleteClaim {
        target: view.claims.named("data-web-0").expect("it is seen").target.clone(),
        ordinal: Ordinal(0),
    };
    let laws = also(&World::running(1), goes);
    assert!(laws.contains(&Law::Reason) && laws.contains(&Law::ClaimsFirst), "{laws:?}");
    let mut world = World::running(1);
    world.annotate("stead.dev/reset", "0=1");
    world.run();
    assert!(also(&world, goes).contains(&Law::Reason), "it is of that generation already");
    world.annotate("stead.dev/reset", "0=2");
    let laws = also(&world, goes);
    assert!(!laws.contains(&Law::Reason) && laws.contains(&Law::ClaimsFirst), "its pod is there: {laws:?}");
}

#[test]
fn a_claim_is_made_only_where_a_pod_needs_it() {
    let made = |name: &str, template: &str, ordinal: i32| {
        let (name, template) = (name.to_owned(), template.to_owned());
        move |_: &View| Action::CreateClaim { name, template, ordinal: Ordinal(ordinal) }
    };
    let world = World::running(2);
    assert!(also(&world, made("data-web-0", "data", 0)).contains(&Law::Wanted), "it is there");
    assert!(also(&world, made("data-web-7", "data", 7)).contains(&Law::Wanted), "nobody is to be there");
    let mut lost = World::running(2);
    lost.claims.remove("data-web-1");
    assert!(also(&lost, made("data-web-1", "data", 1)).contains(&Law::Wanted), "its pod runs on what is mounted");
    let mut new = World::new(web(1));
    new.settle();
    new.claims.remove("data-web-0");
    let renamed = |name: &'static str, template: &'static str| {
        broken(&new, move |_, plan| {
            for action in plan.batches.iter_mut().flatten() {
                if let Action::CreateClaim { name: own, template: from, .. } = action {
                    (*own, *from) = (name.to_owned(), template.to_owned());
                }
            }
        })
    };
    assert_eq!(renamed("data-web-0", "data"), [], "its pod has yet to start");
    assert!(renamed("data-web-1", "data").contains(&Law::Wanted));
    assert!(renamed("logs-web-0", "logs").contains(&Law::Wanted));
}

#[test]
fn no_pod_is_made_on_a_claim_that_goes() {
    for spoil in [
        (|claim| claim.terminating = true) as fn(&mut ClaimView),
        |claim| claim.owners = vec![(ClaimOwner::StaleSet, true)],
        |claim| claim.owners = vec![(ClaimOwner::Pod(Uid("gone".to_owned())), true)],
    ] {
        let mut world = World::running(1);
        world.pods.clear();
        let laws = blurred(&world, |view, _| spoil(claim(view, "data-web-0")));
        assert!(laws.contains(&Law::ClaimsFirst), "{laws:?}");
    }
}

/// The laws broken when every claim that gets an owner is given to another one.
fn given(world: &World, to: fn(&View) -> ClaimKeeper) -> Vec<Law> {
    broken(world, |view, plan| {
        let keeper = to(view);
        for action in plan.batches.iter_mut().flatten() {
            if let Action::OwnClaim { owner, .. } = action {
                *owner = keeper.clone();
            }
        }
    })
}

#[test]
fn claims_go_with_the_pods_they_are_to_go_with() {
    let mut world = keeping(2, "Delete", "Retain");
    world.scale(1);
    assert_eq!(without(&world, |action| matches!(action, Action::OwnClaim { .. })), [Law::ClaimOwners]);
    assert_eq!(given(&world, |view| ClaimKeeper::Pod(view.pods[1].target.uid.clone())), []);
    assert!(given(&world, |view| ClaimKeeper::Pod(view.pods[0].target.uid.clone())).contains(&Law::ClaimOwners));
    assert!(given(&world, |_| ClaimKeeper::Set).contains(&Law::ClaimOwners));
    assert!(given(&world, |_| ClaimKeeper::Nobody).contains(&Law::ClaimOwners));
    // What another controls stays with it, whoever else is asked to have it.
    let strange = |claim: &mut ClaimView| claim.owners.push((ClaimOwner::Foreign, true));
    let laws = blurred(&world, |view, _| strange(claim(view, "data-web-1")));
    assert!(laws.contains(&Law::ClaimOwners), "{laws:?}");
    let owns = |view: &View| Action::OwnClaim {
        target: view.claims.named("data-web-0").expect("it is seen").target.clone(),
        ordinal: Ordinal(0),
        owner: ClaimKeeper::Set,
    };
    let kept = keeping(1, "Retain", "Delete");
    assert_eq!(blurred(&kept, |view, plan| plan.batches.push(vec![owns(view)])), []);
    let laws = blurred(&kept, |view, plan| {
        strange(claim(view, "data-web-0"));
        plan.batches.push(vec![owns(view)]);
    });
    assert_eq!(laws, [Law::ClaimOwners]);
    let laws = blurred(&kept, |view, plan| {
        claim(view, "data-web-0").owners = vec![(ClaimOwner::StaleSet, true)];
        plan.batches.push(vec![owns(view)]);
    });
    assert_eq!(laws, [Law::ClaimOwners], "it goes with a set that is gone");
}

#[test]
fn a_claim_that_is_not_known_exactly_does_not_go() {
    let mut world = World::running(1);
    world.annotate("stead.dev/reset", "0=1");
    world.pods.clear();
    let laws = blurred(&world, |view, plan| {
        claim(view, "data-web-0").target.uid = Uid::default();
        let target = view.claims.named("data-web-0").expect("it is seen").target.clone();
        plan.batches = vec![vec![Action::DeleteClaim { target, ordinal: Ordinal(0) }]];
    });
    assert_eq!(laws, [Law::Exact]);
}

/// The laws broken when the claim `data-web-1` of a set is given to the pod at `heir` of those that are seen.
fn given_to(world: &World, heir: usize) -> Vec<Law> {
    broken(world, |view, plan| {
        let (uid, given) =
            (view.pods[heir].target.uid.clone(), view.claims.named("data-web-1").expect("it is seen").target.clone());
        for action in plan.batches.iter_mut().flatten() {
            match action {
                Action::OwnClaim { target, owner, .. } if *target == given => *owner = ClaimKeeper::Pod(uid.clone()),
                _ => {}
            }
        }
    })
}

#[test]
fn a_condemned_replica_gets_its_own_claim_and_no_other() {
    let mut world = keeping(3, "Delete", "Retain");
    world.scale(1);
    assert_eq!(given_to(&world, 1), []);
    assert_eq!(given_to(&world, 2), [Law::ClaimOwners], "it goes as well, but that is not its claim");
    assert_eq!(given_to(&world, 0), [Law::ClaimOwners], "it stays");
}

#[test]
fn every_claim_of_a_condemned_replica_is_given_to_it() {
    let mut set = web(2);
    let spec = set.spec.get_or_insert_default();
    let mut logs = spec.volume_claim_templates.clone().unwrap_or_default().remove(0);
    logs.metadata.name = Some("logs".to_owned());
    spec.volume_claim_templates.get_or_insert_default().push(logs);
    let mut world = keeping_what("Delete", "Retain", set);
    world.scale(1);
    let is_of_data = |action: &Action| matches!(action, Action::OwnClaim { target, .. } if target.name == "data-web-1");
    assert_eq!(without(&world, is_of_data), [Law::ClaimOwners]);
}

/// Two replicas, of which the upper was to go with its claim, and is wanted again before it was asked to end.
fn wanted_again() -> World {
    let mut world = keeping(2, "Delete", "Retain");
    world.refuses = |_, action| matches!(action, Action::DeletePod { .. });
    world.scale(1);
    world.sync();
    world.scale(2);
    world
}

#[test]
fn a_replica_that_is_wanted_again_gives_its_claim_back() {
    let world = wanted_again();
    assert_eq!(broken(&world, |_, _| {}), [], "its pod is there still");
    let anothers = |view: &mut View, plan: &mut Plan| {
        claim(view, "data-web-1").owners = vec![(ClaimOwner::Pod(Uid("older".to_owned())), true)];
        assert!(plan.actions().any(|action| matches!(action, Action::OwnClaim { .. })));
    };
    assert_eq!(blurred(&world, anothers), [Law::ClaimOwners], "it goes with the older one");
}

#[test]
fn no_replica_that_stays_takes_its_claim_along() {
    let mut world = wanted_again();
    world.phase("web-1", "Failed");
    assert_eq!(without(&world, |action| matches!(action, Action::OwnClaim { .. })), [Law::ClaimOwners]);
    // A reset is to lose it.
    world.ready("web-1");
    world.annotate("stead.dev/reset", "1=1");
    let (_, plan) = world.decide();
    assert!(!plan.actions().any(|action| matches!(action, Action::OwnClaim { .. })));
    assert_eq!(broken(&world, |_, _| {}), []);
}

#[test]
fn the_set_takes_over_claims_when_the_policy_says_so_later() {
    let mut world = keeping(1, "Retain", "Retain");
    world.edit(|spec| retention(spec, "Delete", "Delete"));
    assert_eq!(given(&world, |_| ClaimKeeper::Set), []);
    assert_eq!(given(&world, |_| ClaimKeeper::Nobody), [Law::ClaimOwners]);
    assert_eq!(given(&world, |view| ClaimKeeper::Pod(view.pods[0].target.uid.clone())), [Law::ClaimOwners], "it stays");
}
