//! Which entries a request is about: label selector, field selector and, for a path that names an
//! object, its name. Works on the stored header alone; objects are not decoded.

use stead_api::Kind;
use stead_api::selectors::{FieldSelector, FieldTerm, Selector};
use stead_store::Entry;

use crate::convert::stored_field;
use crate::query::ListOptions;
use crate::routes::ResourcePath;
use crate::status::StatusError;

/// A parsed selection.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    labels: Selector,
    terms: Vec<FieldTerm>,
    name: Option<String>,
}

impl Selection {
    /// Reads the selectors of a list, watch or deletecollection; 400 for what cannot be selected by.
    pub(crate) fn read(options: &ListOptions, path: &ResourcePath) -> Result<Self, StatusError> {
        let labels = Selector::parse(&options.labels).map_err(|error| StatusError::bad_request(error.to_string()))?;
        let fields = field_selector(&options.fields, path.kind)?;
        let name = match (&path.name, fields.required_value("metadata.name")) {
            (Some(name), Some(selected)) if name != selected => {
                return Err(StatusError::bad_request("fieldSelector metadata.name doesn't match requested name"));
            }
            (Some(name), _) => Some(name.clone()),
            (None, selected) => selected.map(str::to_owned),
        };
        let terms =
            fields.terms.into_iter().map(|term| FieldTerm { field: stored_field(path.kind, &term.field), ..term });
        Ok(Self { labels, terms: terms.collect(), name })
    }

    /// Whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.terms.is_empty() && self.name.is_none()
    }

    /// The one name that is selected, if there can be only one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether an entry is selected.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.name.as_ref().is_none_or(|name| **name == *entry.key.name)
            && self.terms.iter().all(|term| (field(entry, &term.field) == term.value) != term.negated)
            && self.labels.matches_with(|key| label(entry, key))
    }
}

fn field_selector(text: &str, kind: &Kind) -> Result<FieldSelector, StatusError> {
    let refuse = |error: stead_api::selectors::FieldSelectorError| StatusError::bad_request(error.to_string());
    let fields = FieldSelector::parse(text).map_err(refuse)?;
    fields.check(kind).map_err(refuse)?;
    Ok(fields)
}

/// What an entry is selected by under the name `field`; empty where its kind has no such field.
pub(crate) fn field<'a>(entry: &'a Entry, field: &str) -> &'a str {
    match field {
        "metadata.name" => &entry.key.name,
        "metadata.namespace" => &entry.key.namespace,
        field => entry.header.fields.iter().find(|(name, _)| **name == *field).map_or("", |(_, value)| value),
    }
}

fn label<'a>(entry: &'a Entry, key: &str) -> Option<&'a str> {
    let labels = &entry.header.labels;
    let index = labels.binary_search_by(|(own, _)| (**own).cmp(key)).ok()?;
    Some(&labels[index].1)
}
