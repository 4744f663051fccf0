//! How changes lie in a row of the log, one after the other: the key, the revision, the parsed
//! header, then the encoded object, so that start-up never parses an object. Knows nothing of files.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Entry, Event, Header, Key, Resource, Revision};

/// A change as it was read back. `state` is none for a deletion.
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) revision: Revision,
    pub(crate) state: Option<State>,
}

/// What a key was changed to.
pub(crate) struct State {
    header: Header,
    bytes: Bytes,
}

#[derive(Serialize)]
struct HeadRef<'a> {
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
    revision: Revision,
    state: Option<StateRef<'a>>,
}

#[derive(Serialize)]
struct StateRef<'a> {
    header: &'a Header,
    bytes_len: usize,
}

#[derive(Deserialize)]
struct Head<'a> {
    resource: &'a str,
    namespace: Box<str>,
    name: Box<str>,
    revision: Revision,
    state: Option<StateHead>,
}

#[derive(Deserialize)]
struct StateHead {
    header: Header,
    bytes_len: usize,
}

/// Why a row could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("unreadable head of a record")]
    Head(#[from] postcard::Error),
    #[error("{0} is cut short")]
    Short(Key),
}

/// Appends the state of `entry` to `row`.
pub(crate) fn append_state(entry: &Entry, row: &mut Vec<u8>) {
    let state = StateRef { header: &entry.header, bytes_len: entry.bytes.len() };
    append_head(&entry.key, entry.revision, Some(state), row);
    row.extend_from_slice(&entry.bytes);
}

/// Appends a change to `row`. The final state that a deletion shows to watchers is not kept.
pub(crate) fn append(event: &Event, row: &mut Vec<u8>) {
    if event.deleted {
        append_head(&event.after.key, event.after.revision, None, row);
    } else {
        append_state(&event.after, row);
    }
}

fn append_head(key: &Key, revision: Revision, state: Option<StateRef<'_>>, row: &mut Vec<u8>) {
    let head = HeadRef { resource: &key.resource.0, namespace: &key.namespace, name: &key.name, revision, state };
    *row = postcard::to_extend(&head, std::mem::take(row))
        .expect("invariant: a vector grows, and the head has no type that postcard refuses");
}

/// Reads rows back, giving every key of a resource the same shared name.
#[derive(Default)]
pub(crate) struct Decoder {
    resources: HashMap<Box<str>, Resource>,
}

impl Decoder {
    /// The changes of one row, in the order in which they were appended.
    pub(crate) fn decode<'a>(&'a mut self, row: &'a [u8]) -> impl Iterator<Item = Result<Record, DecodeError>> + 'a {
        let mut rest = row;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let record = self.take(&mut rest);
            if record.is_err() {
                rest = &[];
            }
            Some(record)
        })
    }

    fn take(&mut self, rest: &mut &[u8]) -> Result<Record, DecodeError> {
        let (head, after) = postcard::take_from_bytes::<Head<'_>>(rest)?;
        let key = Key { resource: self.resource(head.resource), namespace: head.namespace, name: head.name };
        let (state, after) = match head.state {
            None => (None, after),
            Some(StateHead { header, bytes_len }) => {
                let Some((bytes, after)) = after.split_at_checked(bytes_len) else {
                    return Err(DecodeError::Short(key));
                };
                (Some(State { header, bytes: Bytes::copy_from_slice(bytes) }), after)
            }
        };
        *rest = after;
        Ok(Record { key, revision: head.revision, state })
    }

    fn resource(&mut self, name: &str) -> Resource {
        if let Some(known) = self.resources.get(name) {
            return known.clone();
        }
        let resource = Resource(name.into());
        self.resources.insert(name.into(), resource.clone());
        resource
    }
}

impl State {
    /// Size of the encoded object.
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The entry this state makes with its key and revision.
    pub(crate) fn entry(self, key: Key, revision: Revision) -> Entry {
        Entry { key, revision, header: self.header, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn entry(name: &str, revision: u64) -> Arc<Entry> {
        let key = Key { resource: Resource("pods".into()), namespace: "ns".into(), name: name.into() };
        let header = Header { uid: "u".into(), owners: ["o".into()].into(), ..Header::default() };
        Arc::new(Entry { key, revision: Revision(revision), header, bytes: Bytes::from(format!("{{{name}}}")) })
    }

    #[test]
    fn a_row_reads_back_as_it_was_written_and_every_cut_is_noticed() {
        let (put, gone) = (entry("a", 7), entry("b", 300));
        let mut row = Vec::new();
        append(&Event { before: None, after: Arc::clone(&put), deleted: false }, &mut row);
        let first = row.len();
        append(&Event { before: None, after: Arc::clone(&gone), deleted: true }, &mut row);

        let mut decoder = Decoder::default();
        let read: Vec<_> = decoder.decode(&row).map(|record| record.expect("readable")).collect();
        let [a, b] = <[Record; 2]>::try_from(read).ok().expect("two records");
        assert_eq!(a.state.expect("a state").entry(a.key, a.revision), *put);
        assert_eq!((b.key, b.revision, b.state.is_none()), (gone.key.clone(), gone.revision, true));

        for cut in (1..row.len()).filter(|cut| *cut != first) {
            assert!(decoder.decode(&row[..cut]).any(|record| record.is_err()), "cut at {cut}");
        }
    }
}
