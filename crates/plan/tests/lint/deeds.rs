//! Deeds without a reason, one kind of action after the other.

use k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_plan::statefulset::views::{ClaimOwner, ClaimView, PodView};

use super::*;

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

fn keeping(replicas: i32, when_scaled: &str, when_deleted: &str) -> World {
    let mut set = web(replicas);
    set.spec.get_or_insert_default().persistent_volume_claim_retention_policy =
        Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_scaled: Some(when_scaled.to_owned()),
            when_deleted: Some(when_deleted.to_owned()),
        });
    World::up(set)
}

fn claim<'a>(view: &'a mut View, name: &str) -> &'a mut ClaimView {
    std::sync::Arc::make_mut(view.claims.get_mut(name).expect("the claim is seen"))
}

fn seen(view: &mut View, pod: usize) -> &mut PodView {
    std::sync::Arc::make_mut(&mut view.pods[pod])
}

#[test]
fn what_is_not_known_exactly_is_not_touched() {
    for blur in [(|pod| pod.target.uid = Uid::default()) as fn(&mut PodView), |pod| {
        pod.target.resource_version = ResourceVersion::default()
    }] {
        let laws = blurred(&shrinking(), |view, plan| {
            blur(seen(view, 2));
            *deletion(plan) = delete(view, 2, Removal::Condemned);
        });
        assert!(laws.contains(&Law::Exact), "{laws:?}");
    }
}

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
fn a_claim_goes_only_for_a_reset_and_after_its_pod() {
    let goes =
        |view: &View| Action::DeleteClaim { target: view.claims["data-web-0"].target.clone(), ordinal: Ordinal(0) };
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

#[test]
fn claims_go_with_the_pods_they_are_to_go_with() {
    let mut world = keeping(2, "Delete", "Retain");
    world.scale(1);
    assert_eq!(without(&world, |action| matches!(action, Action::OwnClaim { .. })), [Law::ClaimOwners]);
    let given = |world: &World, to: fn(&View) -> ClaimKeeper| {
        broken(world, |view, plan| {
            let keeper = to(view);
            for action in plan.batches.iter_mut().flatten() {
                if let Action::OwnClaim { owner, .. } = action {
                    *owner = keeper.clone();
                }
            }
        })
    };
    assert_eq!(given(&world, |view| ClaimKeeper::Pod(view.pods[1].target.uid.clone())), []);
    assert!(given(&world, |view| ClaimKeeper::Pod(view.pods[0].target.uid.clone())).contains(&Law::ClaimOwners));
    assert!(given(&world, |_| ClaimKeeper::Set).contains(&Law::ClaimOwners));
    assert!(given(&world, |_| ClaimKeeper::Nobody).contains(&Law::ClaimOwners));
    // What another controls stays with it, whoever else is asked to have it.
    let strange = |claim: &mut ClaimView| claim.owners.push((ClaimOwner::Foreign, true));
    let laws = blurred(&world, |view, _| strange(claim(view, "data-web-1")));
    assert!(laws.contains(&Law::ClaimOwners), "{laws:?}");
    let owns = |view: &View| Action::OwnClaim {
        target: view.claims["data-web-0"].target.clone(),
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
fn pods_are_taken_and_let_go_when_that_is_due_and_not_otherwise() {
    let mut orphaned = World::running(2);
    orphaned.orphan("web-1");
    let without_it = without(&orphaned, |action| matches!(action, Action::AdoptPod(_) | Action::ConfirmSet));
    assert!(without_it.contains(&Law::Adoption), "{without_it:?}");
    let mut misfit = World::running(2);
    misfit.pods.get_mut("web-1").expect("there").metadata.labels.get_or_insert_default().remove("app");
    assert!(without(&misfit, |action| matches!(action, Action::ReleasePod(_))).contains(&Law::Adoption));
    let released = also(&World::running(2), |view| Action::ReleasePod(view.pods[1].target.clone()));
    assert!(released.contains(&Law::Adoption), "{released:?}");
    let relabelled = |world: &World, ordinal: i32| {
        also(world, |view| Action::RelabelPod { target: view.pods[1].target.clone(), ordinal: Ordinal(ordinal) })
    };
    assert!(relabelled(&World::running(2), 1).contains(&Law::Reason), "it carries its identity");
    let mut bare = World::running(2);
    let labels = bare.pods.get_mut("web-1").expect("there").metadata.labels.get_or_insert_default();
    labels.remove("statefulset.kubernetes.io/pod-name");
    let laws = broken(&bare, |_, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::RelabelPod { ordinal, .. } = action {
                *ordinal = Ordinal(0);
            }
        }
    });
    assert_eq!(laws, [Law::Reason], "that is not its ordinal");
}

#[test]
fn a_reason_holds_only_for_the_pods_it_is_about() {
    let reasonless =
        |world: &World, pod: usize, why: Removal| also(world, |view| delete(view, pod, why)).contains(&Law::Reason);
    let mut starting = World::new(web(1));
    starting.settle();
    assert!(reasonless(&starting, 0, Removal::Broken), "it is where it should be");
    let mut condemned = updating();
    condemned.run();
    condemned.image("c");
    condemned.scale(1);
    condemned.sync();
    condemned.phase("web-1", "Failed");
    assert!(reasonless(&condemned, 1, Removal::Ended), "it is to go for another reason");
    assert!(reasonless(&condemned, 1, Removal::Outdated));
    let mut reset = World::running(3);
    reset.annotate("stead.dev/reset", "2=1");
    reset.scale(2);
    assert!(reasonless(&reset, 2, Removal::Reset));
    let mut gone = updating();
    gone.sync();
    assert!(reasonless(&gone, 2, Removal::Outdated), "it is going already");
    let laws = broken(&updating(), |_, plan| {
        let Action::DeletePod { ordinal, .. } = deletion(plan) else { return };
        *ordinal = Ordinal(1);
    });
    assert!(laws.contains(&Law::Reason), "{laws:?}");
    let mut partitioned = World::running(2);
    partitioned.partition(1);
    partitioned.image("broken");
    partitioned.run_but(&["web-1"]);
    assert!(reasonless(&partitioned, 0, Removal::Broken));
    assert!(reasonless(&partitioned, 1, Removal::Broken), "it is at the new revision, where it should be");
}

/// Four replicas of which two may be down, and a new image.
fn within_two() -> World {
    let mut world = World::running(4);
    world.edit(|spec| {
        let strategy = spec.update_strategy.get_or_insert_default();
        strategy.rolling_update.get_or_insert_default().max_unavailable = Some(IntOrString::Int(2));
    });
    world.run();
    world.image("b");
    world
}

#[test]
fn a_budget_counts_everything_that_is_down() {
    let third = |view: &View, plan: &mut Plan| {
        plan.batches.last_mut().expect("deletions are planned").push(delete(view, 1, Removal::Outdated));
    };
    assert!(broken(&within_two(), third).contains(&Law::Budget));
    let mut world = within_two();
    world.wait_s(60);
    world.unready("web-0");
    let up_beyond = |view: &View, plan: &mut Plan| {
        let last = plan.batches.last_mut().expect("deletions are planned");
        last.clear();
        last.extend([2, 3].map(|pod| delete(view, pod, Removal::Outdated)));
    };
    assert!(broken(&world, up_beyond).contains(&Law::Budget), "three would be down");
    let down_and_up = |view: &View, plan: &mut Plan| {
        let last = plan.batches.last_mut().expect("deletions are planned");
        last.clear();
        last.extend([0, 3].map(|pod| delete(view, pod, Removal::Outdated)));
    };
    assert!(!broken(&world, down_and_up).contains(&Law::Budget), "two are");
}

#[test]
fn the_leader_does_not_go_while_another_is_left() {
    let mut world = World::running(3);
    world.annotate("stead.dev/update-order-label", "role=leader");
    let labels = world.pods.get_mut("web-2").expect("there").metadata.labels.get_or_insert_default();
    labels.insert("role".to_owned(), "leader".to_owned());
    world.image("b");
    let leader_first = |view: &View, plan: &mut Plan| *deletion(plan) = delete(view, 2, Removal::Outdated);
    assert!(broken(&world, leader_first).contains(&Law::Budget));
    let mut last = World::running(1);
    last.annotate("stead.dev/update-order-label", "role=leader");
    let labels = last.pods.get_mut("web-0").expect("there").metadata.labels.get_or_insert_default();
    labels.insert("role".to_owned(), "leader".to_owned());
    last.image("b");
    assert_eq!(broken(&last, |_, _| {}), []);
}

#[test]
fn of_two_unwell_replicas_the_upper_stays() {
    let mut world = World::running(3);
    world.wait_s(60);
    world.scale(1);
    world.unready("web-1");
    let goes = |view: &View, plan: &mut Plan| {
        plan.batches = vec![vec![delete(view, 2, Removal::Condemned)]];
    };
    assert_eq!(broken(&world, goes), [], "it is well, the lower one is not");
    world.unready("web-2");
    assert!(broken(&world, goes).contains(&Law::FromAbove));
}

#[test]
fn what_is_made_ready_is_late_and_where_the_rollout_is() {
    let asks = |view: &View, pod: usize, revision: &RevisionName| {
        let pod = &view.pods[pod];
        let at = jiff::Timestamp::UNIX_EPOCH;
        let ordinal = pod.ordinal.expect("a replica");
        Action::Prepare { target: pod.target.clone(), ordinal, revision: revision.clone(), at }
    };
    let reasonless =
        |world: &World| also(world, |view| asks(view, 0, &view.template.name.clone())).contains(&Law::Reason);
    assert!(reasonless(&World::preparing(web(2))), "it is up to date");
    let mut paused = World::preparing(web(2));
    paused.image("b");
    paused.sync();
    paused.annotate("stead.dev/paused", "true");
    assert!(reasonless(&paused), "nothing is rolled");
    let mut by_hand = World::preparing(web(2));
    by_hand.edit(|spec| spec.update_strategy.get_or_insert_default().type_ = Some("OnDelete".to_owned()));
    by_hand.image("b");
    by_hand.sync();
    assert!(reasonless(&by_hand), "others replace it");
    let mut shrunk = World::preparing(web(2));
    shrunk.image("b");
    shrunk.edit(|spec| spec.ordinals = Some(k8s_openapi::api::apps::v1::StatefulSetOrdinals { start: Some(1) }));
    shrunk.sync();
    assert!(reasonless(&shrunk), "it is out of range");
    let mut unable = updating();
    unable.sync();
    assert!(reasonless(&unable), "its node cannot be asked");
}

#[test]
fn a_wait_has_to_be_so() {
    let untrue = |world: &World, on: &str, rule: Rule| {
        let laws = broken(world, |_, plan| {
            plan.waits = vec![Wait { on: on.to_owned(), rule, since: None, detail: None }];
        });
        laws.contains(&Law::Truth)
    };
    let world = World::running(2);
    for rule in [
        Rule::Terminating,
        Rule::NotReady,
        Rule::NotYetAvailable,
        Rule::Replacing,
        Rule::Creating,
        Rule::ScaleDownUnhealthy,
        Rule::NameTaken,
        Rule::StorageDiffers,
        Rule::Resetting,
        Rule::Preparing,
        Rule::ImageMissing,
        Rule::HookFailed,
    ] {
        assert!(untrue(&world, "web-0", rule), "{rule:?}");
    }
    for rule in [Rule::ClaimTerminating, Rule::ClaimStale, Rule::ClaimGrowing, Rule::VolumeLost] {
        assert!(untrue(&world, "data-web-0", rule), "{rule:?}");
    }
    let mut shrinking = shrinking();
    shrinking.sync();
    assert!(untrue(&shrinking, "web-2", Rule::ScaleDownUnhealthy), "it is going");
    assert!(untrue(&shrinking, "web-0", Rule::ScaleDownUnhealthy), "it stays");
    assert!(untrue(&World::preparing(web(1)), "web-0", Rule::Preparing), "nothing was asked");
}

#[test]
fn it_is_looked_again_in_the_future() {
    let world = World::running(1);
    let now = world.now;
    assert_eq!(broken(&world, |_, plan| plan.wake_at = Some(now)), [Law::Wake]);
}
