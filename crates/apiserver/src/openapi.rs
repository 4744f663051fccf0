//! `/openapi/v2` and `/openapi/v3`: the documents come from the registry's schemas and are served
//! under their hashes (contract `api.md` 2.16). They are made when they are first asked for.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use stead_api::openapi;

use crate::discovery::tagged;
use crate::negotiate::Encoding;
use crate::respond::{self, Answer};

/// `/openapi/v2`
pub(crate) fn v2(headers: &HeaderMap) -> Answer {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi::v2().into());
    json(headers, &DOCUMENT)
}

/// `/openapi/v3` for an empty name, else the document of one group version, e.g. `apis/apps/v1`;
/// none when there is no such document.
pub(crate) fn v3(headers: &HeaderMap, name: &str) -> Option<Answer> {
    static INDEX: LazyLock<Bytes> = LazyLock::new(|| openapi::v3_index().into());
    if name.is_empty() {
        return Some(json(headers, &INDEX));
    }
    let segments: Vec<&str> = name.split('/').collect();
    let document = match segments.as_slice() {
        ["api", version] => document("", version),
        ["apis", group, version] => document(group, version),
        _ => None,
    };
    document.map(|document| json(headers, &document))
}

fn document(group: &str, version: &str) -> Option<Bytes> {
    static DOCUMENTS: Mutex<BTreeMap<(String, String), Bytes>> = Mutex::new(BTreeMap::new());
    let mut documents = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (group.to_owned(), version.to_owned());
    if let Some(document) = documents.get(&key) {
        return Some(document.clone());
    }
    let document = Bytes::from(openapi::v3(group, version)?);
    documents.insert(key, document.clone());
    Some(document)
}

fn json(headers: &HeaderMap, document: &Bytes) -> Answer {
    tagged(headers, document, |json| respond::encoded(StatusCode::OK, json, Encoding::Json))
}
