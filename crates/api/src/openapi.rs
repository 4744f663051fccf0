//! OpenAPI documents, built from the registry and the JSON schemas of the types when asked for:
//! v3 per group version, v2 for all. kubectl finds in them what it explains, and that it may leave
//! validation of fields to the server.
//!
//! A document is made anew on each call and kept by nobody here: it is large and rarely wanted.

use serde_json::{Value, json};

use crate::kinds;
use crate::registry::Kind;

mod definitions;
mod paths;

/// The version the documents claim, that of the API they describe.
const VERSION: &str = "v1.36.2";
/// Raised whenever the documents change for the same version of Stead, so that clients drop copies.
const REVISION: u32 = 1;

/// The two forms of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Swagger 2.0
    V2,
    /// OpenAPI 3.0
    V3,
}

/// The body of `/openapi/v3`: where the document of each group version is.
pub fn v3_index() -> Vec<u8> {
    let entries = group_versions().into_iter().map(|(group, version)| {
        let path = root_path(group, version);
        let path = path.trim_start_matches('/');
        (path.to_owned(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", hash())}))
    });
    bytes(&json!({"paths": entries.collect::<serde_json::Map<_, _>>()}))
}

/// The document of one group version, e.g. of `/openapi/v3/apis/apps/v1`; none if it is not served.
pub fn v3(group: &str, version: &str) -> Option<Vec<u8>> {
    let kinds: Vec<&Kind> = kinds::ALL.iter().filter(|kind| kind.group == group && kind.version == version).collect();
    if kinds.is_empty() {
        return None;
    }
    Some(bytes(&json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths::of(&kinds, Version::V3),
        "components": {"schemas": definitions::of(&kinds, Version::V3)},
    })))
}

/// The document of everything, the body of `/openapi/v2`.
pub fn v2() -> Vec<u8> {
    let kinds: Vec<&Kind> = kinds::ALL.iter().collect();
    bytes(&json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths::of(&kinds, Version::V2),
        "definitions": definitions::of(&kinds, Version::V2),
    }))
}

/// Changes whenever a document does; serves as ETag.
pub fn hash() -> String {
    // FNV-1a over what the documents are made from; nothing depends on its strength.
    let words = [env!("CARGO_PKG_VERSION"), VERSION].into_iter().chain(kinds::ALL.iter().map(|kind| kind.kind));
    let bytes = words.flat_map(str::bytes).chain(REVISION.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016X}")
}

/// Group versions in discovery order.
fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for kind in kinds::ALL {
        if !found.contains(&(kind.group, kind.version)) {
            found.push((kind.group, kind.version));
        }
    }
    found
}

/// `/api/v1` or `/apis/apps/v1`.
fn root_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).expect("a JSON value always serialises")
}

#[cfg(test)]
mod tests;
