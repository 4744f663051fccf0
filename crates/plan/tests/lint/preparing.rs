//! Replicas that go before their node is ready for it, and nodes that are asked for nothing.

use super::*;

#[test]
fn no_replica_of_a_preparing_node_goes_before_its_answer() {
    let mut world = World::preparing(web(2));
    world.image("b");
    let at_once = |view: &View, plan: &mut Plan| {
        let pod = view.pods.iter().position(|pod| pod.ordinal == Some(Ordinal(1))).expect("there");
        plan.batches = vec![vec![delete(view, pod, Removal::Outdated)]];
    };
    world.sync();
    assert!(broken(&world, at_once).contains(&Law::Prepared), "asked, but not answered");
    world.prepare();
    assert_eq!(broken(&world, at_once), [], "answered");
    world.image("c");
    assert!(broken(&world, at_once).contains(&Law::Prepared), "answered for another revision");
    let other = |_: &View, plan: &mut Plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::Prepare { revision, .. } = action {
                *revision = RevisionName("web-other".to_owned());
            }
        }
    };
    assert!(broken(&world, other).contains(&Law::Reason));
    let nothing_asked = |view: &View, plan: &mut Plan| {
        let target = view.pods[0].target.clone();
        plan.batches = vec![vec![Action::Withdraw { target, ordinal: Ordinal(0) }]];
    };
    assert!(broken(&World::preparing(web(1)), nothing_asked).contains(&Law::Reason));
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

/// A set whose nodes get the image first, with two replicas up.
fn prefetching(strategy: &str) -> World {
    let mut set = web(2);
    set.spec.get_or_insert_default().update_strategy.get_or_insert_default().type_ = Some(strategy.to_owned());
    World::preparing(set)
}

#[test]
fn where_all_replicas_go_at_once_nothing_is_made_ready() {
    let mut world = prefetching("Recreate");
    world.image("b");
    let (_, plan) = world.decide();
    assert!(plan.actions().any(|action| matches!(action, Action::DeletePod { .. })));
    assert_eq!(broken(&world, |_, _| {}), []);
}

#[test]
fn a_hook_that_failed_keeps_a_replica_that_is_up() {
    let mut set = web(2);
    let hook = r#"{"exec":{"command":["demote"]}}"#.to_owned();
    set.metadata.annotations.get_or_insert_default().insert("stead.dev/prepare-hook".to_owned(), hook);
    let mut world = World::preparing(set);
    world.hooks_fail = true;
    world.image("b");
    world.sync();
    world.prepare();
    let goes = |view: &View| delete(view, 1, Removal::Outdated);
    assert!(also(&world, goes).contains(&Law::Prepared));
}

#[test]
fn only_the_sets_own_replicas_are_made_ready_and_only_those_that_stay_so_far() {
    let asks = |view: &View| {
        let pod = &view.pods[0];
        let (target, ordinal) = (pod.target.clone(), Ordinal(0));
        Action::Prepare { target, ordinal, revision: view.template.name.clone(), at: jiff::Timestamp::UNIX_EPOCH }
    };
    let mut world = prefetching("RollingUpdate");
    world.image("b");
    world.sync();
    assert!(!also(&world, asks).contains(&Law::Reason), "it may be next");
    let mut going = prefetching("RollingUpdate");
    going.image("b");
    going.sync();
    going.delete_pod("web-0");
    assert!(also(&going, asks).contains(&Law::Reason), "it goes already");
    world.orphan("web-0");
    assert!(also(&world, asks).contains(&Law::Reason), "it is nobody's");
}
