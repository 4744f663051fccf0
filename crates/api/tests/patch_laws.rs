//! Laws of JSON merge patch and JSON patch, over generated documents.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stead_api::patch::{json_patch, merge_patch};

/// Documents three levels deep over few keys, so that patches hit what is there.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..9_i32).prop_map(Value::from),
        "[a-c]".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(object),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", value(), 0..4).prop_map(object)
}

fn object(fields: std::collections::BTreeMap<String, Value>) -> Value {
    Value::Object(fields.into_iter().collect::<Map<_, _>>())
}

fn merge(current: &Value, patch: &Value) -> Value {
    merge_patch(current, patch.to_string().as_bytes()).expect("objects merge")
}

/// The document as its type sees it: a null member is an absent one.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        scalar => scalar.clone(),
    }
}

fn apply(current: &Value, patch: Value) -> Option<Value> {
    json_patch(current, patch.to_string().as_bytes()).ok()
}

proptest! {
    #[test]
    fn a_merge_patch_is_idempotent(current in document(), patch in document()) {
        let once = merge(&current, &patch);
        prop_assert_eq!(without_nulls(&merge(&once, &patch)), without_nulls(&once));
    }

    #[test]
    fn an_empty_merge_patch_changes_nothing(current in document()) {
        prop_assert_eq!(merge(&current, &json!({})), current);
    }

    #[test]
    fn null_deletes_and_nothing_else_does(current in document(), patch in document()) {
        let merged = merge(&current, &patch);
        let (current, patch, merged) = (&current, patch.as_object().expect("object"), merged.as_object().expect("object"));
        for (key, value) in patch {
            prop_assert_eq!(merged.contains_key(key), !value.is_null());
        }
        for (key, value) in current.as_object().expect("object") {
            if !patch.contains_key(key) {
                prop_assert_eq!(merged.get(key), Some(value));
            }
        }
    }

    #[test]
    fn what_was_added_is_found_by_test_and_undone_by_remove(current in document(), value in value()) {
        let current = merge(&current, &json!({"new": null}));
        let added = apply(&current, json!([
            {"op": "add", "path": "/new", "value": value},
            {"op": "test", "path": "/new", "value": value},
        ])).expect("the root exists");
        prop_assert_eq!(&added["new"], &value);
        let removed = apply(&added, json!([{"op": "remove", "path": "/new"}])).expect("it is there");
        prop_assert_eq!(removed, current);
    }

    #[test]
    fn move_is_copy_and_remove(current in document(), value in value()) {
        let current = merge(&current, &json!({"to": null, "from": 1}));
        let current = apply(&current, json!([{"op": "replace", "path": "/from", "value": value}])).expect("it is there");
        let moved = apply(&current, json!([{"op": "move", "from": "/from", "path": "/to"}]));
        let copied = apply(&current, json!([
            {"op": "copy", "from": "/from", "path": "/to"},
            {"op": "remove", "path": "/from"},
        ]));
        prop_assert_eq!(&moved.clone().expect("it is there")["to"], &value);
        prop_assert_eq!(moved, copied);
    }

    #[test]
    fn a_failed_operation_leaves_no_trace(current in document(), value in value()) {
        let before = current.clone();
        let result = apply(&current, json!([
            {"op": "add", "path": "/new", "value": value},
            {"op": "remove", "path": "/never-there"},
        ]));
        prop_assert_eq!(result, None);
        prop_assert_eq!(current, before);
    }
}
