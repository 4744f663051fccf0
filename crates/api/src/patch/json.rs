//! JSON patch (RFC 6902) with the habits of the library Kubernetes uses (contract `patch-notes.md`,
//! 2): negative indices, `replace` that may add, `test` of absent keys.

use serde_json::{Map, Value};

use super::go::GoType;

/// Operations one patch may hold; a longer one is refused.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;

/// Bytes of JSON that the `copy` operations of one patch may produce together.
const COPY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Containers within one another that a patched document may have: as many as a body can.
const DEPTH_MAX: usize = 128;

/// Why a JSON patch was refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonPatchError {
    /// The body is not JSON (400).
    #[error("error decoding patch: {0}")]
    Decode(#[source] serde_json::Error),
    /// The body is not a list of operations (400).
    #[error("error decoding patch: json: cannot unmarshal {found} into Go {target}")]
    NotOperations {
        /// JSON type found.
        found: &'static str,
        /// What was expected in its place.
        target: &'static str,
    },
    /// More than [`JSON_PATCH_OPERATIONS_MAX`] operations (413).
    #[error(
        "Request entity too large: The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, got {0}"
    )]
    TooManyOperations(usize),
    /// An operation cannot be carried out (422). Clients only see [`UNPROCESSABLE`](super::UNPROCESSABLE).
    #[error("operation {index} of the patch failed: {failure}")]
    Operation {
        /// Position of the operation.
        index: usize,
        /// What was wrong with it.
        #[source]
        failure: OperationFailure,
    },
}

/// What was wrong with one operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationFailure {
    /// `op` is none of the six.
    #[error("unknown operation {0:?}")]
    Unknown(String),
    /// `path` or `from` is missing where it is needed.
    #[error("member {0:?} is missing")]
    MissingMember(&'static str),
    /// The parent of the path does not exist or is no container.
    #[error("path {0:?} does not exist")]
    NoSuchPath(String),
    /// The last segment names no key of the object.
    #[error("key {0:?} does not exist")]
    NoSuchKey(String),
    /// The last segment is no index of the list.
    #[error("index {0:?} is not valid here")]
    BadIndex(String),
    /// `test` found something else.
    #[error("value at {0:?} differs")]
    TestFailed(String),
    /// The whole document can only be replaced by an object or a list.
    #[error("the document cannot become a scalar")]
    ScalarDocument,
    /// The copies made are larger than the server allows.
    #[error("copies exceed {COPY_BYTES_MAX} bytes")]
    CopiesTooLarge,
    /// Copies put into each other would nest more deeply than anything that walks a document can bear.
    #[error("the document would be nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
}

/// A decoded JSON patch, ready to be applied as often as conflicts demand.
#[derive(Clone, Debug)]
pub struct JsonPatch {
    operations: Vec<Map<String, Value>>,
}

impl JsonPatch {
    /// Decodes a request body.
    pub fn parse(body: &[u8]) -> Result<Self, JsonPatchError> {
        let not_a_list =
            |found| JsonPatchError::NotOperations { found, target: "value of type []handlers.jsonPatchOp" };
        let items = match serde_json::from_slice(body).map_err(JsonPatchError::Decode)? {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Err(not_a_list(json_type(&other))),
        };
        if items.len() > JSON_PATCH_OPERATIONS_MAX {
            return Err(JsonPatchError::TooManyOperations(items.len()));
        }
        let operations = items.into_iter().map(operation).collect::<Result<_, _>>()?;
        Ok(Self { operations })
    }

    /// Texts about members no operation has, e.g. `json patch unknown field "[0].x"`: warnings, or
    /// refusals when the client asked for strict validation.
    pub fn unknown_fields(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            for member in operation.keys().filter(|member| !MEMBERS.contains(&member.as_str())) {
                texts.push(format!("json patch unknown field \"[{index}].{member}\""));
            }
        }
        texts
    }

    /// Applies the operations in order to a copy of `current`.
    pub fn apply(&self, current: &Value) -> Result<Value, JsonPatchError> {
        let mut document = Document { root: current.clone(), copied_bytes: 0 };
        for (index, operation) in self.operations.iter().enumerate() {
            document.apply(operation).map_err(|failure| JsonPatchError::Operation { index, failure })?;
        }
        Ok(document.root)
    }
}

/// Decodes `body` and applies it to `current`.
pub fn json_patch(current: &Value, body: &[u8]) -> Result<Value, JsonPatchError> {
    JsonPatch::parse(body)?.apply(current)
}

const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];

fn operation(item: Value) -> Result<Map<String, Value>, JsonPatchError> {
    let refuse = |found: &Value, target| JsonPatchError::NotOperations { found: json_type(found), target };
    let Value::Object(operation) = item else {
        return Err(refuse(&item, "value of type handlers.jsonPatchOp"));
    };
    for (member, target) in [
        ("op", "struct field jsonPatchOp.op of type string"),
        ("path", "struct field jsonPatchOp.path of type string"),
        ("from", "struct field jsonPatchOp.from of type string"),
    ] {
        match operation.get(member) {
            None | Some(Value::String(_)) => {}
            Some(other) => return Err(refuse(other, target)),
        }
    }
    Ok(operation)
}

fn json_type(value: &Value) -> &'static str {
    match GoType::of(value) {
        GoType::Nil => "null",
        GoType::Bool => "bool",
        GoType::Int | GoType::Float => "number",
        GoType::String => "string",
        GoType::List => "array",
        GoType::Map => "object",
    }
}

struct Document {
    root: Value,
    copied_bytes: usize,
}

impl Document {
    fn apply(&mut self, operation: &Map<String, Value>) -> Result<(), OperationFailure> {
        let member = |name: &'static str| {
            operation.get(name).and_then(Value::as_str).ok_or(OperationFailure::MissingMember(name))
        };
        let value = operation.get("value").unwrap_or(&Value::Null);
        match operation.get("op").and_then(Value::as_str).unwrap_or_default() {
            "add" => self.add(member("path")?, value.clone()),
            "remove" => self.remove(member("path")?),
            "replace" => self.replace(member("path")?, value.clone()),
            "test" => self.test(member("path")?, value),
            "move" => {
                let from = member("from")?;
                let moved = self.get(from)?.clone();
                self.remove(from)?;
                self.add(member("path")?, moved)
            }
            "copy" => {
                let copied = self.get(member("from")?)?.clone();
                self.copied_bytes += copied.to_string().len();
                if self.copied_bytes > COPY_BYTES_MAX {
                    return Err(OperationFailure::CopiesTooLarge);
                }
                self.add(member("path")?, copied)
            }
            other => Err(OperationFailure::Unknown(other.to_owned())),
        }
    }

    fn add(&mut self, path: &str, value: Value) -> Result<(), OperationFailure> {
        check_depth(path, &value)?;
        let (parent, key) = self.parent_mut(path)?;
        match parent {
            Container::Object(fields) => {
                fields.insert(key, value);
            }
            Container::List(items) if key == "-" => items.push(value),
            Container::List(items) => {
                // One position past the end is allowed, and -1 means just that.
                let index = index(&key, items.len() + 1)?;
                items.insert(index, value);
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), OperationFailure> {
        let (parent, key) = self.parent_mut(path)?;
        match parent {
            Container::Object(fields) => fields.shift_remove(&key).map(drop).ok_or(OperationFailure::NoSuchKey(key)),
            Container::List(items) => {
                items.remove(index(&key, items.len())?);
                Ok(())
            }
        }
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), OperationFailure> {
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err(OperationFailure::ScalarDocument);
            }
            self.root = value;
            return Ok(());
        }
        check_depth(path, &value)?;
        let (parent, key) = self.parent_mut(path)?;
        match parent {
            // The library does not mind when the key is absent.
            Container::Object(fields) => {
                fields.insert(key, value);
            }
            Container::List(items) => {
                let index = index(&key, items.len())?;
                items[index] = value;
            }
        }
        Ok(())
    }

    fn test(&self, path: &str, value: &Value) -> Result<(), OperationFailure> {
        let found = if path.is_empty() { &self.root } else { self.get(path)? };
        if found == value { Ok(()) } else { Err(OperationFailure::TestFailed(path.to_owned())) }
    }

    /// The value at a path; an absent key of an object reads as null.
    fn get(&self, path: &str) -> Result<&Value, OperationFailure> {
        const ABSENT: &Value = &Value::Null;
        let no_such_path = || OperationFailure::NoSuchPath(path.to_owned());
        let (parents, key) = split(path).ok_or_else(no_such_path)?;
        let mut parent = &self.root;
        for segment in &parents {
            parent = child(parent, segment).ok_or_else(no_such_path)?;
        }
        match parent {
            Value::Object(fields) => Ok(fields.get(&key).unwrap_or(ABSENT)),
            Value::Array(items) => Ok(&items[index(&key, items.len())?]),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(no_such_path()),
        }
    }

    /// The container that holds the last segment of a path, and that segment.
    fn parent_mut(&mut self, path: &str) -> Result<(Container<'_>, String), OperationFailure> {
        let no_such_path = || OperationFailure::NoSuchPath(path.to_owned());
        let (parents, key) = split(path).ok_or_else(no_such_path)?;
        let mut parent = &mut self.root;
        for segment in &parents {
            parent = match parent {
                Value::Object(fields) => fields.get_mut(segment).ok_or_else(no_such_path)?,
                Value::Array(items) => {
                    let index = index(segment, items.len()).map_err(|_| no_such_path())?;
                    &mut items[index]
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(no_such_path()),
            };
        }
        match parent {
            Value::Object(fields) => Ok((Container::Object(fields), key)),
            Value::Array(items) => Ok((Container::List(items), key)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(no_such_path()),
        }
    }
}

enum Container<'a> {
    Object(&'a mut Map<String, Value>),
    List(&'a mut Vec<Value>),
}

fn child<'a>(parent: &'a Value, segment: &str) -> Option<&'a Value> {
    match parent {
        Value::Object(fields) => fields.get(segment),
        Value::Array(items) => index(segment, items.len()).ok().map(|index| &items[index]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Refuses to put `value` at `path` where that would nest too deeply.
fn check_depth(path: &str, value: &Value) -> Result<(), OperationFailure> {
    let above = path.bytes().filter(|byte| *byte == b'/').count();
    if above + depth(value) > DEPTH_MAX { Err(OperationFailure::TooDeep) } else { Ok(()) }
}

/// How many containers lie within one another. What is in a document is never deep, nor is what was read.
fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + below.unwrap_or(0)
}

/// Splits a pointer into the decoded segments before the last, and the last. What stands before the
/// first slash is ignored, as the library does; a path without a slash has no parent.
fn split(path: &str) -> Option<(Vec<String>, String)> {
    let mut segments: Vec<String> =
        path.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
    let last = segments.pop()?;
    Some((segments, last))
}

/// The position a segment means in a list with `len` positions; negative ones count from the end.
fn index(segment: &str, len: usize) -> Result<usize, OperationFailure> {
    let bad = || OperationFailure::BadIndex(segment.to_owned());
    let index: isize = segment.parse().map_err(|_| bad())?;
    let index = if index < 0 { len.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) };
    index.filter(|index| *index < len).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
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
        check(
            json!({"a/b": {}}),
            json!([{"op": "add", "path": "/a~1b/~0", "value": 2}]),
            expect![[r#"{"a/b":{"~":2}}"#]],
        );
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
}
