//! Plans that take down more than they may, or the wrong one first.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;

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
    world.role("web-2", "leader");
    world.image("b");
    let leader_first = |view: &View, plan: &mut Plan| *deletion(plan) = delete(view, 2, Removal::Outdated);
    assert!(broken(&world, leader_first).contains(&Law::Budget));
    let mut last = World::running(1);
    last.annotate("stead.dev/update-order-label", "role=leader");
    last.role("web-0", "leader");
    last.image("b");
    assert_eq!(broken(&last, |_, _| {}), []);
}

#[test]
fn a_healthy_replica_is_reset_only_while_all_others_are_up() {
    let mut world = World::running(3);
    world.wait_s(60);
    world.unready("web-1");
    world.settle();
    world.annotate("stead.dev/reset", "2=1");
    let laws = also(&world, |view| delete(view, 2, Removal::Reset));
    assert!(laws.contains(&Law::Budget), "{laws:?}");
}

#[test]
fn upstream_counts_everything_alike() {
    let mut world = within_two();
    world.annotate("stead.dev/max-unavailable", "upstream");
    world.wait_s(60);
    world.unready("web-0");
    world.delete_pod("web-3");
    let another = |view: &View| delete(view, 0, Removal::Outdated);
    assert!(also(&world, another).contains(&Law::Budget), "though it is down itself");
}

#[test]
fn what_is_down_is_replaced_within_the_budget_only() {
    let mut world = within_two();
    world.wait_s(60);
    ["web-0", "web-1", "web-2", "web-3"].iter().for_each(|pod| world.unready(pod));
    let replaces = |pods: &[usize]| {
        let replace = |view: &View, plan: &mut Plan| {
            plan.batches.push(pods.iter().map(|pod| delete(view, *pod, Removal::Outdated)).collect());
        };
        broken(&world, replace)
    };
    assert!(!replaces(&[2, 3]).contains(&Law::Budget));
    assert!(replaces(&[1, 2, 3]).contains(&Law::Budget));
}

#[test]
fn one_that_is_back_from_a_short_run_counts_as_down() {
    let mut world = within_two();
    world.crash("web-0", 3);
    world.back("web-0");
    let two = |view: &View, plan: &mut Plan| {
        let last = plan.batches.last_mut().expect("deletions are planned");
        *last = [2, 3].map(|pod| delete(view, pod, Removal::Outdated)).to_vec();
    };
    assert!(broken(&world, two).contains(&Law::Budget));
    world.wait_s(60);
    assert!(!broken(&world, two).contains(&Law::Budget), "it has stayed up");
}

fn parallel_updating(annotations: &[(&str, &str)]) -> World {
    let mut world = World::parallel(3);
    annotations.iter().for_each(|(key, value)| world.annotate(key, value));
    world.image("b");
    world
}

/// The pod at `pod` of those that are seen is replaced, and no other.
fn goes(pod: usize) -> impl Fn(&View, &mut Plan) {
    move |view, plan| delete_only(view, plan, pod, Removal::Outdated)
}

#[test]
fn one_after_the_other_means_that_those_before_it_stand() {
    let mut ordered = updating();
    ordered.wait_s(60);
    ordered.unready("web-0");
    assert!(broken(&ordered, goes(2)).contains(&Law::Budget), "in ordered sets all count");
    // In parallel ones those below do not.
    let mut lower = parallel_updating(&[]);
    lower.wait_s(60);
    lower.unready("web-0");
    assert!(!broken(&lower, goes(2)).contains(&Law::Budget));
    for annotations in [&[][..], &[("stead.dev/update-order-label", "role=leader")]] {
        let mut higher = parallel_updating(annotations);
        higher.sync();
        higher.gone("web-2");
        higher.sync();
        higher.start_unready("web-2");
        assert!(broken(&higher, goes(1)).contains(&Law::Budget), "{annotations:?}: the one before it is down");
        higher.ready("web-2");
        higher.wait_s(60);
        assert!(!broken(&higher, goes(1)).contains(&Law::Budget), "{annotations:?}: it stands");
    }
}

#[test]
fn one_after_the_other_counts_all_that_have_had_their_turn() {
    let mut by_number = parallel_updating(&[]);
    by_number.wait_s(60);
    by_number.unready("web-2");
    assert!(broken(&by_number, goes(1)).contains(&Law::Budget), "web-2 comes first, though it is late itself");

    let mut by_role = parallel_updating(&[("stead.dev/update-order-label", "role=leader")]);
    by_role.role("web-2", "leader");
    by_role.wait_s(60);
    by_role.unready("web-2");
    assert!(!broken(&by_role, goes(1)).contains(&Law::Budget), "the leader comes last, so it may be down");
    by_role.ready("web-2");
    by_role.run_but(&["web-0"]);
    assert!(broken(&by_role, goes(2)).contains(&Law::Budget), "web-0 has had its turn");
}

#[test]
fn leaders_do_not_wait_for_each_other() {
    let mut world = World::running(2);
    world.annotate("stead.dev/update-order-label", "role=leader");
    ["web-0", "web-1"].iter().for_each(|pod| world.role(pod, "leader"));
    world.image("b");
    assert_eq!(broken(&world, |_, _| {}), []);
}

#[test]
fn no_replica_is_made_while_a_lower_one_goes() {
    let mut world = World::running(2);
    world.annotate("stead.dev/reset", "0=1");
    world.scale(3);
    let goes = |view: &View| delete(view, 0, Removal::Reset);
    assert!(also(&world, goes).contains(&Law::FromBelow), "it is up so far");
}

#[test]
fn one_that_is_being_replaced_is_in_work_though_it_is_late() {
    let mut world = within_two();
    world.wait_s(60);
    world.sync();
    world.unready("web-1");
    let third = |view: &View| delete(view, 1, Removal::Outdated);
    assert!(also(&world, third).contains(&Law::Budget));
}
