//! What a set says about itself: Progressing, Available, Blocked, and the events of a rollout that waits.

use std::sync::Arc;

use expect_test::expect;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeSpec,
    VolumeNodeAffinity,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::check;
use crate::world::{World, web};

fn all(world: &World) -> String {
    ["Progressing", "Available", "Blocked"].map(|kind| world.condition(kind)).join("\n")
}

#[test]
fn conditions_tell_how_a_set_comes_up() {
    let mut world = World::new(web(2));
    world.settle();
    check(
        &all(&world),
        expect![[r#"
        Progressing=True RollingOut: 0 of 2 replicas are at revision a and available
        Available=False TooFewReplicas: 0 of 2 replicas are available
        Blocked=False NothingBlocks: "#]],
    );
    world.run();
    check(
        &all(&world),
        expect![[r#"
        Progressing=True RolloutComplete: 2 of 2 replicas are at revision a and available
        Available=True EnoughReplicas: 2 of 2 replicas are available
        Blocked=False NothingBlocks: "#]],
    );
}

#[test]
fn an_update_that_goes_well_is_available_all_the_time_and_blocked_at_no_time() {
    let mut world = World::running(3);
    world.image("b");
    world.settle();
    check(
        &all(&world),
        expect![[r#"
        Progressing=True RollingOut: 0 of 3 replicas are at revision b and available
        Available=True EnoughReplicas: 2 of 3 replicas are available
        Blocked=False NothingBlocks: "#]],
    );
    while world.node() {
        world.settle();
        let conditions = all(&world);
        assert!(conditions.contains("Available=True") && conditions.contains("Blocked=False"), "{conditions}");
    }
    world.run();
    check(
        &all(&world),
        expect![[r#"
        Progressing=True RolloutComplete: 3 of 3 replicas are at revision b and available
        Available=True EnoughReplicas: 3 of 3 replicas are available
        Blocked=False NothingBlocks: "#]],
    );
}

#[test]
fn a_rollout_that_waits_says_for_whom_and_when_it_goes_on() {
    let mut world = World::running(3);
    world.image("b");
    world.settle();
    world.gone("web-2");
    world.settle();
    world.start_unready("web-2");
    world.settle();
    world.events.clear();
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
    let wake_at = world.plan().wake_at.expect("it looks again when its patience ends");
    assert_eq!(wake_at.duration_since(world.now).as_secs(), 30);
    world.wait_s(30);
    world.settle();
    check(&world.condition("Blocked"), expect!["Blocked=True PodNotReady: web-2 is not running and ready"]);
    world.wait_s(300);
    assert!(world.plan().is_empty(), "waiting is told once");
    world.ready("web-2");
    world.run();
    check(
        &world.events.join("\n"),
        expect![[r#"
        Warning RolloutWaiting The rollout waits: web-2 is not running and ready
        Normal RolloutContinues The rollout goes on
        Normal SuccessfulDelete Delete Pod web-1 in StatefulSet web successful
        Normal SuccessfulCreate Create Pod web-1 in StatefulSet web successful
        Normal SuccessfulDelete Delete Pod web-0 in StatefulSet web successful
        Normal SuccessfulCreate Create Pod web-0 in StatefulSet web successful"#]],
    );
    check(
        &all(&world),
        expect![[r#"
        Progressing=True RolloutComplete: 3 of 3 replicas are at revision b and available
        Available=True EnoughReplicas: 3 of 3 replicas are available
        Blocked=False NothingBlocks: "#]],
    );
}

#[test]
fn a_replica_on_a_lost_node_blocks_after_its_time_to_end() {
    let mut world = World::running(3);
    world.wait_s(100);
    world.delete_pod("web-1");
    world.settle();
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
    world.wait_s(31);
    world.settle();
    check(
        &world.condition("Blocked"),
        expect!["Blocked=True PodTerminating: web-1 is terminating and holds its ordinal until it is gone"],
    );
    check(&world.condition("Available"), expect!["Available=True EnoughReplicas: 2 of 3 replicas are available"]);
}

#[test]
fn the_time_of_a_condition_is_that_of_its_last_change() {
    let mut world = World::running(1);
    let since = |world: &World, kind: &str| {
        let conditions = world.set.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        let condition = conditions.into_iter().find(|condition| condition.type_ == kind).expect("the condition");
        condition.last_transition_time.map(|time| time.0)
    };
    let before = since(&world, "Available");
    world.wait_s(100);
    world.scale(2);
    world.run();
    assert_eq!(since(&world, "Available"), before);
    world.wait_s(100);
    world.unready("web-0");
    world.unready("web-1");
    world.settle();
    assert_eq!(since(&world, "Available"), Some(world.now));
}

#[test]
fn a_claim_whose_data_are_on_a_lost_node_is_named() {
    let mut world = World::running(2);
    world.provision();
    let only_there = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec!["gone".to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![only_there]), match_fields: None };
    world.volumes = vec![Arc::new(PersistentVolume {
        metadata: ObjectMeta { name: Some("volume-of-data-web-1".to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeSpec {
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })];
    world.nodes = vec![Arc::new(Node {
        metadata: ObjectMeta { name: Some("here".to_owned()), ..ObjectMeta::default() },
        ..Node::default()
    })];
    world.pods.get_mut("web-1").expect("it runs").spec.get_or_insert_default().node_name = Some("gone".to_owned());
    assert!(!world.explain().contains("no more"), "its pod has them, until that is gone, too");
    world.pods.remove("web-1");
    world.settle();
    // The scheduler finds no node for it.
    let pod = world.pods.get_mut("web-1").expect("made again");
    pod.spec.get_or_insert_default().node_name = None;
    world.settle();
    check(
        &world.condition("Blocked"),
        expect!["Blocked=True VolumeLost: data-web-1 has its data on a node that is no more"],
    );
    // The way out: the replica starts anew.
    world.annotate("stead.dev/reset", "1=1");
    world.tell();
    world.run();
    world.told(expect![[r#"
        delete web-1 (reset)
        delete data-web-1
        collected data-web-1
        create web-1@a
    "#]]);
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
}

#[test]
fn an_annotation_that_cannot_be_read_is_told_once_and_again_when_it_changes() {
    let mut world = World::running(1);
    world.events.clear();
    let told = |world: &mut World, value: &str| {
        world.annotate("stead.dev/paused", value);
        world.run();
        world.run();
        std::mem::take(&mut world.events).join("\n")
    };
    check(
        &told(&mut world, "yes"),
        expect![[r#"Warning InvalidAnnotation stead.dev/paused: "yes" is ignored: must be 'true' or 'false'"#]],
    );
    check(
        &told(&mut world, "no"),
        expect![[r#"Warning InvalidAnnotation stead.dev/paused: "no" is ignored: must be 'true' or 'false'"#]],
    );
    check(&told(&mut world, "no"), expect![""]);
    check(&told(&mut world, "false"), expect![""]);
    check(&world.condition("AnnotationsValid"), expect!["AnnotationsValid=True AllRead: "]);
}
