//! The document that a JSON patch changes: what each operation does to it, and where paths lead.

use serde_json::{Map, Value};

use super::OperationFailure;

/// Bytes of JSON that the `copy` operations of one patch may produce together.
pub(super) const COPY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Containers within one another that a patched document may have: as many as a body can.
pub(super) const DEPTH_MAX: usize = 128;

/// A document while a patch is applied to it.
pub(super) struct Document {
    root: Value,
    copied_bytes: usize,
}

impl Document {
    /// A copy of `current`, as it is before the first operation.
    pub(super) fn new(current: &Value) -> Self {
        Self { root: current.clone(), copied_bytes: 0 }
    }

    /// What the operations have made of it.
    pub(super) fn into_root(self) -> Value {
        self.root
    }

    /// Carries out one operation.
    pub(super) fn apply(&mut self, operation: &Map<String, Value>) -> Result<(), OperationFailure> {
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
