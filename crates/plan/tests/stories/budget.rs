//! `maxUnavailable`: how many replicas a rollout may take down at once, and what does not count.

use expect_test::expect;
use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetUpdateStrategy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_plan::statefulset::Rule;

use crate::parallel;
use crate::world::{World, web};

pub(crate) fn set(replicas: i32, unavailable_max: IntOrString) -> StatefulSet {
    let mut set = web(replicas);
    let spec = set.spec.get_or_insert_default();
    spec.update_strategy = Some(StatefulSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateStatefulSetStrategy {
            partition: Some(0),
            max_unavailable: Some(unavailable_max),
        }),
    });
    set
}

fn parallel_set(replicas: i32, unavailable_max: i32) -> StatefulSet {
    let mut set = set(replicas, IntOrString::Int(unavailable_max));
    parallel(set.spec.get_or_insert_default());
    set
}

#[test]
fn several_replicas_may_be_down_when_the_set_says_so() {
    let mut set = set(4, IntOrString::String("50%".to_owned()));
    parallel(set.spec.get_or_insert_default());
    let mut world = World::up(set);
    world.image("b");
    world.sync();
    world.told(expect![[r#"
        delete web-3 (outdated)
        delete web-2 (outdated)
    "#]]);
    world.settle();
    assert_eq!(world.tell(), "\n", "no more than two at once");
    world.run();
    world.told(expect![[r#"
            create web-2@b
            create web-3@b
            delete web-1 (outdated)
            replace web-0@b (outdated)
            create web-1@b
        "#]]);
}

#[test]
fn an_ordered_set_takes_several_down_at_once_and_brings_them_back_one_by_one() {
    let mut world = World::up(set(4, IntOrString::Int(2)));
    world.image("b");
    world.run();
    world.told(expect![[r#"
            delete web-3 (outdated)
            replace web-2@b (outdated)
            create web-3@b
            delete web-1 (outdated)
            replace web-0@b (outdated)
            create web-1@b
        "#]]);
}

#[test]
fn a_percentage_that_rounds_to_nothing_is_one() {
    let mut world = World::up(set(3, IntOrString::String("10%".to_owned())));
    world.image("b");
    world.sync();
    world.told(expect![[r#"
        delete web-2 (outdated)
    "#]]);
}

#[test]
fn broken_old_replicas_are_repaired_whatever_the_budget() {
    // Kubernetes 1.35 counted them and did nothing for ever (kubernetes#137409).
    let mut world = World::up(parallel_set(4, 1));
    world.image("broken");
    world.run_but(&["web-3"]);
    world.delete_pod("web-2");
    world.run_but(&["web-2", "web-3"]);
    world.tell();
    world.image("fixed");
    world.sync();
    world.told(expect![[r#"
        delete web-3 (broken)
        delete web-2 (broken)
    "#]]);
    world.run();
    world.told(expect![[r#"
            create web-2@fixed
            create web-3@fixed
            replace web-1@fixed (outdated)
            replace web-0@fixed (outdated)
        "#]]);
}

#[test]
fn replicas_that_are_down_already_go_first_and_healthy_ones_only_within_the_budget() {
    let mut world = World::up(parallel_set(4, 2));
    world.wait_s(60);
    world.unready("web-0");
    world.image("b");
    world.sync();
    world.told(expect![[r#"
        delete web-0 (outdated)
        delete web-3 (outdated)
    "#]]);
}

#[test]
fn upstream_counts_everything_that_is_down_when_asked_to() {
    let mut world = World::up(parallel_set(4, 1));
    world.annotate("stead.dev/max-unavailable", "upstream");
    world.wait_s(60);
    world.unready("web-0");
    world.image("b");
    world.settle();
    assert_eq!(world.tell(), "\n", "one is down, which is all that may be");
    assert!(world.waits().contains(&"web-0 is unavailable, and no more replicas may be".to_owned()));
    world.ready("web-0");
    world.sync();
    world.told(expect![[r#"
        delete web-3 (outdated)
    "#]]);
}

#[test]
fn a_budget_is_named_only_where_it_holds_something_up() {
    let mut world = World::up(parallel_set(3, 2));
    world.image("b");
    world.wait_s(60);
    world.unready("web-0");
    let plan = world.sync();
    world.told(expect![[r#"
        delete web-0 (outdated)
        delete web-2 (outdated)
    "#]]);
    assert!(plan.waits.iter().all(|wait| wait.rule != Rule::Budget), "{:?}", plan.waits);
}
