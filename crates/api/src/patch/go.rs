//! How Go names and prints dynamic values inside error texts that clients see.

use serde_json::Value;

/// The Go type a JSON value is decoded into, which also decides whether two values may be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoType {
    Nil,
    Bool,
    Int,
    Float,
    String,
    List,
    Map,
}

impl GoType {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_f64() => Self::Float,
            Value::Number(_) => Self::Int,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Map,
        }
    }

    /// The name `reflect.TypeOf` prints.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nil => "%!s(<nil>)",
            Self::Bool => "bool",
            Self::Int => "int64",
            Self::Float => "float64",
            Self::String => "string",
            Self::List => "[]interface {}",
            Self::Map => "map[string]interface {}",
        }
    }
}

/// The value as Go's `%v` prints it: `map[a:1 b:[x y]]`, keys sorted.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => display_list(items),
        Value::Object(fields) => {
            let mut pairs: Vec<_> = fields.iter().map(|(key, value)| format!("{key}:{}", display(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// A list as Go's `%v` prints it: `[a b]`.
pub(super) fn display_list(items: &[Value]) -> String {
    let items: Vec<_> = items.iter().map(display).collect();
    format!("[{}]", items.join(" "))
}
