//! What a table of objects consists of: columns, cells, and the condition a row may carry.

use serde::Serialize;

/// A table column (contract `tables.tsv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Header, e.g. `Ready`.
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `boolean`, `date`.
    pub type_: &'static str,
    /// OpenAPI format, `name` for the first column.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The first column of nearly every kind.
    pub const NAME: Self = Self { name: "Name", type_: "string", format: "name", priority: 0 };
    /// The age in human form.
    pub const AGE: Self = Self::text("Age");

    /// A text column that is always shown.
    pub const fn text(name: &'static str) -> Self {
        Self { name, type_: "string", format: "", priority: 0 }
    }

    /// A text column shown with `-o wide`.
    pub const fn wide(name: &'static str) -> Self {
        Self { name, type_: "string", format: "", priority: 1 }
    }

    /// A column of whole numbers that is always shown.
    pub const fn integer(name: &'static str) -> Self {
        Self { name, type_: "integer", format: "", priority: 0 }
    }

    /// A column of booleans that is always shown.
    pub const fn boolean(name: &'static str) -> Self {
        Self { name, type_: "boolean", format: "", priority: 0 }
    }
}

/// The one condition a table row may carry: a pod that has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCondition {
    /// `Completed`
    pub type_: &'static str,
    /// `Succeeded` or `Failed`
    pub reason: &'static str,
    /// The sentence shown to people.
    pub message: &'static str,
}

/// A table cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A JSON number.
    Number(i64),
    /// A JSON boolean.
    Bool(bool),
    /// JSON null.
    Null,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}
impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
