//! Who is collected, kept or set free, and what the graph asks to look at.

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;

fn meta(extra: Value) -> ObjectMeta {
    let mut meta = json!({"name": "p", "namespace": "ns", "uid": "p-1", "resourceVersion": "7"});
    for (key, value) in extra.as_object().expect("an object") {
        meta[key] = value.clone();
    }
    serde_json::from_value(meta).expect("metadata")
}

fn owner(uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

fn owned(owners: &[&str]) -> ObjectMeta {
    meta(json!({"ownerReferences": owners.iter().map(|uid| owner(uid)).collect::<Vec<_>>()}))
}

fn show(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Keep => "keep".to_owned(),
        Verdict::AskAgain => "ask again".to_owned(),
        Verdict::Delete { propagation, first: None } => format!("delete {propagation:?}"),
        Verdict::Delete { propagation, first: Some(patch) } => {
            let blocking = &patch["metadata"]["ownerReferences"][0]["blockOwnerDeletion"];
            format!("unblock to {blocking}, then delete {propagation:?}")
        }
        Verdict::Patch(patch) => patch["metadata"].to_string(),
    }
}

fn check(meta: &ObjectMeta, findings: &[Finding], dependents: &[bool], wanted: &Expect) {
    wanted.assert_eq(&show(&collect(meta, findings, dependents)));
}

#[test]
fn an_object_goes_only_when_every_owner_is_known_to_be_gone() {
    use Finding::{Absent, Solid, Unknown, Unresolvable, Waiting};
    check(&owned(&["a"]), &[Absent], &[], &expect!["delete Background"]);
    check(&owned(&["a"]), &[Solid], &[], &expect!["keep"]);
    check(&owned(&["a", "b"]), &[Absent, Absent], &[], &expect!["delete Background"]);
    check(&owned(&["a"]), &[Unknown], &[], &expect!["ask again"]);
    check(&owned(&["a", "b"]), &[Absent, Unknown], &[], &expect!["ask again"]);
    check(&owned(&["a", "b"]), &[Absent, Unresolvable], &[], &expect!["keep"]);
    check(&owned(&["a"]), &[], &[], &expect!["ask again"]);
    check(&owned(&[]), &[], &[], &expect!["keep"]);
    check(&owned(&["a"]), &[Waiting], &[], &expect!["delete Background"]);
}

#[test]
fn a_living_owner_keeps_the_object_and_the_dead_ones_are_dropped() {
    use Finding::{Absent, Solid, Waiting};
    let wanted = expect![[
        r#"{"uid":"p-1","resourceVersion":"7","ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"StatefulSet","name":"web","uid":"b"}]}"#
    ]];
    check(&owned(&["a", "b"]), &[Absent, Solid], &[], &wanted);
    check(&owned(&["a", "b"]), &[Waiting, Solid], &[], &wanted);
}

#[test]
fn foreground_spreads_downwards_and_circles_are_broken() {
    let item = owned(&["a"]);
    check(&item, &[Finding::Waiting], &[false], &expect!["delete Foreground"]);
    check(&item, &[Finding::Waiting], &[false, true], &expect!["unblock to false, then delete Foreground"]);
    check(&item, &[Finding::Absent], &[true], &expect!["delete Background"]);
}

#[test]
fn the_objects_own_finalizers_say_how_its_dependents_fare() {
    for (finalizer, wanted) in [("orphan", "delete Orphan"), ("foregroundDeletion", "delete Foreground")] {
        let item = meta(json!({"ownerReferences": [owner("a")], "finalizers": [finalizer]}));
        assert_eq!(show(&collect(&item, &[Finding::Absent], &[])), wanted);
    }
}

#[test]
fn what_is_being_deleted_is_left_alone() {
    let item = meta(json!({"ownerReferences": [owner("a")], "deletionTimestamp": "2026-01-01T00:00:00Z"}));
    check(&item, &[Finding::Absent], &[], &expect!["keep"]);
}

#[test]
fn finalizers_go_when_nothing_blocks_and_others_stay() {
    let waiting =
        meta(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y", "foregroundDeletion"]}));
    assert_eq!(foreground(&waiting, 1), Verdict::Keep);
    expect![[r#"{"uid":"p-1","resourceVersion":"7","finalizers":["x/y"]}"#]].assert_eq(&show(&foreground(&waiting, 0)));
    let orphaning = meta(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"]}));
    expect![[r#"{"uid":"p-1","resourceVersion":"7","finalizers":[]}"#]].assert_eq(&show(&orphan(&orphaning)));
    assert_eq!(orphan(&meta(json!({"finalizers": ["orphan"]}))), Verdict::Keep, "not being deleted");
}

#[test]
fn setting_free_takes_away_exactly_one_owner() {
    assert_eq!(release(&owned(&["b"]), "a"), None);
    let patch = release(&owned(&["a", "b"]), "a").expect("a patch");
    assert_eq!(patch["metadata"]["ownerReferences"][0]["uid"], "b");
}

/// A graph fed by hand.
struct World(Graph);

impl World {
    fn see(&mut self, uid: &str, extra: Value) -> String {
        let kind = if uid.starts_with("set") { "StatefulSet" } else { "Pod" };
        let version = if kind == "Pod" { "v1" } else { "apps/v1" };
        let name = if kind == "Pod" { uid } else { "web" };
        let at =
            Coordinates { api_version: version.into(), kind: kind.into(), namespace: "ns".into(), name: name.into() };
        let mut meta = meta(extra);
        meta.uid = Some(uid.to_owned());
        show_work(self.0.apply(at, &meta))
    }

    fn lose(&mut self, uid: &str) -> String {
        show_work(self.0.remove(uid))
    }
}

fn show_work(work: Vec<Work>) -> String {
    let texts = work.iter().map(|work| match work {
        Work::Item(uid) => format!("item {uid}"),
        Work::Orphan(uid) => format!("orphan {uid}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_graph_asks_for_a_look_only_when_an_owner_is_in_doubt() {
    let mut world = World(Graph::default());
    assert_eq!(world.see("set", json!({})), "");
    assert_eq!(world.see("pod", json!({"ownerReferences": [owner("set")]})), "", "its owner is known");
    assert_eq!(world.see("pod", json!({"ownerReferences": [owner("set")], "labels": {"a": "b"}})), "");
    assert_eq!(world.see("lost", json!({"ownerReferences": [owner("nobody")]})), "item lost");
    assert_eq!(world.lose("set"), "item pod");
    assert_eq!(world.lose("pod"), "");
}

#[test]
fn an_owner_under_another_name_is_in_doubt() {
    let mut world = World(Graph::default());
    world.see("pod-a", json!({}));
    assert_eq!(world.see("pod-b", json!({"ownerReferences": [owner("pod-a")]})), "item pod-b");
}

#[test]
fn a_foreground_deletion_looks_at_dependents_and_then_again_at_the_owner() {
    let deleting = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]});
    let mut world = World(Graph::default());
    world.see("set", json!({}));
    world.see("pod-a", json!({"ownerReferences": [owner("set")]}));
    world.see("pod-b", json!({"ownerReferences": [owner("set")]}));
    assert_eq!(world.see("set", deleting), "item set, item pod-a, item pod-b");
    assert_eq!(world.0.blocking("set").len(), 2);
    assert_eq!(world.lose("pod-a"), "item set");
    let mut unblocked = owner("set");
    unblocked["blockOwnerDeletion"] = json!(false);
    assert!(world.see("pod-b", json!({"ownerReferences": [unblocked]})).starts_with("item set"));
    assert!(world.0.blocking("set").is_empty());
    assert_eq!(world.see("pod-c", json!({"ownerReferences": [owner("set")]})), "item pod-c", "a latecomer");
}

#[test]
fn a_survey_finds_everything_that_happened_while_nobody_looked() {
    let mut world = World(Graph::default());
    world.see("lost", json!({"ownerReferences": [owner("nobody")]}));
    world.see("set", json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"]}));
    world.see("kept", json!({"ownerReferences": [owner("set")]}));
    assert_eq!(show_work(world.0.survey()), "item lost, orphan set");
}

#[test]
fn an_object_is_set_free_of_its_dependents_once() {
    let orphaning = |owners: &[&str]| {
        let owners: Vec<_> = owners.iter().map(|uid| owner(uid)).collect();
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"], "ownerReferences": owners})
    };
    let mut world = World(Graph::default());
    assert_eq!(world.see("set", json!({})), "");
    assert_eq!(world.see("set", orphaning(&[])), "orphan set");
    assert_eq!(world.see("set", orphaning(&["nobody"])), "", "that has begun, and it goes anyway");
    assert!(world.0.get("set").is_some_and(|node| node.orphaning) && world.0.get("other").is_none());
}

#[test]
fn owners_that_come_later_are_looked_at_and_those_of_what_goes_are_not() {
    let mut world = World(Graph::default());
    world.see("pod", json!({}));
    assert_eq!(world.see("pod", json!({"ownerReferences": [owner("nobody")]})), "item pod");
    let going = json!({"ownerReferences": [owner("nobody")], "deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert_eq!(world.see("other", going), "");
}

#[test]
fn a_dependent_that_goes_on_blocking_is_no_reason_to_look_at_its_owner() {
    let mut world = World(Graph::default());
    world.see("set-b", json!({}));
    world.see("set", json!({}));
    world.see("pod", json!({"ownerReferences": [owner("set")]}));
    world.see("set", json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}));
    let work = world.see("pod", json!({"ownerReferences": [owner("set"), owner("set-b")]}));
    assert_eq!(work, "item pod", "it waits for its owner, which it still blocks");
}

#[test]
fn a_reference_is_to_one_kind_of_one_group_under_one_name() {
    let at = Coordinates {
        api_version: "apps/v1".into(),
        kind: "StatefulSet".into(),
        namespace: "ns".into(),
        name: "web".into(),
    };
    let refers = |version: &str, kind: &str, name: &str| {
        let owner = json!({"apiVersion": version, "kind": kind, "name": name, "uid": "u"});
        super::graph::refers_to(&serde_json::from_value(owner).expect("a reference"), &at)
    };
    assert!(refers("apps/v1", "StatefulSet", "web") && refers("apps/v2", "StatefulSet", "web"));
    assert!(!refers("v1", "StatefulSet", "web") && !refers("apps/v1", "Deployment", "web"));
    assert!(!refers("apps/v1", "StatefulSet", "db"));
}
