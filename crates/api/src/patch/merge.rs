//! JSON merge patch (RFC 7386) as the API server applies it (contract `patch-notes.md`, 3).

use serde_json::{Map, Value};

/// Why a merge patch was refused; both are the client's fault (400).
#[derive(Debug, thiserror::Error)]
pub enum MergePatchError {
    /// The body is not JSON.
    #[error("error decoding patch: {0}")]
    Decode(#[source] serde_json::Error),
    /// The body is JSON but not an object.
    #[error("error decoding patch: json: cannot unmarshal {0} into Go value of type map[string]interface {{}}")]
    NotAnObject(&'static str),
    /// The body is `null`.
    #[error("Invalid JSON Patch")]
    Null,
}

/// Applies the merge patch in `body` to `current`.
///
/// `null` deletes a key, objects merge, everything else replaces. Nulls inside values that are new
/// to the document are dropped, except as elements of a list.
pub fn merge_patch(current: &Value, body: &[u8]) -> Result<Value, MergePatchError> {
    let patch = match serde_json::from_slice(body).map_err(MergePatchError::Decode)? {
        Value::Object(patch) => patch,
        Value::Null => return Err(MergePatchError::Null),
        Value::Array(_) => return Err(MergePatchError::NotAnObject("array")),
        Value::String(_) => return Err(MergePatchError::NotAnObject("string")),
        Value::Number(_) => return Err(MergePatchError::NotAnObject("number")),
        Value::Bool(_) => return Err(MergePatchError::NotAnObject("bool")),
    };
    let mut result = current.as_object().cloned().unwrap_or_default();
    merge_into(&mut result, patch);
    Ok(Value::Object(result))
}

fn merge_into(current: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, new) in patch {
        match (current.get_mut(&key), new) {
            (_, Value::Null) => {
                current.shift_remove(&key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge_into(old, new),
            // The library prunes nothing here: a list that takes an object's place keeps its nulls.
            (Some(old @ Value::Object(_)), new) => *old = new,
            (_, mut new) => {
                prune_nulls(&mut new);
                current.insert(key, new);
            }
        }
    }
}

/// Drops null members of objects at any depth; null elements of lists stay.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(current: Value, patch: Value, expected: Expect) {
        let result = match merge_patch(&current, patch.to_string().as_bytes()) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&result);
    }

    #[test]
    fn objects_merge_and_everything_else_replaces() {
        check(
            json!({"a": {"b": 1, "c": 2}, "d": [1, 2]}),
            json!({"a": {"b": 3}, "d": [4]}),
            expect![[r#"{"a":{"b":3,"c":2},"d":[4]}"#]],
        );
        check(json!({"a": "x"}), json!({"a": {"b": null, "c": 1}}), expect![[r#"{"a":{"c":1}}"#]]);
    }

    #[test]
    fn null_deletes_and_absent_keys_do_not_matter() {
        check(json!({"a": 1, "b": 2}), json!({"a": null, "z": null}), expect![[r#"{"b":2}"#]]);
    }

    #[test]
    fn nulls_of_new_values_are_pruned_but_list_elements_stay() {
        check(
            json!({}),
            json!({"a": {"b": null, "c": [null, {"d": null, "e": 1}]}}),
            expect![[r#"{"a":{"c":[null,{"e":1}]}}"#]],
        );
        check(json!({"a": {"b": 1}}), json!({"a": [{"b": null}]}), expect![[r#"{"a":[{"b":null}]}"#]]);
    }

    #[test]
    fn bodies_that_are_no_object_are_refused() {
        check(json!({}), json!(null), expect!["Invalid JSON Patch"]);
        check(
            json!({}),
            json!([]),
            expect!["error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"],
        );
    }
}
