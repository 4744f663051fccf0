//! A replica is made ready before an update stops it: the images first, then the hook, then the pod goes.

use std::sync::Arc;

use expect_test::expect;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_api::preparation::{PREPARES, Prefetch};

use crate::world::{World, web};
use crate::{check, on_delete};

const HOOK: &str = r#"{"exec":{"command":["hand-over"]}}"#;

#[test]
fn each_node_is_asked_before_its_replica_goes() {
    let mut world = World::preparing(web(2));
    world.image("b");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
            prepare web-1 for b
        "#]],
    );
    let request = world.request("web-1").expect("asked");
    assert_eq!((request.prefetch, request.hook), (Prefetch::IfPossible, None));
    assert_eq!(request.images.iter().map(|wanted| wanted.image.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(world.waits(), ["web-1 is being made ready to be replaced"]);
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        replace web-1@b (outdated)
        prepare web-0 for b
        replace web-0@b (outdated)
    "#]],
    );
    assert!(world.plan().is_empty());
}

#[test]
fn where_nodes_cannot_be_asked_or_nobody_wants_it_replicas_go_at_once() {
    let told = |world: &mut World| {
        world.image("b");
        world.run();
        world.tell()
    };
    let plain = told(&mut World::running(2));
    let mut off = World::preparing(web(2));
    off.annotate("stead.dev/image-prefetch", "off");
    assert_eq!(told(&mut off), plain);
    let mut by_hand = web(2);
    on_delete(by_hand.spec.get_or_insert_default());
    assert!(!told(&mut World::preparing(by_hand)).contains("prepare"));
}

#[test]
fn an_image_that_cannot_be_had_holds_up_only_those_who_say_so() {
    let mut world = World::preparing(web(2));
    world.missing = vec!["b".to_owned()];
    world.image("b");
    world.settle();
    world.prepare();
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
        delete web-1 (outdated)
    "#]],
    );

    let mut world = World::preparing(web(2));
    world.annotate("stead.dev/image-prefetch", "required");
    world.missing = vec!["b".to_owned()];
    world.image("b");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
    "#]],
    );
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
    world.wait_s(30);
    world.run();
    check(
        &world.condition("Blocked"),
        expect!["Blocked=True ImageMissing: web-1 stays until its node has the new image: b: not found"],
    );
    check(
        &world.events.last().cloned().unwrap_or_default(),
        expect!["Warning RolloutWaiting The rollout waits: web-1 stays until its node has the new image: b: not found"],
    );
    check(
        &world.explain(),
        expect![[r#"
        revision a, going to b
          0: available, a; data-web-0
          1: available, a; data-web-1
        next: nothing
        waits because:
          web-1 stays until its node has the new image: b: not found
        conditions:
          Progressing=True RollingOut: 0 of 2 replicas are at revision b and available
          Available=True EnoughReplicas: 2 of 2 replicas are available
          Blocked=True ImageMissing: web-1 stays until its node has the new image: b: not found
        looks again when something changes
    "#]],
    );
    // A replica that is down waits for the image, too: without it the new one would not come up either.
    world.edit(crate::parallel);
    world.unready("web-1");
    world.settle();
    assert_eq!(world.tell(), "\n", "nothing is done");
    world.ready("web-1");
    world.missing.clear();
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        replace web-1@b (outdated)
        prepare web-0 for b
        replace web-0@b (outdated)
    "#]],
    );
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
}

#[test]
fn a_hook_that_fails_keeps_its_replica() {
    let mut world = World::preparing(web(2));
    world.annotate("stead.dev/prepare-hook", HOOK);
    world.hooks_fail = true;
    world.image("b");
    world.run();
    world.wait_s(30);
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
    "#]],
    );
    check(
        &world.condition("Blocked"),
        expect!["Blocked=True PrepareHookFailed: web-1 stays until its prepare hook succeeds: it exited with 1"],
    );
    // Another hook is another request.
    let before = world.request("web-1").expect("asked").id;
    world.annotate("stead.dev/prepare-hook", r#"{"httpGet":{"port":80}}"#);
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
    "#]],
    );
    assert_ne!(world.request("web-1").expect("asked").id, before);
    world.hooks_fail = false;
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        replace web-1@b (outdated)
        prepare web-0 for b
        replace web-0@b (outdated)
    "#]],
    );
}

#[test]
fn a_replica_that_is_down_is_replaced_at_once_without_its_hook() {
    let mut world = World::preparing(web(2));
    world.annotate("stead.dev/prepare-hook", HOOK);
    world.edit(crate::parallel);
    world.image("b");
    world.settle();
    world.unready("web-1");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
        delete web-1 (outdated)
    "#]],
    );
}

#[test]
fn a_template_put_back_takes_the_request_away_and_an_old_answer_counts_for_nothing() {
    let mut world = World::preparing(web(2));
    world.image("b");
    world.settle();
    world.prepare();
    world.image("a");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
        renumber a to 3
        withdraw web-1
    "#]],
    );
    assert!(world.request("web-1").is_none());
    assert!(world.plan().is_empty(), "and then there is silence");
    // The same revision again: the node is asked again, though it has answered for that revision before.
    world.image("b");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        renumber b to 4
        prepare web-1 for b
    "#]],
    );
    world.image("c");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for c
    "#]],
    );
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        replace web-1@c (outdated)
        prepare web-0 for c
        replace web-0@c (outdated)
    "#]],
    );
}

#[test]
fn a_rollout_that_has_to_wait_meanwhile_does_not_ask_twice() {
    let mut world = World::preparing(web(2));
    world.annotate("stead.dev/prepare-hook", HOOK);
    world.image("b");
    world.settle();
    world.unready("web-0");
    world.prepare();
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
    "#]],
    );
    assert!(world.request("web-1").is_some());
    world.ready("web-0");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        delete web-1 (outdated)
    "#]],
    );
}

#[test]
fn a_replica_that_is_no_longer_next_is_let_be() {
    let mut world = World::preparing(web(3));
    world.image("b");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-2 for b
    "#]],
    );
    world.annotate("stead.dev/update-order-label", "role=leader");
    world.role("web-2", "leader");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
        withdraw web-2
    "#]],
    );
    world.annotate("stead.dev/paused", "true");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        withdraw web-1
    "#]],
    );
    world.unannotate("stead.dev/paused");
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-1 for b
        replace web-1@b (outdated)
        prepare web-0 for b
        replace web-0@b (outdated)
        prepare web-2 for b
        replace web-2@b (outdated)
    "#]],
    );
}

#[test]
fn within_a_budget_several_are_made_ready_at_a_time() {
    let mut world = World::preparing(crate::budget::set(4, IntOrString::Int(2)));
    world.image("b");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-3 for b
        prepare web-2 for b
    "#]],
    );
    world.run();
    check(
        &world.tell(),
        expect![[r#"
        delete web-3 (outdated)
        replace web-2@b (outdated)
        create web-3@b
        prepare web-1 for b
        prepare web-0 for b
        delete web-1 (outdated)
        replace web-0@b (outdated)
        create web-1@b
    "#]],
    );
}

#[test]
fn a_request_that_cannot_be_read_is_replaced_or_taken_away() {
    let mut world = World::preparing(web(1));
    let scribble = |world: &mut World| {
        let pod = world.pods.get_mut("web-0").expect("there");
        pod.metadata.annotations.get_or_insert_default().insert("stead.dev/prepare".to_owned(), "?".to_owned());
    };
    scribble(&mut world);
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        withdraw web-0
    "#]],
    );
    scribble(&mut world);
    world.image("b");
    world.settle();
    check(
        &world.tell(),
        expect![[r#"
        prepare web-0 for b
    "#]],
    );
}

#[test]
fn a_node_that_does_not_say_it_prepares_is_not_asked() {
    let mut world = World::preparing(web(1));
    let mut node = Node::clone(&world.nodes[0]);
    node.metadata.annotations.get_or_insert_default().insert(PREPARES.to_owned(), "false".to_owned());
    world.nodes = vec![Arc::new(node)];
    world.image("b");
    world.sync();
    assert_eq!(world.tell(), "delete web-0 (outdated)\n");
}

#[test]
fn what_was_asked_stands_while_an_updated_replica_is_down() {
    let mut world = World::preparing(web(3));
    world.image("b");
    while world.request("web-1").is_none() {
        world.settle();
        world.node();
    }
    world.tell();
    world.unready("web-2");
    world.settle();
    assert_eq!(world.tell(), "\n", "it is still next once web-2 is back");
    assert!(world.request("web-1").is_some());
}
