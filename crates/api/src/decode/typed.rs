//! Dynamic value to typed value with the leniency of Go's decoder: null is the zero value anywhere,
//! an empty list is an absent one, unknown fields are noted and skipped. Quantities become canonical
//! and times lose what the wire cannot carry, so that what is stored is what is answered.

use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::go_type::go_type;
use super::parse::{COMPLAINTS_MAX, json_type};
use crate::amount::Amount;

/// A value that does not fit its field, in the words of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError(String);

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TypeError {}

impl serde::de::Error for TypeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// Reads a value as `T`; also gives the paths of the fields `T` does not have.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), TypeError> {
    let mut place = Place::default();
    let type_name = std::any::type_name::<T>();
    let read = T::deserialize(Reader { value, type_name, place: &mut place })?;
    Ok((read, place.unknown))
}

/// Where the reader is, and what it has met.
#[derive(Default)]
struct Place {
    /// With indices and map keys: `spec.containers[0].foo`.
    path: String,
    /// Fields alone, as Go names them: `spec.containers.foo`.
    fields: Vec<String>,
    /// The innermost type with fields.
    holder: &'static str,
    unknown: Vec<String>,
}

impl Place {
    /// Runs `read` one step further down and comes back.
    fn within<R>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> R) -> R {
        let parent = self.path.len();
        if parent > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let result = read(self);
        self.path.truncate(parent);
        result
    }
}

struct Reader<'a> {
    value: Value,
    type_name: &'static str,
    place: &'a mut Place,
}

impl Reader<'_> {
    /// The value is not what the type wants.
    fn mismatch(&self) -> TypeError {
        let found = match &self.value {
            Value::Number(number) if go_type(self.type_name).starts_with("int") => format!("number {number}"),
            other => json_type(other).to_owned(),
        };
        let wanted = go_type(self.type_name);
        match self.place.fields.join(".").as_str() {
            "" => TypeError(format!("json: cannot unmarshal {found} into Go value of type {wanted}")),
            fields => {
                let holder = self.place.holder;
                TypeError(format!(
                    "json: cannot unmarshal {found} into Go struct field {holder}.{fields} of type {wanted}"
                ))
            }
        }
    }

    fn with(self, value: Value) -> Self {
        Self { value, ..self }
    }
}

macro_rules! read_integer {
    ($method:ident, $visit:ident, $type:ty) => {
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
            let number = match &self.value {
                Value::Null => Some(0),
                Value::Number(number) => number.as_i64().and_then(|number| <$type>::try_from(number).ok()),
                Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
            };
            match number {
                Some(number) => visitor.$visit(number),
                None => Err(self.mismatch()),
            }
        }
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = TypeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        let is_int_or_string = self.type_name.contains("IntOrString");
        match self.value {
            Value::Null if is_int_or_string => visitor.visit_i64(0),
            Value::Null => visitor.visit_unit(),
            Value::Bool(_) if is_int_or_string => {
                Err(TypeError("json: cannot unmarshal bool into Go value of type int32".to_owned()))
            }
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                _ if is_int_or_string && number.as_i64().is_none_or(|number| i32::try_from(number).is_err()) => {
                    Err(TypeError(format!("json: cannot unmarshal number {number} into Go value of type int32")))
                }
                (Some(number), _) => visitor.visit_i64(number),
                (None, Some(number)) => visitor.visit_u64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), at: 0, place: self.place }),
            Value::Object(fields) => visitor.visit_map(Entries::new(fields, None, self.place)),
        }
    }

    read_integer!(deserialize_i32, visit_i32, i32);
    read_integer!(deserialize_i64, visit_i64, i64);

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value.as_f64() {
            Some(number) => visitor.visit_f64(number),
            None if self.value.is_null() => visitor.visit_f64(0.0),
            None => Err(self.mismatch()),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => Err(self.mismatch()),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_string(String::new()),
            Value::String(text) => visitor.visit_string(text),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(self.mismatch()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match &self.value {
            Value::Null => visitor.visit_none(),
            Value::Array(items) if items.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        let value = match name {
            "Quantity" => canonical_quantity(&self.value)?,
            "Time" => canonical_time(&self.value, "%Y-%m-%dT%H:%M:%SZ")?,
            "MicroTime" => canonical_time(&self.value, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
            _ => return visitor.visit_newtype_struct(self),
        };
        visitor.visit_newtype_struct(self.with(value))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_seq(Items { items: Vec::new().into_iter(), at: 0, place: self.place }),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), at: 0, place: self.place }),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Err(self.mismatch()),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_map(Entries::new(Map::new(), None, self.place)),
            Value::Object(fields) => visitor.visit_map(Entries::new(fields, None, self.place)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(self.mismatch()),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        let values = match self.value {
            Value::Null => Map::new(),
            Value::Object(values) => values,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return Err(self.mismatch()),
        };
        let outer = std::mem::replace(&mut self.place.holder, name);
        let read = visitor.visit_map(Entries::new(values, Some(fields), self.place));
        self.place.holder = outer;
        read
    }

    forward_to_deserialize_any! {
        i8 i16 u8 u16 u32 u64 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// The elements of a list.
struct Items<'a> {
    items: std::vec::IntoIter<Value>,
    at: usize,
    place: &'a mut Place,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = TypeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, TypeError> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let step = format!("[{}]", self.at);
        self.at += 1;
        let type_name = std::any::type_name::<T::Value>();
        self.place.within(&step, |place| seed.deserialize(Reader { value, type_name, place })).map(Some)
    }
}

/// The fields of an object, or the entries of a map where `known` is none.
struct Entries<'a> {
    entries: serde_json::map::IntoIter,
    known: Option<&'static [&'static str]>,
    pending: Option<(String, Value)>,
    place: &'a mut Place,
}

impl<'a> Entries<'a> {
    fn new(entries: Map<String, Value>, known: Option<&'static [&'static str]>, place: &'a mut Place) -> Self {
        Self { entries: entries.into_iter(), known, pending: None, place }
    }

    /// An object inside another may name its type, and any name is taken.
    fn is_inner_type(&self, key: &str) -> bool {
        const OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];
        !self.place.path.is_empty()
            && OBJECT[..2].contains(&key)
            && self.known.is_some_and(|known| known.starts_with(&OBJECT))
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = TypeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TypeError> {
        while let Some((key, value)) = self.entries.next() {
            if self.is_inner_type(&key) {
                continue;
            }
            if self.known.is_some_and(|known| !known.contains(&key.as_str())) {
                if self.place.unknown.len() < COMPLAINTS_MAX {
                    self.place.within(&key, |place| place.unknown.push(place.path.clone()));
                }
                continue;
            }
            let name = seed.deserialize(IntoDeserializer::<TypeError>::into_deserializer(key.as_str()))?;
            self.pending = Some((key, value));
            return Ok(Some(name));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        let (key, value) = self.pending.take().unwrap_or_default();
        let is_field = self.known.is_some();
        let type_name = std::any::type_name::<V::Value>();
        self.place.within(&key, |place| {
            if is_field {
                place.fields.push(key.clone());
            }
            let read = seed.deserialize(Reader { value, type_name, place })?;
            if is_field {
                place.fields.pop();
            }
            Ok(read)
        })
    }
}

/// Quantities may be given as numbers; they are kept in canonical form.
fn canonical_quantity(value: &Value) -> Result<Value, TypeError> {
    let text = match value {
        Value::Null => "0".to_owned(),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let amount = Amount::read(&text).map_err(|error| TypeError(error.to_string()))?;
    Ok(Value::String(amount.to_string()))
}

fn canonical_time(value: &Value, form: &str) -> Result<Value, TypeError> {
    let text = match value {
        Value::String(text) => text,
        other => {
            let found = json_type(other);
            return Err(TypeError(format!("json: cannot unmarshal {found} into Go value of type string")));
        }
    };
    let layout = "2006-01-02T15:04:05Z07:00";
    let time: Timestamp = text
        .parse()
        .map_err(|_| TypeError(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"")))?;
    Ok(Value::String(time.strftime(form).to_string()))
}
