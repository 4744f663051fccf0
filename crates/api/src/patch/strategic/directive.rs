//! The keys of a strategic merge patch that are orders rather than fields.

use serde_json::Value;

use super::{Fields, StrategicMergeError};
use crate::patch::go;

/// Says what becomes of the map or list it stands in.
pub(super) const PATCH: &str = "$patch";
/// Lists the fields of a map that may stay.
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
/// Prefix of the key that gives a list its order.
pub(super) const SET_ELEMENT_ORDER: &str = "$setElementOrder";
/// Prefix of the key that lists scalars to drop from a list.
pub(super) const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";

/// The value of `$patch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    Replace,
    Delete,
    Merge,
    Other,
}

impl Directive {
    /// What `$patch` says in this map, if it is there.
    pub(super) fn of(fields: &Fields) -> Option<Self> {
        Some(match fields.get(PATCH)?.as_str() {
            Some("replace") => Self::Replace,
            Some("delete") => Self::Delete,
            Some("merge") => Self::Merge,
            Some(_) | None => Self::Other,
        })
    }
}

/// The refusal of the `$patch` value in `fields`.
pub(super) fn unknown(fields: &Fields) -> StrategicMergeError {
    StrategicMergeError::UnknownDirective {
        value: go::display(&fields[PATCH]),
        map: go::display(&Value::Object(fields.clone())),
    }
}

/// The field a directive of the form `<prefix>/<field>` is about.
pub(super) fn field_of<'a>(key: &'a str, prefix: &str, subject: &'static str) -> Result<&'a str, StrategicMergeError> {
    key.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or(StrategicMergeError::DirectiveFormat(subject))
}

/// `$retainKeys`: drops every live field that is not listed. Each field the patch sets must be.
pub(super) fn retain_keys(live: &mut Fields, patch: &mut Fields) -> Result<(), StrategicMergeError> {
    let malformed = StrategicMergeError::DirectiveFormat("retainKeys");
    let Some(retained) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(retained) = retained else { return Err(malformed) };
    let retained: Vec<&str> = retained.iter().filter_map(Value::as_str).collect();
    let exempt = |key: &str| key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !exempt(key) && !retained.contains(&key.as_str())) {
        return Err(malformed);
    }
    live.retain(|key, _| retained.contains(&key.as_str()));
    Ok(())
}
