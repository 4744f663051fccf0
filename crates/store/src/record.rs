//! How one object lies in the log: its revision, its parsed header, then its encoded bytes, so that
//! start-up never parses an object. Knows nothing of files.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Entry, Header, Key, Revision};

#[derive(Serialize)]
struct HeadRef<'a> {
    revision: Revision,
    header: &'a Header,
}

#[derive(Deserialize)]
struct Head {
    revision: Revision,
    header: Header,
}

/// Why a record could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("unreadable record")]
pub(crate) struct DecodeError(#[from] postcard::Error);

/// Replaces the contents of `out` by the record of `entry`. The key is not part of it.
pub(crate) fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let head = HeadRef { revision: entry.revision, header: &entry.header };
    out.clear();
    *out = postcard::to_extend(&head, std::mem::take(out))
        .expect("invariant: a vector grows and the header has no type that postcard refuses");
    out.extend_from_slice(&entry.bytes);
}

/// The entry that was stored under `key`.
pub(crate) fn decode(key: Key, record: &[u8]) -> Result<Entry, DecodeError> {
    let (head, bytes) = postcard::take_from_bytes::<Head>(record)?;
    Ok(Entry { key, revision: head.revision, header: head.header, bytes: Bytes::copy_from_slice(bytes) })
}
