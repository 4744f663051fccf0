//! Kinds that share storage. Today every served kind is stored as it is served; a kind with a second
//! face (contract `api.md` 2.22: `events.k8s.io/v1` Event) gets its conversion here and nowhere else.

use stead_api::{Kind, Object};

use crate::encode::stored_kind;
use crate::status::StatusError;

/// Turns an object of a served kind into the kind that is stored.
pub(crate) fn to_stored(object: Object) -> Result<Object, StatusError> {
    let stored = stored_kind(object.kind());
    between(object, stored)
}

/// Turns a stored object into the kind that was asked for.
pub(crate) fn from_stored(kind: &'static Kind, object: Object) -> Result<Object, StatusError> {
    between(object, kind)
}

/// The name a field selector of `kind` has in the stored header.
pub(crate) fn stored_field(_kind: &'static Kind, field: &str) -> String {
    field.to_owned()
}

fn between(object: Object, kind: &'static Kind) -> Result<Object, StatusError> {
    let own = object.kind();
    if own.kind == kind.kind && own.group == kind.group && own.version == kind.version {
        return Ok(object);
    }
    Err(StatusError::internal(format!("no conversion from {} to {}", own.qualified_kind(), kind.qualified_kind())))
}
