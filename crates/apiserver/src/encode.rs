//! Between typed objects and the store's bytes: an object is encoded once, with a gap where the
//! store puts its revision (design decision 1). Decides nothing.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::value::RawValue;
use stead_api::{Kind, Object, kinds};
use stead_store::{Draft, Entry, Header};

use crate::status::StatusError;
use crate::world::{SystemWorld, World};

/// Encodes an object for the store. `can_wait`: see [`Draft::can_wait`].
pub(crate) fn draft(mut object: Object, can_wait: bool) -> Draft {
    static PLACEHOLDER: OnceLock<String> = OnceLock::new();
    // Unguessable, so that no field a client fills in can be mistaken for the metadata's.
    let placeholder = PLACEHOLDER.get_or_init(|| {
        let world = SystemWorld::new();
        format!("{:016x}{:016x}", world.random(), world.random())
    });
    let header = header(&object);
    let metadata = object.metadata_mut();
    metadata.resource_version = Some(placeholder.clone());
    // Ownership of fields is not tracked yet: better none than stale.
    metadata.managed_fields = None;
    metadata.self_link = None;
    let mut bytes = object.to_json();
    let pattern = format!("\"resourceVersion\":\"{placeholder}\"");
    let found =
        memchr::memmem::find(&bytes, pattern.as_bytes()).expect("the placeholder was put into the metadata just above");
    let revision_at = found + "\"resourceVersion\":\"".len();
    bytes.drain(revision_at..revision_at + placeholder.len());
    Draft { bytes, revision_at, header, can_wait }
}

/// What the store and the watchers filter by.
fn header(object: &Object) -> Header {
    let metadata = object.metadata();
    let labels = metadata.labels.iter().flatten();
    let owners = metadata.owner_references.iter().flatten();
    let fields = (object.kind().selectable_fields)(object);
    Header {
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        labels: labels.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
        fields: fields.into_iter().map(|(name, value)| (name.into(), value.into_boxed_str())).collect(),
        owners: owners.map(|owner| owner.uid.as_str().into()).collect(),
    }
}

/// Decodes an entry as the kind that stores it.
pub(crate) fn load(entry: &Entry, kind: &'static Kind) -> Result<Object, StatusError> {
    let mut object = stead_api::decode::decode_stored(stored_kind(kind), &entry.bytes)
        .map_err(|error| StatusError::internal(format!("{} cannot be decoded: {error}", entry.key)))?;
    (stored_kind(kind).set_defaults)(&mut object);
    Ok(object)
}

/// The kind whose form is stored: the first listed of those that share a table.
pub(crate) fn stored_kind(kind: &'static Kind) -> &'static Kind {
    static STORED: LazyLock<HashMap<&'static str, &'static Kind>> =
        LazyLock::new(|| kinds::ALL.iter().rev().map(|kind| (kind.facts.storage, kind)).collect());
    STORED.get(kind.facts.storage).copied().unwrap_or(kind)
}

/// The raw `metadata` of an encoded object.
pub(crate) fn raw_metadata(bytes: &[u8]) -> Result<&RawValue, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct OnlyMetadata<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    serde_json::from_slice::<OnlyMetadata<'_>>(bytes).map(|only| only.metadata)
}

/// What every encoded object of a kind starts with; list items leave it out.
pub(crate) fn type_prefix(kind: &Kind) -> String {
    format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", kind.api_version(), kind.kind)
}
