//! What JSON patches do to documents, and what is refused.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn check(current: Value, patch: Value, expected: Expect) {
    let result = match json_patch(&current, patch.to_string().as_bytes()) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&result);
}

#[test]
fn add_needs_a_parent_and_appends_with_a_dash() {
    check(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), expect![[r#"{"a":[1,2]}"#]]);
    check(json!({"a": [1]}), json!([{"op": "add", "path": "/a/0", "value": 2}]), expect![[r#"{"a":[2,1]}"#]]);
    check(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-1", "value": 2}]), expect![[r#"{"a":[1,2]}"#]]);
    check(json!({"a/b": {}}), json!([{"op": "add", "path": "/a~1b/~0", "value": 2}]), expect![[r#"{"a/b":{"~":2}}"#]]);
    check(
        json!({}),
        json!([{"op": "add", "path": "/a/b", "value": 2}]),
        expect![[r#"operation 0 of the patch failed: path "/a/b" does not exist"#]],
    );
    check(
        json!({"a": [1]}),
        json!([{"op": "add", "path": "/a/2", "value": 2}]),
        expect![[r#"operation 0 of the patch failed: index "2" is not valid here"#]],
    );
}

#[test]
fn remove_is_strict_and_replace_is_not() {
    check(
        json!({}),
        json!([{"op": "remove", "path": "/a"}]),
        expect![[r#"operation 0 of the patch failed: key "a" does not exist"#]],
    );
    check(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), expect![[r#"{"a":[1]}"#]]);
    check(json!({}), json!([{"op": "replace", "path": "/a", "value": 1}]), expect![[r#"{"a":1}"#]]);
    check(
        json!({"a": []}),
        json!([{"op": "replace", "path": "/a/0", "value": 1}]),
        expect![[r#"operation 0 of the patch failed: index "0" is not valid here"#]],
    );
    check(json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 1}}]), expect![[r#"{"b":1}"#]]);
    check(
        json!({"a": 1}),
        json!([{"op": "remove", "path": ""}]),
        expect![[r#"operation 0 of the patch failed: path "" does not exist"#]],
    );
}

#[test]
fn test_passes_for_absent_against_null() {
    check(json!({"a": 1}), json!([{"op": "test", "path": "/b", "value": null}]), expect![[r#"{"a":1}"#]]);
    check(json!({"a": 1}), json!([{"op": "test", "path": "/b"}]), expect![[r#"{"a":1}"#]]);
    check(
        json!({"a": {"x": 1, "y": 2}}),
        json!([{"op": "test", "path": "/a", "value": {"y": 2, "x": 1}}]),
        expect![[r#"{"a":{"x":1,"y":2}}"#]],
    );
    check(
        json!({"a": 1}),
        json!([{"op": "add", "path": "/c", "value": 1}, {"op": "test", "path": "/a", "value": 2}]),
        expect![[r#"operation 1 of the patch failed: value at "/a" differs"#]],
    );
}

#[test]
fn move_and_copy() {
    check(
        json!({"a": {"b": 1}, "c": {}}),
        json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
        expect![[r#"{"a":{},"c":{"d":1}}"#]],
    );
    check(
        json!({"a": [1]}),
        json!([{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}]),
        expect![[r#"{"a":[1],"b":[1,2]}"#]],
    );
    check(
        json!({}),
        json!([{"op": "move", "from": "/a", "path": "/b"}]),
        expect![[r#"operation 0 of the patch failed: key "a" does not exist"#]],
    );
}

#[test]
fn copies_within_copies_do_not_nest_without_bound() {
    let nested = (0..60).fold(json!(1), |inner, _| json!({"a": inner}));
    let innermost = format!("/x{}", "/a".repeat(60));
    let copy = |path: String| json!({"op": "copy", "from": "/x", "path": path});
    let once = json!([{"op": "add", "path": "/x", "value": nested}, copy(innermost.clone())]);
    assert!(json_patch(&json!({}), once.to_string().as_bytes()).is_ok(), "a document may be deep");
    let twice = json!([
        {"op": "add", "path": "/x", "value": nested},
        copy(innermost.clone()),
        copy(innermost + &"/a".repeat(60)),
    ]);
    check(
        json!({}),
        twice,
        expect!["operation 2 of the patch failed: the document would be nested more than 128 levels deep"],
    );
}

#[test]
fn bodies_are_judged_before_they_are_applied() {
    check(
        json!({}),
        json!({"op": "add"}),
        expect!["error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"],
    );
    check(
        json!({}),
        json!([{"op": 1}]),
        expect![
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
        ],
    );
    check(
        json!({}),
        json!([{"op": "frob", "path": "/a"}]),
        expect![[r#"operation 0 of the patch failed: unknown operation "frob""#]],
    );
    check(
        json!({}),
        Value::Array(vec![json!({"op": "test", "path": ""}); JSON_PATCH_OPERATIONS_MAX + 1]),
        expect!["Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"],
    );
    let patch = JsonPatch::parse(br#"[{"op": "test", "path": "/a", "x": 1}]"#).expect("a well-formed patch");
    assert_eq!(patch.unknown_fields(), ["json patch unknown field \"[0].x\""]);
}
