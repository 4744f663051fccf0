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
    if asks_for_protobuf(headers) {
        return without_paths();
    }
    json(headers, &DOCUMENT)
}

/// Media type of the version 2 document as protobuf, as it is answered: what clients ask for has an `@`, which
/// their own parsers refuse in an answer.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn asks_for_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.into_iter().any(|accept| accept.contains("proto-openapi.spec.v2"))
}

/// The version 2 document as protobuf, without paths and definitions. kubectl 1.27 and later read version
/// 3 and turn to this one only for kinds that are not there, to learn that they are not here either.
fn without_paths() -> Answer {
    let (title, version) = (b"Stead", b"v1.36");
    // openapi.v2.Document{swagger: 1, info: 2 {title: 1, version: 2}, paths: 8}
    let mut info = vec![0x0a, title.len() as u8];
    info.extend_from_slice(title);
    info.extend_from_slice(&[0x12, version.len() as u8]);
    info.extend_from_slice(version);
    let mut document = vec![0x0a, 3];
    document.extend_from_slice(b"2.0");
    document.extend_from_slice(&[0x12, info.len() as u8]);
    document.extend_from_slice(&info);
    document.extend_from_slice(&[0x42, 0]);
    let mut answer = respond::encoded(StatusCode::OK, Bytes::from(document), Encoding::Json)?;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(V2_PROTOBUF));
    Ok(answer)
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
