//! Where pods go for the sake of their claims.

use super::*;

#[test]
fn pods_stick_to_their_volumes_node() {
    let world =
        World::default().node("n1", json!({})).node("n2", json!({})).class("WaitForFirstConsumer", "stead.dev/local");
    let world = world.volume("v1", "n2").bound("data", "v1").bound("lost", "v9");
    world.check(uses(&["data"]), &expect!["bind to n2"]);
    world.check(
        uses(&["lost"]),
        &expect!["0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s). preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."],
    );
    let world = world.volume("v2", "n3").bound("far", "v2");
    world.check(
        uses(&["far"]),
        &expect!["0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."],
    );
}

#[test]
fn waiting_claims_are_provisioned_on_the_chosen_node_and_then_stay_there() {
    let world =
        World::default().node("n1", json!({})).node("n2", json!({})).class("WaitForFirstConsumer", "stead.dev/local");
    let world = world.running("busy", "n1", asks("2", "1Gi")).claim("data", json!({}));
    let mut spec = uses(&["data"]);
    spec["containers"] = asks("1", "1Gi")["containers"].clone();
    world.check(spec.clone(), &expect!["prepare n2: provision data on n2"]);
    let selected = json!({"metadata": {"annotations": {crate::claims::SELECTED_NODE_ANNOTATION: "n2"}}});
    world.claim("data", selected.clone()).check(spec, &expect!["prepare n2: "]);
    let turned = World::default().node("n1", json!({})).node("n2", json!({})).running("busy", "n2", asks("1", "1Gi"));
    let turned = turned.class("WaitForFirstConsumer", "stead.dev/local").claim("data", selected);
    turned.check(uses(&["data"]), &expect!["prepare n2: "]);
}

#[test]
fn who_provisions_elsewhere_is_told_of_the_node() {
    let world = World::default().node("n1", json!({})).class("WaitForFirstConsumer", "example.com/disks");
    world.claim("data", json!({})).check(uses(&["data"]), &expect!["prepare n1: tell data on n1"]);
}

#[test]
fn a_class_provisions_where_its_topologies_allow_it() {
    let mut world = World::default().node("n1", json!({})).node("n2", json!({})).claim("data", json!({}));
    let term = json!({"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["n2", "n3"]}]});
    let class = json!({"metadata": {"name": "local"}, "provisioner": "stead.dev/local",
        "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": [term]});
    world.classes = vec![Arc::new(serde_json::from_value(class).expect("a class"))];
    world.check(uses(&["data"]), &expect!["prepare n2: provision data on n2"]);
}

#[test]
fn waiting_claims_take_free_volumes_each_its_own() {
    let world = World::default().node("n1", json!({})).class("WaitForFirstConsumer", "kubernetes.io/no-provisioner");
    let world = world.claim("a", json!({})).claim("b", json!({})).volume("v1", "n1");
    world.check(
        uses(&["a", "b"]),
        &expect!["0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
    );
    world.volume("v2", "n1").check(uses(&["a", "b"]), &expect!["prepare n1: reserve v1 for a, reserve v2 for b"]);
}

#[test]
fn claims_that_cannot_be_used_say_so_for_all_nodes() {
    let world = World::default().node("n1", json!({})).class("Immediate", "stead.dev/local");
    let world = world.claim("unbound", json!({}));
    let world = world.claim("going", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let world = world.claim("lost", json!({"spec": {"volumeName": "v"}, "status": {"phase": "Lost"}}));
    let mut named = World::default().node("n1", json!({})).class("WaitForFirstConsumer", "stead.dev/local");
    named = named.volume("v", "n1").claim("named", json!({"spec": {"volumeName": "v"}}));
    assert!(named.decide(uses(&["named"])).contains("pod has unbound immediate PersistentVolumeClaims"));
    let ephemeral = json!({"volumes": [{"name": "tmp", "ephemeral": {}}]});
    let specs = [uses(&["none"]), uses(&["unbound"]), uses(&["going"]), uses(&["lost"]), ephemeral];
    let shown: Vec<String> = specs.into_iter().map(|spec| world.decide(spec)).collect();
    let all = shown
        .join("\n")
        .replace(" preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", "");
    expect![[r#"
        0/1 nodes are available: persistentvolumeclaim "none" not found.
        0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.
        0/1 nodes are available: persistentvolumeclaim "going" is being deleted.
        0/1 nodes are available: persistentvolumeclaim "lost" bound to non-existent persistentvolume "v".
        0/1 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "p-tmp"."#]]
    .assert_eq(&all);
}

#[test]
fn read_write_once_pod_means_one_pod() {
    let world = World::default().node("n1", json!({})).volume("v1", "n1").bound("data", "v1");
    let mut claim = PersistentVolumeClaim::clone(&world.claims["data"]);
    claim.spec.get_or_insert_default().access_modes = Some(vec!["ReadWriteOncePod".to_owned()]);
    let mut world = world;
    world.claims.insert("data".to_owned(), Arc::new(claim));
    assert_eq!(world.decide(uses(&["data"])), "bind to n1");
    let world = world.running("first", "n1", uses(&["data"]));
    assert!(world.decide(uses(&["data"])).contains("ReadWriteOncePod access mode already in-use by another pod"));
}
