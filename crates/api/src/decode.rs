//! From a request body to a typed object, as leniently and with the same reports as Kubernetes:
//! nulls count as absent, quantities become canonical, unknown and duplicate fields are named by path
//! (contract `defaults-validation.md`, 1.2).
//!
//! Nothing is defaulted or judged here.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::object::Object;
use crate::protobuf::{Envelope, EnvelopeError, MessageError};
use crate::registry::Kind;

mod go_type;
mod parse;
mod plain;
mod typed;

pub use parse::{Format, ParseError, parse};
pub use plain::Origin;
pub use typed::TypeError;

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub object: Object,
    /// Paths of fields that its type does not have, e.g. `spec.containers[0].foo`, in order.
    pub unknown: Vec<String>,
    /// Paths of fields that occur more than once; the last one counted.
    pub duplicate: Vec<String>,
}

impl Decoded {
    /// What strict validation objects to and lenient validation warns of, unknown fields first.
    pub fn complaints(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|path| format!("unknown field \"{path}\""));
        unknown.chain(self.duplicate.iter().map(|path| format!("duplicate field \"{path}\""))).collect()
    }
}

/// Why a body was refused; the text is what the API answers with 400.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON or YAML at all, or not an object.
    #[error(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {source} ({summary})"
    )]
    Unrecognized {
        /// The kind expected.
        kind: &'static str,
        /// The beginning of the body.
        summary: String,
        /// Where reading stopped.
        #[source]
        source: ParseError,
    },
    /// Not protobuf, or no telling what it holds.
    #[error("the object provided is unrecognized (must be of type {kind}): {source} ({summary})")]
    Envelope {
        /// The kind expected.
        kind: &'static str,
        /// The beginning of the body.
        summary: String,
        /// What is wrong with the envelope.
        #[source]
        source: EnvelopeError,
    },
    /// Protobuf whose object cannot be read.
    #[error("{found} in version {version:?} cannot be handled as a {expected}: {source}")]
    Message {
        /// What the envelope says.
        found: String,
        /// The version the envelope says, without its group.
        version: String,
        /// What the path says.
        expected: &'static str,
        /// What is wrong with the object.
        #[source]
        source: MessageError,
    },
    /// Another `apiVersion`.
    #[error("the API version in the data ({found}) does not match the expected API version ({expected})")]
    Version {
        /// What the body says.
        found: String,
        /// What the path says.
        expected: String,
    },
    /// Another `kind` of the same version.
    #[error("{found} in version {version:?} cannot be handled as a {expected}: {reason}")]
    Kind {
        /// What the body says.
        found: String,
        /// The version of both.
        version: &'static str,
        /// What the path says.
        expected: &'static str,
        /// Why they do not go together.
        reason: String,
    },
    /// A value of the wrong type.
    #[error("{kind} in version {version:?} cannot be handled as a {kind}: {source}")]
    Type {
        /// The kind expected.
        kind: &'static str,
        /// Its version.
        version: &'static str,
        /// Which field.
        #[source]
        source: TypeError,
    },
}

/// Decodes a body as `kind`. Absent `apiVersion` and `kind` are filled in.
pub fn decode(kind: &Kind, body: &[u8], format: Format) -> Result<Decoded, DecodeError> {
    if format == Format::Json
        && let Ok(text) = std::str::from_utf8(body)
        && let Some(mut object) = (kind.from_plain)(text, Origin::Client)
    {
        drop_empty_maps(&mut object);
        return Ok(Decoded { object, unknown: Vec::new(), duplicate: Vec::new() });
    }
    decode_leniently(kind, body, format)
}

/// Decodes what an object was encoded to. Fields its type does not have are passed over.
pub fn decode_stored(kind: &Kind, bytes: &[u8]) -> Result<Object, DecodeError> {
    let plain = std::str::from_utf8(bytes).ok().and_then(|text| (kind.from_plain)(text, Origin::Server));
    match plain {
        Some(object) => Ok(object),
        None => decode_leniently(kind, bytes, Format::Json).map(|decoded| decoded.object),
    }
}

/// Reads what an API server wrote as a `T`. Fields it does not have are passed over.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    read_plain(text, Origin::Server).map_or_else(|| serde_json::from_str(text), Ok)
}

/// Reads JSON in which there is nothing unusual as a `T`; none when there is.
pub(crate) fn read_plain<T: DeserializeOwned>(text: &str, origin: Origin) -> Option<T> {
    plain::read(text, origin)
}

fn decode_leniently(kind: &Kind, body: &[u8], format: Format) -> Result<Decoded, DecodeError> {
    let unrecognized = |source| DecodeError::Unrecognized { kind: kind.kind, summary: summary(body), source };
    let (value, duplicate) = match format {
        Format::Protobuf => (read_protobuf(kind, body)?, Vec::new()),
        Format::Json | Format::Yaml => parse(body, format).map_err(unrecognized)?,
    };
    match value {
        Value::Object(fields) => {
            let decoded = decode_fields(kind, fields)?;
            Ok(Decoded { duplicate, ..decoded })
        }
        other => Err(unrecognized(ParseError::not_an_object(&other))),
    }
}

/// Decodes a value that was parsed before, such as the result of a patch.
pub fn decode_value(kind: &Kind, value: Value) -> Result<Decoded, DecodeError> {
    match value {
        Value::Object(fields) => decode_fields(kind, fields),
        other => {
            let source = ParseError::not_an_object(&other);
            Err(DecodeError::Unrecognized { kind: kind.kind, summary: summary(other.to_string().as_bytes()), source })
        }
    }
}

/// Decodes a value of a type without a row in the registry (DeleteOptions, Scale, Binding …), with
/// the paths of its unknown fields.
pub fn decode_as<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), TypeError> {
    typed::read(value)
}

/// Opens and reads a protobuf body. A type that the envelope leaves out is that of the path.
fn read_protobuf(kind: &Kind, body: &[u8]) -> Result<Value, DecodeError> {
    let refuse = |source| DecodeError::Envelope { kind: kind.kind, summary: summary(body), source };
    let mut envelope = Envelope::open(body).map_err(refuse)?;
    if envelope.kind.is_empty() && envelope.api_version.is_empty() {
        (envelope.kind, envelope.api_version) = (kind.kind.to_owned(), kind.api_version());
    }
    envelope.read().map_err(|source| DecodeError::Message {
        version: envelope.api_version.rsplit('/').next().unwrap_or_default().to_owned(),
        found: envelope.kind,
        expected: kind.kind,
        source,
    })
}

fn decode_fields(kind: &Kind, mut fields: Map<String, Value>) -> Result<Decoded, DecodeError> {
    check_type(kind, &mut fields)?;
    let (mut object, unknown) = (kind.from_lenient)(Value::Object(fields)).map_err(|source| DecodeError::Type {
        kind: kind.kind,
        version: kind.version,
        source,
    })?;
    drop_empty_maps(&mut object);
    Ok(Decoded { object, unknown, duplicate: Vec::new() })
}

/// An empty map of labels or annotations is no map, as on the wire of Kubernetes.
fn drop_empty_maps(object: &mut Object) {
    let metadata = object.metadata_mut();
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
}

/// Refuses an object of another type; takes its type fields away, since the row knows them.
fn check_type(kind: &Kind, fields: &mut Map<String, Value>) -> Result<(), DecodeError> {
    let mut take = |name: &str| match fields.get(name) {
        // A type field of another JSON type is left for the decoder to refuse.
        Some(Value::String(_)) | Some(Value::Null) => match fields.shift_remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        },
        _ => String::new(),
    };
    let (version, found) = (take("apiVersion"), take("kind"));
    let expected = kind.api_version();
    if !version.is_empty() && version != expected {
        return Err(DecodeError::Version { found: version, expected });
    }
    if !found.is_empty() && found != kind.kind {
        let is_known = crate::registry::find_kind(kind.group, kind.version, &found).is_some();
        let (group, version) = (kind.group, kind.version);
        let reason = if is_known {
            let internal = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
            format!("converting ({version}.{found}) to ({internal}.{}): unknown conversion", kind.kind)
        } else {
            format!(
                "no kind {found:?} is registered for version {expected:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            )
        };
        return Err(DecodeError::Kind { found, version, expected: kind.kind, reason });
    }
    Ok(())
}

/// The beginning of a body for an error text: as it is when it looks like JSON, else in hex.
fn summary(body: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 30;
    if body.is_empty() {
        return "<empty>".to_owned();
    }
    let shown = &body[..body.len().min(SHOWN_BYTES_MAX)];
    let shown = if shown[0] == b'{' {
        String::from_utf8_lossy(shown).into_owned()
    } else {
        shown.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    if body.len() > SHOWN_BYTES_MAX { format!("{shown} ...") } else { shown }
}

#[cfg(test)]
pub(crate) fn from_yaml<T: crate::registry::Spec>(yaml: &str) -> T {
    let decoded = decode(crate::registry::kind_of::<T>(), yaml.as_bytes(), Format::Yaml).expect("a manifest in a test");
    assert_eq!(decoded.complaints(), Vec::<String>::new());
    decoded.object.into().expect("decoded as its own kind")
}

#[cfg(test)]
mod tests;
