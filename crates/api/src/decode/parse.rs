//! Body to a dynamic value in one pass, noting every field that occurs twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::protobuf::{Envelope, EnvelopeError, MessageError};

/// Complaints of one sort that are kept of a body; more are dropped.
pub(super) const COMPLAINTS_MAX: usize = 100;

/// Bytes and values that the aliases of a YAML body may add to it.
const ALIASED_MAX: usize = 3 * 1024 * 1024;

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`, of which JSON is a part
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Nothing there, or it stops in the middle.
    #[error("unexpected end of JSON input")]
    End,
    /// A fault in JSON.
    #[error("{0}")]
    Json(#[source] serde_json::Error),
    /// A fault in YAML.
    #[error("error converting YAML to JSON: yaml: {0}")]
    Yaml(#[source] serde_yaml_ng::Error),
    /// A fault in protobuf, outside the object.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    /// A fault in protobuf, inside the object.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// A scalar or a list where an object belongs.
    #[error(
        "json: cannot unmarshal {0} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
         Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )]
    NotAnObject(&'static str),
}

impl ParseError {
    pub(super) fn not_an_object(value: &Value) -> Self {
        match value {
            Value::Null => Self::End,
            other => Self::NotAnObject(json_type(other)),
        }
    }
}

/// The word Go's errors use for a JSON value.
pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Reads a body; also gives the path of every field that occurs more than once, each once. Of such
/// a field the last value counts. Depth is limited by the readers underneath (128 levels).
pub fn parse(body: &[u8], format: Format) -> Result<(Value, Vec<String>), ParseError> {
    // What JSON says is no larger than its body.
    let room = if format == Format::Yaml { body.len() + ALIASED_MAX } else { usize::MAX };
    let mut notes = Notes { path: String::new(), duplicates: Vec::new(), room };
    let value = match format {
        Format::Json => {
            let mut reader = serde_json::Deserializer::from_slice(body);
            let value = Tree(&mut notes).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
            value.map_err(|error| if error.is_eof() { ParseError::End } else { ParseError::Json(error) })?
        }
        Format::Yaml => {
            // Of several documents the first counts.
            let document = serde_yaml_ng::Deserializer::from_slice(body).next().ok_or(ParseError::End)?;
            Tree(&mut notes).deserialize(document).map_err(ParseError::Yaml)?
        }
        Format::Protobuf => Envelope::open(body)?.read()?,
    };
    Ok((value, notes.duplicates))
}

struct Notes {
    path: String,
    duplicates: Vec<String>,
    /// Bytes and values that may still come.
    room: usize,
}

impl Notes {
    /// Takes note of something of that size; a body that says far more than it holds is refused.
    fn take<E: serde::de::Error>(&mut self, size: usize) -> Result<(), E> {
        match self.room.checked_sub(size) {
            Some(left) => {
                self.room = left;
                Ok(())
            }
            None => Err(E::custom("document contains excessive aliasing")),
        }
    }

    fn note_duplicate(&mut self) {
        if self.duplicates.len() < COMPLAINTS_MAX && !self.duplicates.contains(&self.path) {
            self.duplicates.push(self.path.clone());
        }
    }
}

/// Reads one value at the current path.
struct Tree<'a>(&'a mut Notes);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.0.take(1)?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.deserialize(reader)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("json: unsupported value: not a finite number"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.0.take(value.len())?;
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let parent = self.0.path.len();
        let mut list = Vec::new();
        loop {
            self.0.path.push_str(&format!("[{}]", list.len()));
            let item = items.next_element_seed(Tree(&mut *self.0))?;
            self.0.path.truncate(parent);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let parent = self.0.path.len();
        let mut fields = Map::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            if parent > 0 {
                self.0.path.push('.');
            }
            self.0.take(key.len())?;
            self.0.path.push_str(&key);
            if fields.contains_key(&key) {
                self.0.note_duplicate();
            }
            let value = entries.next_value_seed(Tree(&mut *self.0))?;
            self.0.path.truncate(parent);
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// A field's name; YAML lets it be a number or a boolean.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<String, E> {
        Ok(name.to_owned())
    }

    fn visit_string<E>(self, name: String) -> Result<String, E> {
        Ok(name)
    }

    fn visit_bool<E>(self, name: bool) -> Result<String, E> {
        Ok(name.to_string())
    }

    fn visit_i64<E>(self, name: i64) -> Result<String, E> {
        Ok(name.to_string())
    }

    fn visit_u64<E>(self, name: u64) -> Result<String, E> {
        Ok(name.to_string())
    }

    fn visit_f64<E>(self, name: f64) -> Result<String, E> {
        Ok(name.to_string())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<String, E> {
        Err(E::custom("a field name cannot be null"))
    }
}
