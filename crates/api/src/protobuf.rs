//! Protobuf bodies as Kubernetes clients send them: four magic bytes, an envelope that names the type, the object.
//! An object becomes the dynamic value that its JSON would have been, which the one decoder of
//! [`decode`](crate::decode) then reads like any other body (contract `api.md`, "Protobuf").
//!
//! Nothing is encoded here: answers are JSON. Field numbers are data (`data/proto-fields.tsv`), not code.

use serde_json::{Map, Value};

mod message;
mod table;
mod wire;

pub use wire::WireError;
use wire::{Datum, Wire};

/// What every body starts with.
const MAGIC: &[u8; 4] = b"k8s\0";

/// Why a body is not one of this form, or does not say what it holds.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// No bytes.
    #[error("empty data")]
    NoData,
    /// Something else than [`MAGIC`] in front.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// Nothing behind the magic bytes.
    #[error("empty body")]
    NoBody,
    /// The envelope itself cannot be read.
    #[error("{0}")]
    Wire(#[from] WireError),
}

/// Why the object in an envelope cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// A type without field numbers.
    #[error(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )]
    UnknownType {
        /// What the envelope says.
        api_version: String,
        /// What the envelope says.
        kind: String,
    },
    /// The bytes do not fit the type.
    #[error("{0}")]
    Wire(#[from] WireError),
}

/// An opened body: which type it says it is, and the object still in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Group and version, e.g. `apps/v1`; empty when the client leaves it to the path.
    pub api_version: String,
    /// Kind; may be empty likewise.
    pub kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens a body. What the envelope says about encodings is ignored, as Kubernetes does.
    pub fn open(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        if body.is_empty() {
            return Err(EnvelopeError::NoData);
        }
        let inner = body.strip_prefix(MAGIC).ok_or(EnvelopeError::Prefix)?;
        if inner.is_empty() {
            return Err(EnvelopeError::NoBody);
        }
        let mut envelope = Self { api_version: String::new(), kind: String::new(), raw: &[] };
        for field in Wire::new(inner) {
            match field? {
                (1, Datum::Bytes(type_meta)) => envelope.read_type(type_meta)?,
                (2, Datum::Bytes(raw)) => envelope.raw = raw,
                (1 | 2, other) => return Err(other.wrong_type("Unknown").into()),
                _ => {}
            }
        }
        Ok(envelope)
    }

    /// The object as its JSON would be, `apiVersion` and `kind` first. DeleteOptions are understood in every group.
    pub fn read(&self) -> Result<Value, MessageError> {
        let Some(message) = table::find(&self.api_version, &self.kind) else {
            return Err(MessageError::UnknownType { api_version: self.api_version.clone(), kind: self.kind.clone() });
        };
        let mut fields = Map::new();
        fields.insert("apiVersion".to_owned(), self.api_version.clone().into());
        fields.insert("kind".to_owned(), self.kind.clone().into());
        message::read(message, self.raw, &mut fields)?;
        Ok(Value::Object(fields))
    }

    fn read_type(&mut self, type_meta: &[u8]) -> Result<(), WireError> {
        for field in Wire::new(type_meta) {
            match field? {
                (1, datum) => self.api_version = datum.text("apiVersion")?,
                (2, datum) => self.kind = datum.text("kind")?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
