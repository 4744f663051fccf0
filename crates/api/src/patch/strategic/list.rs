//! Merging of lists: as sets of scalars, or item by item along a merge key.

use serde_json::Value;

use super::directive::{self, Directive};
use super::{StrategicMergeError, merge_key_of, merge_maps, order};
use crate::patch::go::{self, GoType};
use crate::patch::types::{ListStrategy, PatchField, PatchTypes};

/// Combines a live list with the patch's list of the same field.
pub(super) fn merge<T: PatchTypes>(
    field: &PatchField<T>,
    live: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, StrategicMergeError> {
    match field.strategy {
        ListStrategy::Untagged | ListStrategy::Replace => return Ok(patch),
        ListStrategy::Merge => {}
    }
    if live.is_empty() && patch.is_empty() {
        return Ok(live);
    }
    match element_type(&[live.as_slice(), patch.as_slice()])? {
        GoType::Map => merge_by_key(field, live, patch),
        GoType::Nil | GoType::Bool | GoType::Int | GoType::Float | GoType::String | GoType::List => {
            merge_scalars(live, patch)
        }
    }
}

/// The one type all elements have.
pub(super) fn element_type(lists: &[&[Value]]) -> Result<GoType, StrategicMergeError> {
    let mut types = lists.iter().flat_map(|list| list.iter()).map(GoType::of);
    let first = types.next().ok_or(StrategicMergeError::NoElements)?;
    if first == GoType::List {
        return Err(StrategicMergeError::ListOfLists);
    }
    if types.all(|other| other == first) {
        return Ok(first);
    }
    let lists: Vec<_> = lists.iter().map(|list| go::display_list(list)).collect();
    Err(StrategicMergeError::MixedElements(format!("[{}]", lists.join(" "))))
}

fn merge_scalars(live: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, StrategicMergeError> {
    let mut merged: Vec<Value> = Vec::with_capacity(live.len() + patch.len());
    for item in live.iter().chain(&patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    order::arrange(merged, &patch, &live, None)
}

fn merge_by_key<T: PatchTypes>(
    field: &PatchField<T>,
    live: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, StrategicMergeError> {
    let key = field.merge_key.ok_or_else(|| StrategicMergeError::NoMergeKey(field.ty.name()))?;
    let (live, patch) = follow_directives(key, live, patch)?;
    let mut merged = live.clone();
    for item in &patch {
        let wanted = merge_key_of(item, key)?;
        let found = position(&merged, key, wanted)?;
        match (found.map(|at| (at, merged[at].take())), item) {
            (Some((at, Value::Object(old))), Value::Object(new)) => {
                merged[at] = Value::Object(merge_maps(&field.ty, old, new.clone())?);
            }
            _ => merged.push(item.clone()),
        }
    }
    order::arrange(merged, &patch, &live, Some(key))
}

/// Carries out `$patch` in items and gives back the live list and the ordinary items of the patch.
fn follow_directives(
    key: &str,
    mut live: Vec<Value>,
    patch: Vec<Value>,
) -> Result<(Vec<Value>, Vec<Value>), StrategicMergeError> {
    let mut ordinary = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        let directive = item.as_object().and_then(|fields| Some((Directive::of(fields)?, fields)));
        match directive {
            None => ordinary.push(item),
            Some((Directive::Replace, _)) => replaces = true,
            Some((Directive::Delete, _)) => delete_matching(&mut live, key, merge_key_of(&item, key)?)?,
            Some((Directive::Merge, _)) => return Err(StrategicMergeError::MergeDirectiveInList),
            Some((Directive::Other, fields)) => return Err(directive::unknown(fields)),
        }
    }
    Ok(if replaces { (ordinary, Vec::new()) } else { (live, ordinary) })
}

fn delete_matching(live: &mut Vec<Value>, key: &str, gone: &Value) -> Result<(), StrategicMergeError> {
    let mut kept = Vec::with_capacity(live.len());
    for item in live.drain(..) {
        if merge_key_of(&item, key)? != gone {
            kept.push(item);
        }
    }
    *live = kept;
    Ok(())
}

/// The first item whose merge key has that value.
fn position(items: &[Value], key: &str, wanted: &Value) -> Result<Option<usize>, StrategicMergeError> {
    for (at, item) in items.iter().enumerate() {
        if merge_key_of(item, key)? == wanted {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
