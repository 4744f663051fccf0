//! Scenarios of the contract and of what kubectl sends, and laws every patch obeys.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A type graph small enough to read: rows of (type, field, type of the field, strategy, key).
#[derive(Clone, Copy, Debug)]
struct Table(&'static str);

use ListStrategy::{Merge, Replace, Untagged};

const ROWS: &[(&str, &str, &str, ListStrategy, Option<&str>)] = &[
    ("StatefulSet", "metadata", "ObjectMeta", Untagged, None),
    ("StatefulSet", "spec", "StatefulSetSpec", Untagged, None),
    ("ObjectMeta", "labels", "map", Untagged, None),
    ("ObjectMeta", "finalizers", "string", Merge, None),
    ("StatefulSetSpec", "template", "PodTemplateSpec", Untagged, None),
    ("StatefulSetSpec", "updateStrategy", "UpdateStrategy", Untagged, None),
    ("StatefulSetSpec", "selector", "LabelSelector", Replace, None),
    ("UpdateStrategy", "rollingUpdate", "RollingUpdate", Untagged, None),
    ("PodTemplateSpec", "metadata", "ObjectMeta", Untagged, None),
    ("PodTemplateSpec", "spec", "PodSpec", Untagged, None),
    ("PodSpec", "containers", "Container", Merge, Some("name")),
    ("PodSpec", "volumes", "Volume", Merge, Some("name")),
    ("PodSpec", "tolerations", "Toleration", Untagged, None),
    ("Container", "env", "EnvVar", Merge, Some("name")),
    ("Container", "ports", "ContainerPort", Merge, Some("containerPort")),
    ("Container", "args", "string", Untagged, None),
];

impl PatchTypes for Table {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn field(&self, name: &str) -> Option<PatchField<Self>> {
        if self.0 == "map" {
            return Some(PatchField { ty: *self, strategy: Untagged, merge_key: None });
        }
        let row = ROWS.iter().find(|row| row.0 == self.0 && row.1 == name)?;
        Some(PatchField { ty: Self(row.2), strategy: row.3, merge_key: row.4 })
    }
}

fn check_as(ty: &'static str, live: Value, patch: Value, expected: Expect) {
    let result = match strategic_merge(&Table(ty), live, patch) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&result);
}

fn check(live: Value, patch: Value, expected: Expect) {
    check_as("PodSpec", live, patch, expected);
}

fn names(list: &[&str]) -> Value {
    Value::Array(list.iter().map(|name| json!({"name": name})).collect())
}

#[test]
fn kubectl_set_image_changes_one_container() {
    let live = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "qdrant", "image": "qdrant:1", "ports": [{"containerPort": 6333}]},
        {"name": "sidecar", "image": "s"},
    ]}}}});
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "qdrant"}, {"name": "sidecar"}],
        "containers": [{"image": "x", "name": "qdrant"}],
    }}}});
    check_as(
        "StatefulSet",
        live,
        patch,
        expect![[
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"qdrant","image":"x","ports":[{"containerPort":6333}]},{"name":"sidecar","image":"s"}]}}}}"#
        ]],
    );
}

#[test]
fn rollout_undo_replaces_the_whole_template() {
    let live = json!({"spec": {"replicas": 3, "template": {
        "metadata": {"labels": {"app": "web", "new": "1"}},
        "spec": {"containers": [{"name": "a", "image": "new"}, {"name": "b"}]},
    }}});
    let patch = json!({"spec": {"template": {
        "$patch": "replace",
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "a", "image": "old"}]},
    }}});
    check_as(
        "StatefulSet",
        live,
        patch,
        expect![[
            r#"{"spec":{"replicas":3,"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"a","image":"old"}]}}}}"#
        ]],
    );
}

#[test]
fn the_partition_of_the_lesson() {
    check_as(
        "StatefulSet",
        json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}}),
        json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}}),
        expect![[r#"{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":1}}}}"#]],
    );
}

#[test]
fn new_items_come_before_remaining_live_ones() {
    let live = || json!({"containers": names(&["a", "b"])});
    check(
        live(),
        json!({"containers": names(&["c"])}),
        expect![[r#"{"containers":[{"name":"c"},{"name":"a"},{"name":"b"}]}"#]],
    );
    check(
        live(),
        json!({"containers": names(&["b", "c"])}),
        expect![[r#"{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}"#]],
    );
    check(
        live(),
        json!({"$setElementOrder/containers": names(&["b", "a"])}),
        expect![[r#"{"containers":[{"name":"b"},{"name":"a"}]}"#]],
    );
    check(
        live(),
        json!({"$setElementOrder/containers": names(&["a", "c", "b"]), "containers": names(&["c"])}),
        expect![[r#"{"containers":[{"name":"a"},{"name":"c"},{"name":"b"}]}"#]],
    );
    check(
        live(),
        json!({"$setElementOrder/volumes": names(&["x"])}),
        expect![[r#"{"containers":[{"name":"a"},{"name":"b"}]}"#]],
    );
}

#[test]
fn items_can_be_deleted_and_lists_replaced() {
    let live = || json!({"containers": names(&["a", "b"])});
    check(
        live(),
        json!({"containers": [{"$patch": "delete", "name": "a"}]}),
        expect![[r#"{"containers":[{"name":"b"}]}"#]],
    );
    check(
        live(),
        json!({"containers": [{"$patch": "delete", "name": "z"}]}),
        expect![[r#"{"containers":[{"name":"a"},{"name":"b"}]}"#]],
    );
    check(
        live(),
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        expect![[r#"{"containers":[{"name":"c"}]}"#]],
    );
    check(live(), json!({"containers": []}), expect![[r#"{"containers":[{"name":"a"},{"name":"b"}]}"#]]);
    check(json!({"tolerations": [{"key": "a"}]}), json!({"tolerations": []}), expect![[r#"{"tolerations":[]}"#]]);
}

#[test]
fn maps_obey_directives() {
    check_as(
        "StatefulSet",
        json!({"spec": {"a": 1}}),
        json!({"spec": {"$patch": "delete"}}),
        expect![[r#"{"spec":{}}"#]],
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        expect![[r#"{"volumes":[{"name":"v","hostPath":{"path":"/"}}]}"#]],
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/"}}]}),
        expect!["invalid patch format of retainKeys"],
    );
    check_as(
        "StatefulSetSpec",
        json!({"selector": {"matchLabels": {"a": "b"}}}),
        json!({"selector": {"matchLabels": {"c": "d"}}}),
        expect![[r#"{"selector":{"matchLabels":{"c":"d"}}}"#]],
    );
}

#[test]
fn scalars_merge_as_sets() {
    let live = || json!({"finalizers": ["a", "b"]});
    check_as("ObjectMeta", live(), json!({"finalizers": ["c", "a"]}), expect![[r#"{"finalizers":["c","a","b"]}"#]]);
    check_as(
        "ObjectMeta",
        live(),
        json!({"$deleteFromPrimitiveList/finalizers": ["a", "z"]}),
        expect![[r#"{"finalizers":["b"]}"#]],
    );
    check_as("ObjectMeta", json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["a"]}), expect!["{}"]);
    check_as(
        "ObjectMeta",
        live(),
        json!({"$setElementOrder/finalizers": ["b", "a"]}),
        expect![[r#"{"finalizers":["b","a"]}"#]],
    );
}

#[test]
fn nulls_delete_and_vanish_from_new_values() {
    check_as(
        "ObjectMeta",
        json!({"labels": {"a": "1", "b": "2"}}),
        json!({"labels": {"a": null, "z": null}, "x": {"y": null, "z": [{"w": null}, {"$patch": "replace", "k": 1}]}}),
        expect![[r#"{"labels":{"b":"2"},"x":{"z":[{}]}}"#]],
    );
    check_as("ObjectMeta", json!({}), json!({"labels": {"$patch": "replace", "a": "b"}}), expect!["{}"]);
}

#[test]
fn malformed_patches_are_refused_in_go_words() {
    let live = || json!({"containers": [{"name": "a", "args": ["x"]}]});
    check(
        live(),
        json!({"containers": [{"image": "x"}]}),
        expect!["map: map[image:x] does not contain declared merge key: name"],
    );
    check(
        live(),
        json!({"containers": [{"$patch": "merge", "name": "a"}]}),
        expect!["merging lists cannot yet be specified in the patch"],
    );
    check(
        live(),
        json!({"containers": [{"$patch": "zap", "name": "a"}]}),
        expect!["unknown patch type: zap in map: map[$patch:zap name:a]"],
    );
    check(live(), json!({"$patch": "merge"}), expect!["unknown patch type: merge in map: map[$patch:merge]"]);
    check(
        live(),
        json!({"containers": ["x"]}),
        expect!["list element types are not identical: [[map[args:[x] name:a]] [x]]"],
    );
    check(
        live(),
        json!({"$setElementOrder/containers": "x"}),
        expect!["expected a []interface {}, but received a string"],
    );
    check(live(), json!({"$setElementOrder": []}), expect!["invalid patch format of setElementOrder list"]);
    check(live(), json!({"$deleteFromPrimitiveList": []}), expect!["invalid patch format of primitive list"]);
    check(
        json!({"nonsense": []}),
        json!({"$setElementOrder/nonsense": []}),
        expect![[r#"unable to find api field in struct PodSpec for the json field "nonsense""#]],
    );
    check(
        live(),
        json!({"$setElementOrder/containers": names(&["b", "a"]), "containers": names(&["a", "b"])}),
        expect![[r#"
            The order in patch list:
            [map[name:a] map[name:b]]
             doesn't match $setElementOrder list:
            [map[name:b] map[name:a]]
        "#]],
    );
    check_as(
        "ObjectMeta",
        json!({"finalizers": []}),
        json!({"finalizers": [["a"]]}),
        expect!["lists of lists are not supported"],
    );
    check(live(), json!([]), expect!["json: cannot unmarshal array into Go value of type map[string]interface {}"]);
}

/// Container lists with distinct names, as patches and as live objects.
fn containers() -> impl Strategy<Value = Value> {
    let container = ("[a-e]", proptest::option::of("[x-z]"), proptest::collection::btree_map("[p-r]", "[0-9]", 0..3));
    proptest::collection::vec(container, 0..5).prop_map(|items| {
        let mut seen = Vec::new();
        let mut list = Vec::new();
        for (name, image, env) in items {
            if seen.contains(&name) {
                continue;
            }
            let env: Vec<_> = env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            list.push(match image {
                Some(image) => json!({"name": name, "image": image, "env": env}),
                None => json!({"name": name, "env": env}),
            });
            seen.push(name);
        }
        json!({"containers": list})
    })
}

fn names_of(pod: &Value) -> Vec<String> {
    let items = pod["containers"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|item| Some(item["name"].as_str()?.to_owned())).collect()
}

proptest! {
    #[test]
    fn applying_a_patch_again_changes_nothing(live in containers(), patch in containers()) {
        let once = strategic_merge(&Table("PodSpec"), live, patch.clone()).expect("well-formed");
        let twice = strategic_merge(&Table("PodSpec"), once.clone(), patch).expect("well-formed");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn no_item_is_lost_and_both_orders_survive(live in containers(), patch in containers()) {
        let merged = strategic_merge(&Table("PodSpec"), live.clone(), patch.clone()).expect("well-formed");
        let (live, patch, merged) = (names_of(&live), names_of(&patch), names_of(&merged));
        let in_patch: Vec<_> = merged.iter().filter(|name| patch.contains(name)).cloned().collect();
        let only_live: Vec<_> = merged.iter().filter(|name| !patch.contains(name)).cloned().collect();
        let expected: Vec<_> = live.iter().filter(|name| !patch.contains(name)).cloned().collect();
        prop_assert_eq!(in_patch, patch);
        prop_assert_eq!(only_live, expected);
    }

    #[test]
    fn an_element_order_is_followed(live in containers(), patch in containers()) {
        let mut patch = patch;
        patch["$setElementOrder/containers"] = patch["containers"].clone();
        let wanted = names_of(&patch);
        let merged = strategic_merge(&Table("PodSpec"), live.clone(), patch).expect_or_empty();
        if let Some(merged) = merged {
            let listed: Vec<_> = names_of(&merged).into_iter().filter(|name| wanted.contains(name)).collect();
            prop_assert_eq!(listed, wanted);
        }
    }
}

trait ExpectOrEmpty {
    /// The value, or none when both lists were empty, which Kubernetes refuses.
    fn expect_or_empty(self) -> Option<Value>;
}

impl ExpectOrEmpty for Result<Value, StrategicMergeError> {
    fn expect_or_empty(self) -> Option<Value> {
        match self {
            Ok(value) => Some(value),
            Err(StrategicMergeError::NoElements) => None,
            Err(error) => panic!("refused: {error}"),
        }
    }
}
