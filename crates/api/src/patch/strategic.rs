//! Strategic merge patch (contract `patch-notes.md`, 4): merging with knowledge of the type.
//!
//! This file holds the error enum and the merge of maps; lists are merged in `list`, ordered in
//! `order`, and the directives that start with `$` are named in `directive`.

mod directive;
mod list;
mod order;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::directive::Directive;
use super::go::{self, GoType};
use super::types::{ListStrategy, PatchField, PatchTypes};

/// Why a strategic merge patch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategicMergeError {
    /// The patch is not an object (400).
    #[error("json: cannot unmarshal {0} into Go value of type map[string]interface {{}}")]
    NotAnObject(&'static str),
    /// A directive is malformed: `retainKeys`, `primitive list`, `setElementOrder list` (400).
    #[error("invalid patch format of {0}")]
    DirectiveFormat(&'static str),
    /// Lists of lists cannot be merged (422, [`UNPROCESSABLE`](super::UNPROCESSABLE)).
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// `$patch` has an unknown value (500).
    #[error("unknown patch type: {value} in map: {map}")]
    UnknownDirective {
        /// The value.
        value: String,
        /// The map it stands in, as Go prints it.
        map: String,
    },
    /// `$patch: merge` in a list item (500).
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    /// An item lacks the key its list is merged by (500).
    #[error("map: {map} does not contain declared merge key: {key}")]
    MissingMergeKey {
        /// The item, as Go prints it.
        map: String,
        /// The key.
        key: String,
    },
    /// The type declares no key to merge this list by (500).
    #[error("cannot merge lists without merge key for {0}")]
    NoMergeKey(String),
    /// A list mixes types (500).
    #[error("list element types are not identical: {0}")]
    MixedElements(String),
    /// An order was given for lists that are both empty (500).
    #[error("no elements in any of the given slices")]
    NoElements,
    /// The items of the patch are not in the order the patch itself gives (500).
    #[error("The order in patch list:\n{list}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch {
        /// The list, as Go prints it.
        list: String,
        /// The order, as Go prints it.
        order: String,
    },
    /// A directive or list has the wrong JSON type (500).
    #[error("expected a {expected}, but received a {received}")]
    WrongType {
        /// Go's name of the type needed.
        expected: &'static str,
        /// Go's name of the type found.
        received: &'static str,
    },
    /// The type has no such field (500).
    #[error("unable to find api field in struct {ty} for the json field \"{field}\"")]
    UnknownField {
        /// The type's name.
        ty: String,
        /// The field's name.
        field: String,
    },
}

/// Merges `patch` into `current`, an object of type `ty`.
///
/// Unknown fields are taken over; decoding the result reports them.
pub fn strategic_merge<T: PatchTypes>(ty: &T, current: Value, patch: Value) -> Result<Value, StrategicMergeError> {
    let refuse = |found| Err(StrategicMergeError::NotAnObject(found));
    let patch = match patch {
        Value::Object(patch) => patch,
        Value::Null => Map::new(),
        Value::Array(_) => return refuse("array"),
        Value::String(_) => return refuse("string"),
        Value::Number(_) => return refuse("number"),
        Value::Bool(_) => return refuse("bool"),
    };
    let current = match current {
        Value::Object(current) => current,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    merge_maps(ty, current, patch).map(Value::Object)
}

type Fields = Map<String, Value>;

fn merge_maps<T: PatchTypes>(ty: &T, mut live: Fields, mut patch: Fields) -> Result<Fields, StrategicMergeError> {
    if let Some(directive) = Directive::of(&patch) {
        return match directive {
            Directive::Replace => {
                patch.shift_remove(directive::PATCH);
                Ok(patch)
            }
            Directive::Delete => Ok(Map::new()),
            Directive::Merge | Directive::Other => Err(directive::unknown(&patch)),
        };
    }
    directive::retain_keys(&mut live, &mut patch)?;
    order::apply_element_orders(ty, &mut live, &mut patch)?;
    for (key, new) in patch {
        if key.starts_with(directive::DELETE_FROM_LIST) {
            let field = directive::field_of(&key, directive::DELETE_FROM_LIST, "primitive list")?;
            delete_from_list(&mut live, field, new)?;
        } else {
            merge_field(ty, &mut live, key, new)?;
        }
    }
    Ok(live)
}

/// Merges one ordinary key of a patch.
fn merge_field<T: PatchTypes>(ty: &T, live: &mut Fields, key: String, new: Value) -> Result<(), StrategicMergeError> {
    if new.is_null() {
        live.shift_remove(&key);
        return Ok(());
    }
    let same_type = live.get(&key).is_some_and(|old| GoType::of(old) == GoType::of(&new));
    if !same_type {
        match fresh(new) {
            Some(new) => live.insert(key, new),
            None => live.shift_remove(&key),
        };
        return Ok(());
    }
    let old = live.get_mut(&key).map(Value::take).unwrap_or_default();
    let merged = match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let field = declared(ty, &key)?;
            match field.strategy {
                ListStrategy::Replace => Value::Object(new),
                ListStrategy::Untagged | ListStrategy::Merge => Value::Object(merge_maps(&field.ty, old, new)?),
            }
        }
        (Value::Array(old), Value::Array(new)) => Value::Array(list::merge(&declared(ty, &key)?, old, new)?),
        (_, scalar) => scalar,
    };
    live.insert(key, merged);
    Ok(())
}

fn declared<T: PatchTypes>(ty: &T, field: &str) -> Result<PatchField<T>, StrategicMergeError> {
    ty.field(field).ok_or_else(|| StrategicMergeError::UnknownField { ty: ty.name(), field: field.to_owned() })
}

/// `$deleteFromPrimitiveList/<field>`: drops the listed scalars from the live list, if there is one.
fn delete_from_list(live: &mut Fields, field: &str, gone: Value) -> Result<(), StrategicMergeError> {
    let (Some(Value::Array(items)), Value::Array(gone)) = (live.get_mut(field), gone) else { return Ok(()) };
    if !items.is_empty() || !gone.is_empty() {
        list::element_type(&[items.as_slice(), gone.as_slice()])?;
    }
    items.retain(|item| !gone.contains(item));
    Ok(())
}

/// A value that is new to the document: without nulls and without the maps that carry `$patch`.
/// None when the value itself is such a map.
fn fresh(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(directive::PATCH) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Some(Value::Object(kept.filter_map(|(key, value)| Some((key, fresh(value)?))).collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(fresh).collect())),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(scalar),
    }
}

/// The value of the merge key of a list item.
fn merge_key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, StrategicMergeError> {
    match item {
        Value::Object(fields) => fields
            .get(key)
            .ok_or_else(|| StrategicMergeError::MissingMergeKey { map: go::display(item), key: key.to_owned() }),
        other => {
            Err(StrategicMergeError::WrongType { expected: GoType::Map.name(), received: GoType::of(other).name() })
        }
    }
}
