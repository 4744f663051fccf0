//! A message's bytes to the JSON its type would have. Depth is bounded by the table, in which no type contains itself.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::table::{self, Field, Holds, MessageId, What};
use super::wire::{Datum, Wire, WireError};

/// Reads a message into `object`. Of a scalar that comes twice the last counts, messages that come twice become one.
/// Fields the type does not have are skipped.
pub(super) fn read(message: MessageId, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), WireError> {
    for item in Wire::new(bytes) {
        let (number, datum) = item?;
        let Some(field) = table::field(message, number) else { continue };
        match field.holds {
            Holds::One | Holds::Pointer => read_one(field, datum, object)?,
            Holds::List => {
                let mut items = match take(object, field.name) {
                    Value::Array(items) => items,
                    _ => Vec::new(),
                };
                read_item(field, datum, &mut items)?;
                object.insert(field.name.to_owned(), Value::Array(items));
            }
            Holds::Map => {
                let mut entries = take_object(object, field.name);
                let (key, value) = read_entry(field, datum)?;
                entries.insert(key, value);
                object.insert(field.name.to_owned(), Value::Object(entries));
            }
        }
    }
    Ok(())
}

/// What the earlier bytes gave the field; its place is kept.
fn take(object: &mut Map<String, Value>, name: &str) -> Value {
    object.get_mut(name).map(Value::take).unwrap_or_default()
}

fn take_object(object: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match take(object, name) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn read_one(field: &Field, datum: Datum<'_>, object: &mut Map<String, Value>) -> Result<(), WireError> {
    let value = match field.what {
        What::Inline(inner) => return read(inner, datum.bytes(field.name)?, object),
        What::Message(inner) => {
            let mut fields = take_object(object, field.name);
            read(inner, datum.bytes(field.name)?, &mut fields)?;
            Value::Object(fields)
        }
        What::Text | What::Integer | What::Boolean | What::Bytes => read_value(field, datum)?,
        What::Quantity | What::Time | What::IntOrString | What::Json | What::Texts => read_value(field, datum)?,
    };
    if value.is_null() || field.holds == Holds::One && is_zero(field.what, &value) {
        object.shift_remove(field.name);
    } else {
        object.insert(field.name.to_owned(), value);
    }
    Ok(())
}

/// Whether Go's JSON would leave the value out. Structures it never does.
fn is_zero(what: What, value: &Value) -> bool {
    match what {
        What::Text | What::Bytes => value.as_str() == Some(""),
        What::Integer => value.as_i64() == Some(0),
        What::Boolean => value.as_bool() == Some(false),
        What::Quantity | What::Time | What::IntOrString | What::Json | What::Texts => false,
        What::Message(_) | What::Inline(_) => false,
    }
}

fn read_item(field: &Field, datum: Datum<'_>, items: &mut Vec<Value>) -> Result<(), WireError> {
    match (field.what, datum) {
        (What::Integer | What::Boolean, Datum::Bytes(packed)) => {
            for number in Wire::packed(packed) {
                items.push(read_value(field, number?)?);
            }
        }
        _ => items.push(read_value(field, datum)?),
    }
    Ok(())
}

/// An entry of a map is a message of key and value, either of which may be left out.
fn read_entry(field: &Field, datum: Datum<'_>) -> Result<(String, Value), WireError> {
    let (mut key, mut value) = (String::new(), None);
    for item in Wire::new(datum.bytes(field.name)?) {
        match item? {
            (1, datum) => key = datum.text(field.name)?,
            (2, datum) => value = Some(read_value(field, datum)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None => read_value(field, Datum::Bytes(&[]))?,
    };
    Ok((key, value))
}

/// One value; null for a time or JSON that is not there.
fn read_value(field: &Field, datum: Datum<'_>) -> Result<Value, WireError> {
    let name = field.name;
    Ok(match field.what {
        What::Text => datum.text(name)?.into(),
        What::Integer => datum.integer(name)?.into(),
        What::Boolean => (datum.integer(name)? != 0).into(),
        What::Bytes => BASE64_STANDARD.encode(datum.bytes(name)?).into(),
        What::Quantity => read_quantity(name, datum.bytes(name)?)?,
        What::Time => read_time(name, datum.bytes(name)?)?,
        What::IntOrString => read_int_or_string(name, datum.bytes(name)?)?,
        What::Json => read_json(name, datum.bytes(name)?)?,
        What::Texts => read_texts(name, datum.bytes(name)?)?,
        What::Message(message) | What::Inline(message) => {
            let mut fields = Map::new();
            read(message, datum.bytes(name)?, &mut fields)?;
            Value::Object(fields)
        }
    })
}

fn read_quantity(name: &'static str, bytes: &[u8]) -> Result<Value, WireError> {
    let mut text = String::new();
    for item in Wire::new(bytes) {
        if let (1, datum) = item? {
            text = datum.text(name)?;
        }
    }
    Ok(if text.is_empty() { "0".into() } else { text.into() })
}

fn read_time(name: &'static str, bytes: &[u8]) -> Result<Value, WireError> {
    // The zero time is an empty message; 1970 has its zeros written out.
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    for item in Wire::new(bytes) {
        match item? {
            (1, datum) => seconds = datum.integer(name)?,
            (2, datum) => nanoseconds = datum.integer(name)?,
            _ => {}
        }
    }
    let nanoseconds = i32::try_from(nanoseconds).map_err(|source| WireError::Range { field: name, source })?;
    let time = Timestamp::new(seconds, nanoseconds).map_err(|source| WireError::Time { field: name, source })?;
    Ok(time.to_string().into())
}

fn read_int_or_string(name: &'static str, bytes: &[u8]) -> Result<Value, WireError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for item in Wire::new(bytes) {
        match item? {
            (1, datum) => is_text = datum.integer(name)? != 0,
            (2, datum) => number = datum.integer(name)?,
            (3, datum) => text = datum.text(name)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn read_json(name: &'static str, bytes: &[u8]) -> Result<Value, WireError> {
    let mut json = [].as_slice();
    for item in Wire::new(bytes) {
        if let (1, datum) = item? {
            json = datum.bytes(name)?;
        }
    }
    if json.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(json).map_err(|source| WireError::Json { field: name, source })
}

fn read_texts(name: &'static str, bytes: &[u8]) -> Result<Value, WireError> {
    let mut texts = Vec::new();
    for item in Wire::new(bytes) {
        if let (1, datum) = item? {
            texts.push(datum.text(name)?.into());
        }
    }
    Ok(Value::Array(texts))
}
