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

    /// The same error with another detail, for the few classes that usually have none.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// A value that breaks a rule. Strings come out quoted, numbers and booleans plain, everything
    /// else as JSON.
    pub fn invalid(field: impl Into<String>, value: impl serde::Serialize, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, render(&value), detail)
    }

    /// A value that breaks a rule, when Kubernetes does not print the value.
    pub fn invalid_without_value(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, String::new(), detail)
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
        let list: Vec<String> = supported.iter().map(|s| quote(s)).collect();
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
        if self.kind.prints_value() && !self.value.is_empty() {
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

/// Prints a value as a field error shows it: strings quoted as Go's `%q` does, all else as Go's JSON.
fn render(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => quote(&text),
        Ok(_) => to_go_json(value),
        Err(_) => "null".to_owned(),
    }
}

/// JSON with the characters escaped that Go escapes to keep it safe inside HTML.
fn to_go_json(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// A string in quotes with Go's escapes (`%q`).
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
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

    /// Adds `error` if there is one.
    pub fn push_if(&mut self, error: Option<FieldError>) {
        self.0.extend(error);
    }

    /// The errors in the order found.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};

    use super::*;

    fn check(error: FieldError, expected: Expect) {
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn values_are_printed_as_go_prints_them() {
        check(
            FieldError::invalid("metadata.name", "a\"b\n\u{1}<", "no"),
            expect![[r#"metadata.name: Invalid value: "a\"b\n\x01<": no"#]],
        );
        check(FieldError::invalid("spec.replicas", -1, "no"), expect!["spec.replicas: Invalid value: -1: no"]);
        let labels = BTreeMap::from([("app", "<x>")]);
        check(
            FieldError::invalid("labels", labels, "no"),
            expect![[r#"labels: Invalid value: {"app":"\u003cx\u003e"}: no"#]],
        );
        check(FieldError::invalid("spec.x", None::<String>, "no"), expect!["spec.x: Invalid value: null: no"]);
    }

    #[test]
    fn each_class_has_its_head() {
        check(FieldError::required("spec.selector", ""), expect!["spec.selector: Required value"]);
        check(FieldError::required("a", "or b"), expect!["a: Required value: or b"]);
        check(FieldError::forbidden("", "not so"), expect![": Forbidden: not so"]);
        check(FieldError::duplicate("a[1].name", "x"), expect![[r#"a[1].name: Duplicate value: "x""#]]);
        check(FieldError::not_found("a", "x"), expect![[r#"a: Not found: "x""#]]);
        check(FieldError::too_long("data", 12), expect!["data: Too long: may not be more than 12 bytes"]);
        check(FieldError::too_many("endpoints", 9, 8), expect!["endpoints: Too many: 9: must have at most 8 items"]);
        check(
            FieldError::not_supported("spec.type", "X", &["A", "B"]),
            expect![[r#"spec.type: Unsupported value: "X": supported values: "A", "B""#]],
        );
    }

    #[test]
    fn several_errors_are_joined_and_repeated_texts_printed_once() {
        let error = || FieldError::required("a", "");
        let mut errors = FieldErrors(vec![error()]);
        assert_eq!(errors.to_string(), "a: Required value");
        errors.push(FieldError::required("b", ""));
        errors.push(error());
        assert_eq!(errors.to_string(), "[a: Required value, b: Required value]");
        errors.0.remove(1);
        assert_eq!(errors.to_string(), "a: Required value");
    }
}
