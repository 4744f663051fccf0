//! The order of merged lists: the patch's items in the patch's order, the others in the live
//! order, zipped so that new items come before the remaining live-only ones.

use std::cmp::Ordering;

use serde_json::Value;

use super::directive::{self, Directive};
use super::{Fields, StrategicMergeError, declared, fresh, list, merge_key_of};
use crate::patch::go::{self, GoType};
use crate::patch::types::PatchTypes;

/// Carries out every `$setElementOrder/<field>` of `patch`, together with the patch of that field.
pub(super) fn apply_element_orders<T: PatchTypes>(
    ty: &T,
    live: &mut Fields,
    patch: &mut Fields,
) -> Result<(), StrategicMergeError> {
    let directives: Vec<String> =
        patch.keys().filter(|key| key.starts_with(directive::SET_ELEMENT_ORDER)).cloned().collect();
    for key in directives {
        let order = as_list(patch.shift_remove(&key).unwrap_or_default())?;
        let name = directive::field_of(&key, directive::SET_ELEMENT_ORDER, "setElementOrder list")?;
        let old = live.get(name).cloned().map(as_list).transpose()?;
        // A null in the patch deletes the field, in whatever order: not a list either.
        let new = patch.get(name).cloned().map(as_list).transpose()?;
        if old.is_none() && new.is_none() {
            continue;
        }
        let field = declared(ty, name)?;
        check_order(new.as_deref().unwrap_or_default(), &order, field.merge_key)?;
        list::element_type(&[old.as_deref().unwrap_or_default(), new.as_deref().unwrap_or_default()])?;
        let merged = match (old.clone(), new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => as_list(fresh(Value::Array(new)).unwrap_or_default())?,
            (Some(old), Some(new)) => list::merge(&field, old, new)?,
        };
        let arranged = arrange(merged, &order, old.as_deref().unwrap_or_default(), field.merge_key)?;
        live.insert(name.to_owned(), Value::Array(arranged));
        patch.shift_remove(name);
    }
    Ok(())
}

fn as_list(value: Value) -> Result<Vec<Value>, StrategicMergeError> {
    match value {
        Value::Array(items) => Ok(items),
        other => {
            Err(StrategicMergeError::WrongType { expected: GoType::List.name(), received: GoType::of(&other).name() })
        }
    }
}

/// The ordinary items of a patch must appear in the order given, as a subsequence.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), StrategicMergeError> {
    let mut wanted = order.iter();
    for item in patch.iter().filter(|item| item.as_object().and_then(Directive::of).is_none()) {
        let item_key = identity(item, key)?;
        let mut found = false;
        for candidate in wanted.by_ref() {
            if identity(candidate, key)? == item_key {
                found = true;
                break;
            }
        }
        if !found {
            return Err(StrategicMergeError::OrderMismatch {
                list: go::display_list(patch),
                order: go::display_list(order),
            });
        }
    }
    Ok(())
}

/// Puts `merged` into its final order: items listed in `first` as there, the others as in `live`.
pub(super) fn arrange(
    merged: Vec<Value>,
    first: &[Value],
    live: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, StrategicMergeError> {
    let first = identities(first, key)?;
    let live = identities(live, key)?;
    let mut listed = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let id = identity(&item, key)?.clone();
        match first.iter().position(|other| **other == id) {
            Some(rank) => listed.push((rank, id, item)),
            None => others.push((rank_in(&live, &id), id, item)),
        }
    }
    listed.sort_by_key(|(rank, _, _)| *rank);
    // Every item that is not listed came from the live list, so it has a rank there.
    others.sort_by_key(|(rank, _, _)| *rank);
    Ok(zip(
        listed.into_iter().map(|(_, id, item)| (id, item)).collect(),
        others.into_iter().map(|(_, id, item)| (id, item)).collect(),
        &live,
    ))
}

/// Interleaves two lists without changing the order inside either. A live-only item goes first
/// only when the live list had it before the listed item it is compared with.
fn zip(listed: Vec<(Value, Value)>, others: Vec<(Value, Value)>, live: &[&Value]) -> Vec<Value> {
    let mut result = Vec::with_capacity(listed.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (id, item) in listed {
        let rank = rank_in(live, &id);
        while let Some((other, _)) = others.peek() {
            let stands_before = match (rank_in(live, other), rank) {
                (Some(other), Some(rank)) => other.cmp(&rank) == Ordering::Less,
                (None, _) | (_, None) => false,
            };
            if !stands_before {
                break;
            }
            result.extend(others.next().map(|(_, item)| item));
        }
        result.push(item);
    }
    result.extend(others.map(|(_, item)| item));
    result
}

fn rank_in(list: &[&Value], id: &Value) -> Option<usize> {
    list.iter().position(|other| *other == id)
}

/// What tells an item apart: its merge key, or the scalar itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Result<&'a Value, StrategicMergeError> {
    match key {
        Some(key) => merge_key_of(item, key),
        None => Ok(item),
    }
}

fn identities<'a>(items: &'a [Value], key: Option<&str>) -> Result<Vec<&'a Value>, StrategicMergeError> {
    items.iter().map(|item| identity(item, key)).collect()
}
