//! Reading and writing typed objects through the store. Errors of the store become Statuses here.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use k8s_openapi::api::core::v1::Service;
use stead_api::registry::kind_of;
use stead_api::{Kind, Object, Spec, kinds};
use stead_store::{DeleteError, Entry, Expect, Key, PutError, Range, ReadError, Resource, Revision, Store};

use crate::convert;
use crate::encode::{self, stored_kind};
use crate::server::ApiServer;
use crate::status::StatusError;

/// The table of a kind.
pub(crate) fn table_of(kind: &Kind) -> Resource {
    static TABLES: LazyLock<HashMap<&'static str, Resource>> = LazyLock::new(|| {
        kinds::ALL.iter().map(|kind| (kind.facts.storage, Resource(kind.facts.storage.into()))).collect()
    });
    TABLES.get(kind.facts.storage).cloned().unwrap_or_else(|| Resource(kind.facts.storage.into()))
}

/// The key of an object.
pub(crate) fn key_of(kind: &Kind, namespace: &str, name: &str) -> Key {
    Key { resource: table_of(kind), namespace: namespace.into(), name: name.into() }
}

/// What a write left behind.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The stored state.
    Stored(Arc<Entry>),
    /// What would have been stored, had it not been a dry run.
    Pretended(Object),
}

impl Outcome {
    /// The wire form under `kind`.
    pub(crate) fn bytes(&self, kind: &'static Kind) -> Result<Bytes, StatusError> {
        match self {
            Self::Stored(entry) => wire(kind, entry),
            Self::Pretended(object) => Ok(convert::from_stored(kind, object.clone())?.to_json().into()),
        }
    }
}

/// The bytes of an entry as objects of `kind`: the stored ones, unless another kind stores them.
pub(crate) fn wire(kind: &'static Kind, entry: &Entry) -> Result<Bytes, StatusError> {
    if stored_kind(kind) == kind {
        return Ok(entry.bytes.clone());
    }
    Ok(load_as(kind, entry)?.to_json().into())
}

/// An entry as a typed object of `kind`.
pub(crate) fn load_as(kind: &'static Kind, entry: &Entry) -> Result<Object, StatusError> {
    convert::from_stored(kind, encode::load(entry, kind)?)
}

/// Whether a write only tells what has become of something, so that nobody is kept from his next step while it
/// waits to be made durable together with one that matters more. A pod's status is such a step: that it is Ready.
fn can_wait(kind: &Kind, subresource: Option<&str>) -> bool {
    match kind.kind {
        "Event" | "Lease" | "Endpoints" | "EndpointSlice" => true,
        "Pod" | "Node" => false,
        _ => subresource == Some("status"),
    }
}

impl<S: Store> ApiServer<S> {
    /// The newest state of an object.
    pub(crate) async fn find(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Entry>>, StatusError> {
        self.store.get(&key_of(kind, namespace, name)).await.map_err(|error| read_error(&error))
    }

    /// The newest state of an object that must exist.
    pub(crate) async fn fetch(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Entry>, StatusError> {
        self.find(kind, namespace, name).await?.ok_or_else(|| StatusError::not_found(kind, name))
    }

    /// The newest state of an object of a type known here.
    pub(crate) async fn find_typed<T: Spec>(&self, namespace: &str, name: &str) -> Result<Option<T>, StatusError> {
        let kind = kind_of::<T>();
        match self.find(kind, namespace, name).await? {
            Some(entry) => Ok(typed::<T>(load_as(kind, &entry)?)),
            None => Ok(None),
        }
    }

    /// Every object of a type known here.
    pub(crate) async fn list_typed<T: Spec>(&self) -> Result<Vec<T>, StatusError> {
        self.list_of::<T>(None).await
    }

    /// Every object of a type known here in one namespace.
    pub(crate) async fn list_typed_in<T: Spec>(&self, namespace: &str) -> Result<Vec<T>, StatusError> {
        self.list_of::<T>(Some(namespace.into())).await
    }

    async fn list_of<T: Spec>(&self, namespace: Option<Box<str>>) -> Result<Vec<T>, StatusError> {
        let kind = kind_of::<T>();
        let range = Range { resource: table_of(kind), namespace, after: None, limit: 0, at: None };
        let page = self.store.range(range).await.map_err(|error| read_error(&error))?;
        let mut objects = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            match load_as(kind, entry).map(typed::<T>) {
                Ok(object) => objects.extend(object),
                Err(error) => tracing::warn!(key = %entry.key, %error, "a stored object is left out"),
            }
        }
        Ok(objects)
    }

    /// Stores an object of a stored kind, through `subresource` if there is one.
    pub(crate) async fn put(
        &self,
        key: Key,
        expect: Expect,
        object: Object,
        subresource: Option<&str>,
    ) -> Result<Arc<Entry>, PutError> {
        let can_wait = can_wait(object.kind(), subresource);
        self.store.put(key, expect, encode::draft(object, can_wait)).await
    }

    /// Removes an object; `last` is the state watchers are shown.
    pub(crate) async fn remove(&self, key: Key, at: Revision, last: Object) -> Result<Arc<Entry>, DeleteError> {
        let service = last.get::<Service>().cloned();
        let entry = self.store.delete(key, at, encode::draft(last, false)).await?;
        service.iter().for_each(|service| self.forget_allocations(service));
        Ok(entry)
    }
}

fn typed<T: Spec>(object: Object) -> Option<T> {
    object.into::<T>().ok()
}

/// A failed read as a Status, where no list or watch is concerned.
pub(crate) fn read_error(error: &ReadError) -> StatusError {
    match error {
        ReadError::Compacted { .. } => StatusError::expired_list(),
        ReadError::Future { at, newest } => StatusError::future_revision(at.0, newest.0),
    }
}

/// What a failed write means to a loop that may try again.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Someone else wrote first.
    Race,
    /// Nothing can be written.
    Refused(StatusError),
}

impl From<PutError> for Lost {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Exists { .. } | PutError::Conflict { .. } => Self::Race,
            PutError::Unavailable { .. } => Self::Refused(StatusError::unavailable(error.to_string())),
        }
    }
}

impl From<DeleteError> for Lost {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Conflict { .. } => Self::Race,
            DeleteError::Unavailable { .. } => Self::Refused(StatusError::unavailable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_api::kinds;

    use super::can_wait;

    fn waiting(subresource: Option<&str>) -> Vec<&'static str> {
        kinds::ALL.iter().filter(|kind| can_wait(kind, subresource)).map(|kind| kind.kind).collect()
    }

    #[test]
    fn what_somebody_waits_for_does_not_wait_for_others() {
        assert_eq!(waiting(None), ["Endpoints", "Event", "Lease", "EndpointSlice"]);
        assert_eq!(waiting(Some("scale")), waiting(None));
        let told = waiting(Some("status"));
        assert!(["StatefulSet", "PersistentVolumeClaim"].iter().all(|kind| told.contains(kind)), "{told:?}");
        assert!(!["Pod", "Node"].iter().any(|kind| told.contains(kind)), "{told:?}");
    }
}
