//! What a server could say or do that breaks its promises. Planted, one at a time, to see whether the observer
//! notices; the server itself does none of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};

/// One kind of lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Writes lose the state and the object that they were decided on.
    Forces,
    /// Watches do not tell of changes.
    LeavesOut,
    /// Watches tell of pods that run as if they did not.
    Alters,
    /// Watches end with an error of the server.
    Breaks,
    /// Watches end as if history had been compacted.
    Expires,
    /// Answers show what was shown first.
    Repeats,
    /// Answers show another object.
    Swaps,
    /// Lists are one short.
    Shortens,
}

/// What was answered first, by path.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<String, Bytes>>);

impl Lie {
    /// A request as it reaches the server.
    pub(crate) fn of_request(self, body: Bytes) -> Bytes {
        let stated = (self == Self::Forces).then(|| serde_json::from_slice::<Value>(&body).ok()).flatten();
        let Some(mut stated) = stated.filter(Value::is_object) else { return body };
        stated.as_object_mut().and_then(|stated| stated.remove("preconditions"));
        if let Some(metadata) = stated.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        stated.to_string().into()
    }

    /// An answer as it leaves the server.
    pub(crate) fn of_answer(self, path: &str, body: Bytes, memory: &Memory) -> Bytes {
        match self {
            Self::Repeats => {
                let mut memory = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
                memory.entry(path.to_owned()).or_insert(body).clone()
            }
            Self::Swaps => String::from_utf8_lossy(&body).replace("web-0", "web-1").into(),
            Self::Shortens => {
                let mut list: Value = serde_json::from_slice(&body).unwrap_or_default();
                list.get_mut("items").and_then(Value::as_array_mut).and_then(Vec::pop);
                list.to_string().into()
            }
            Self::Forces | Self::LeavesOut | Self::Alters | Self::Breaks | Self::Expires => body,
        }
    }

    /// Lines of a watch as they leave the server.
    pub(crate) fn of_watch(self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let text = frame.data_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        let end = |code: u16, reason: &str| {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": "planted"});
            json!({"type": "ERROR", "object": status}).to_string() + "\n"
        };
        let text = match self {
            Self::LeavesOut => {
                let told = text.split_inclusive('\n').filter(|line| !line.starts_with("{\"type\":\"MODIFIED\""));
                told.collect()
            }
            Self::Alters => text.replace("\"phase\":\"Running\"", "\"phase\":\"Pending\""),
            Self::Breaks => end(500, "InternalError"),
            Self::Expires => end(410, "Expired"),
            Self::Forces | Self::Repeats | Self::Swaps | Self::Shortens => return frame,
        };
        Frame::data(text.into())
    }
}
