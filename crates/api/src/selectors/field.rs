//! Field selectors: `status.phase=Running,spec.nodeName!=`.

use std::fmt;

use crate::registry::{Kind, Scope};

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// A field selector; all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms in the order given.
    pub terms: Vec<FieldTerm>,
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field's path, e.g. `status.phase`.
    pub field: String,
    /// The value compared with.
    pub value: String,
    /// Whether the field must differ from the value.
    pub negated: bool,
}

/// Why a field selector was refused; the text is what the API answers with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    /// A part without an operator.
    #[error("invalid selector: '{selector}'; can't understand '{part}'")]
    Syntax {
        /// The whole selector.
        selector: String,
        /// The part.
        part: String,
    },
    /// A backslash before something that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A field that a kind with selectable fields of its own does not offer.
    #[error("field label not supported: {0}")]
    Unsupported(String),
    /// A field that an ordinary kind does not offer.
    #[error("\"{0}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    Unknown(String),
}

impl FieldSelector {
    /// Reads a query string. An empty string selects everything.
    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        let mut terms = Vec::new();
        for part in split_terms(text).into_iter().filter(|part| !part.is_empty()) {
            let Some((at, length)) = operator(part) else {
                return Err(FieldSelectorError::Syntax { selector: text.to_owned(), part: part.to_owned() });
            };
            terms.push(FieldTerm {
                field: part[..at].to_owned(),
                value: unescape(&part[at + length..])?,
                negated: part[at..].starts_with('!'),
            });
        }
        Ok(Self { terms })
    }

    /// Whether it says nothing.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Refuses fields that the kind does not offer.
    pub fn check(&self, kind: &Kind) -> Result<(), FieldSelectorError> {
        let own = kind.facts.field_selectors;
        for FieldTerm { field, .. } in &self.terms {
            let is_known = match field.as_str() {
                NAME => true,
                // Kinds with a list of their own name the namespace only where objects have one.
                NAMESPACE => own.is_empty() || kind.facts.scope == Scope::Namespaced,
                other => own.contains(&other),
            };
            match (is_known, own.is_empty()) {
                (true, _) => {}
                (false, true) => return Err(FieldSelectorError::Unknown(field.clone())),
                (false, false) => return Err(FieldSelectorError::Unsupported(field.clone())),
            }
        }
        Ok(())
    }

    /// Whether an object is selected. `own` are the kind's own fields
    /// ([`Spec::selectable_fields`](crate::registry::Spec::selectable_fields)); a field not among
    /// them is empty.
    pub fn matches(&self, name: &str, namespace: &str, own: &[(&'static str, String)]) -> bool {
        self.terms.iter().all(|term| {
            let value = match term.field.as_str() {
                NAME => name,
                NAMESPACE => namespace,
                field => own.iter().find(|(path, _)| *path == field).map_or("", |(_, value)| value),
            };
            (value == term.value) != term.negated
        })
    }

    /// The value a field must be equal to, if the selector fixes it.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.field == field && !term.negated).map(|term| term.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let operator = if term.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}", term.field)?;
            for c in term.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Where the first operator of a term stands, and its length.
fn operator(term: &str) -> Option<(usize, usize)> {
    term.char_indices().find_map(|(at, _)| {
        let rest = &term[at..];
        ["!=", "==", "="].iter().find(|operator| rest.starts_with(**operator)).map(|operator| (at, operator.len()))
    })
}

fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(FieldSelectorError::Escape(format!("\\{other}"))),
                None => return Err(FieldSelectorError::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(FieldSelectorError::Escape(c.to_string())),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::find_kind;

    #[test]
    fn terms_select_by_equality() {
        let own = [("status.phase", "Running".to_owned()), ("spec.nodeName", String::new())];
        let selects = |text: &str| FieldSelector::parse(text).unwrap().matches("web-0", "default", &own);
        for text in [
            "",
            "metadata.name=web-0",
            "status.phase==Running",
            "spec.nodeName=",
            "status.phase!=Failed,metadata.namespace=default",
        ] {
            assert!(selects(text), "{text:?} selects");
        }
        for text in
            ["metadata.name!=web-0", "status.phase=Failed", "spec.nodeName!=", "status.phase=Running,metadata.name=x"]
        {
            assert!(!selects(text), "{text:?} does not select");
        }
    }

    #[test]
    fn escapes_survive_a_round_trip() {
        let text = r"metadata.name=a\,b\=c\\d,status.phase!=x";
        let selector = FieldSelector::parse(text).unwrap();
        assert_eq!(selector.terms[0].value, r"a,b=c\d");
        assert_eq!(selector.to_string(), text);
    }

    #[test]
    fn refusals_use_the_words_of_kubernetes() {
        let error = FieldSelector::parse("a=b,metadata.name").unwrap_err().to_string();
        assert_eq!(error, "invalid selector: 'a=b,metadata.name'; can't understand 'metadata.name'");
        let check = |group, kind, text| {
            let kind = find_kind(group, "v1", kind).unwrap();
            FieldSelector::parse(text).unwrap().check(kind).map_err(|error| error.to_string())
        };
        assert_eq!(check("", "Pod", "spec.nodeName=n,metadata.namespace=x"), Ok(()));
        assert_eq!(check("", "Pod", "spec.foo=n"), Err("field label not supported: spec.foo".to_owned()));
        assert_eq!(
            check("apps", "StatefulSet", "spec.replicas=1"),
            Err(r#""spec.replicas" is not a known field selector: only "metadata.name", "metadata.namespace""#
                .to_owned())
        );
    }
}
