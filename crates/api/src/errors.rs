//! Field errors: what is wrong with which field, in the words Kubernetes uses
//! (contract `defaults-validation.md`, 1.3).

use std::fmt;

/// The class of a field error; decides the head of the message and the machine-readable reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// `Not found: <value>`
    NotFound,
    /// `Required value`
    Required,
    /// `Duplicate value: <value>`
    Duplicate,
    /// `Invalid value: <value>: <detail>`
    Invalid,
    /// `Unsupported value: <value>: supported values: …`
    NotSupported,
    /// `Forbidden: <detail>`
    Forbidden,
    /// `Too long: <detail>`
    TooLong,
    /// `Too many: <value>: <detail>`
    TooMany,
    /// `Internal error: <detail>`
    Internal,
}

impl FieldErrorKind {
    /// The `reason` of the cause in a Status, e.g. `FieldValueInvalid`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    fn prints_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong | Self::Internal)
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path such as `spec.containers[0].name`; empty for the whole object.
    pub field: String,
    /// The class of the error.
    pub kind: FieldErrorKind,
    /// The offending value already rendered as the message shows it (quoted string, number, JSON).
    pub value: String,
    /// What the rule says; may be empty.
    pub detail: String,
}

impl FieldError {
    fn new(kind: FieldErrorKind, field: impl Into<String>, value: String, detail: impl Into<String>) -> Self {
        Self { field: field.into(), kind, value, detail: detail.into() }
    }

    /// A value that breaks a rule. `value` is printed as JSON, so strings come out quoted.
    pub fn invalid(field: impl Into<String>, value: impl serde::Serialize, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, render(&value), detail)
    }

    /// A missing value. An empty `detail` prints `Required value` alone.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, String::new(), detail)
    }

    /// Something that may not be set or changed.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, String::new(), detail)
    }

    /// A value outside a closed set; `supported` is printed in the order given.
    pub fn not_supported(field: impl Into<String>, value: impl serde::Serialize, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = format!("supported values: {}", list.join(", "));
        Self::new(FieldErrorKind::NotSupported, field, render(&value), detail)
    }

    /// A value that must be unique and is not.
    pub fn duplicate(field: impl Into<String>, value: impl serde::Serialize) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, render(&value), "")
    }

    /// A reference to something that does not exist.
    pub fn not_found(field: impl Into<String>, value: impl serde::Serialize) -> Self {
        Self::new(FieldErrorKind::NotFound, field, render(&value), "")
    }

    /// A string or map over `bytes_max` bytes.
    pub fn too_long(field: impl Into<String>, bytes_max: usize) -> Self {
        Self::new(FieldErrorKind::TooLong, field, String::new(), format!("may not be more than {bytes_max} bytes"))
    }

    /// A list of `count` items where `items_max` are allowed.
    pub fn too_many(field: impl Into<String>, count: usize, items_max: usize) -> Self {
        let detail = format!("must have at most {items_max} items");
        Self::new(FieldErrorKind::TooMany, field, count.to_string(), detail)
    }

    /// The text of the cause: everything but the field.
    pub fn message(&self) -> String {
        let mut text = self.kind.head().to_owned();
        if self.kind.prints_value() {
            text.push_str(": ");
            text.push_str(&self.value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

fn render(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

/// Every error found in one object, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// Adds one error.
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Adds all errors of another list.
    pub fn extend(&mut self, errors: FieldErrors) {
        self.0.extend(errors.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for FieldErrors {
    /// One error alone bare, several as `[e1, e2]`, identical texts once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = Vec::with_capacity(self.0.len());
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}
