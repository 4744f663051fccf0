//! Which of several nodes is taken.

use super::*;

fn nodes(all: &[(&str, Value)]) -> World {
    all.iter().fold(World::default(), |world, (name, extra)| world.node(name, extra.clone()))
}

fn soft() -> Value {
    json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}})
}

fn prefers(node: &str) -> Value {
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "preference": term},
    ]}}})
}

fn with(base: Value, more: Value) -> Value {
    overlay(base, more)
}

fn best(world: &World, spec: Value, tie: usize) -> String {
    match decide(&world.cluster, &pod(spec), world, Seed { start: 0, tie }) {
        Decision::Bind { node } => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_soft_taint_weighs_more_than_a_preference_and_that_more_than_room() {
    let two = || nodes(&[("a", soft()), ("b", json!({}))]);
    assert_eq!(best(&two(), json!({}), 0), "b");
    assert_eq!(best(&two(), prefers("a"), 0), "b", "three times against twice");
    let tolerant = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
    assert_eq!(best(&two(), with(prefers("a"), tolerant), 0), "a", "one that is tolerated counts for nothing");
    let plain = nodes(&[("a", json!({})), ("b", json!({}))]).running("p", "a", asks("2", "4Gi"));
    assert_eq!(best(&plain, prefers("a"), 1), "a", "there is room for what asks for nothing");
    assert_eq!(best(&plain, json!({}), 0), "b");
    let uneven = nodes(&[("a", json!({})), ("b", json!({}))]).running("p", "a", asks("2", "0"));
    assert_eq!(best(&uneven, prefers("a"), 0), "a", "twice against how even it is");
    let busy = two().running("p", "b", asks("1", "2Gi"));
    assert_eq!(best(&busy, json!({}), 0), "b", "three times against the room and how even it is");
}

#[test]
fn a_hard_taint_is_no_soft_one() {
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
    let world = nodes(&[("a", tainted), ("b", soft())]);
    let tolerant = json!({"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]});
    assert_eq!(best(&world, tolerant, 0), "a");
}

#[test]
fn of_nodes_with_as_much_room_the_one_that_fills_evenly_is_taken() {
    let world = nodes(&[("a", json!({})), ("b", json!({}))]).running("p", "a", asks("1500m", "1Gi")).running(
        "q",
        "b",
        asks("1", "2Gi"),
    );
    assert_eq!(best(&world, asks("0", "0"), 0), "b");
}

#[test]
fn equals_take_turns() {
    let world = nodes(&[("a", json!({})), ("b", json!({})), ("c", json!({}))]);
    let taken: Vec<String> = (0..5).map(|tie| best(&world, json!({}), tie)).collect();
    assert_eq!(taken, ["a", "b", "c", "a", "b"]);
}
