//! What clients are shown, object by object: whether it is what was written.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use stead_store::Entry;

use super::Name;
use super::selection::Selection;

/// The part of an object that says which it is.
#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) kind: String,
    pub(super) metadata: Option<Metadata>,
}

/// See [`Head`].
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) continues: String,
}

impl Metadata {
    pub(super) fn revision(&self) -> Result<u64, String> {
        self.resource_version.parse().map_err(|_| format!("{:?} is no revision", self.resource_version))
    }

    pub(super) fn named(&self) -> Name {
        (self.namespace.clone(), self.name.clone())
    }
}

impl Head {
    pub(super) fn of(object: &RawValue) -> Result<(String, Metadata), String> {
        let head: Self = serde_json::from_str(object.get()).map_err(|error| format!("not an object: {error}"))?;
        Ok((head.kind, head.metadata.ok_or("an object without metadata")?))
    }
}

/// Whether `object` is `entry`, shown at `revision`; as much of it as is shown.
pub(super) fn is_entry(object: &RawValue, selection: &Selection, entry: &Entry, revision: u64) -> bool {
    if revision == entry.revision.0 && object.get().as_bytes() == &*entry.bytes {
        return true;
    }
    let (Ok(shown), Ok(mut stored)) =
        (serde_json::from_str::<Value>(object.get()), serde_json::from_slice::<Value>(&entry.bytes))
    else {
        return false;
    };
    stored["metadata"]["resourceVersion"] = revision.to_string().into();
    if shown["kind"] == "PartialObjectMetadata" || !selection.shows_what_is_stored() {
        return shown["metadata"] == stored["metadata"];
    }
    // Items of a list leave out what the list says.
    for key in ["kind", "apiVersion"] {
        if shown.get(key).is_none() {
            stored.as_object_mut().and_then(|stored| stored.remove(key));
        }
    }
    shown == stored
}
