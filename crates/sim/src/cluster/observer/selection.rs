//! What a request is about: the table, and which of its objects.

use http::Uri;
use stead_api::Kind;
use stead_api::registry::Scope;
use stead_api::selectors::{FieldSelector, Selector};
use stead_store::Entry;

/// Whole tables, namespaces, objects by selector, or one object.
#[derive(Clone)]
pub(super) struct Selection {
    pub(super) kind: &'static Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    labels: Selector,
    fields: FieldSelector,
    query: Vec<(String, String)>,
}

impl Selection {
    /// What a request for `uri` is about; none when it is not about objects.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, rest) = rest.split_first()?;
        let mut kinds = stead_api::kinds::ALL.iter();
        let kind = kinds.find(|kind| kind.group == group && kind.version == version && kind.facts.plural == *plural)?;
        let query: Vec<(String, String)> =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        Some(Self {
            kind,
            namespace: namespace.filter(|_| kind.facts.scope == Scope::Namespaced),
            name: rest.first().map(|name| (*name).to_owned()),
            subresource: rest.get(1).map(|name| (*name).to_owned()),
            labels: Selector::parse(parameter("labelSelector")).ok()?,
            fields: FieldSelector::parse(parameter("fieldSelector")).ok()?,
            query,
        })
    }

    /// A parameter of the query, unless it is empty.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn table(&self) -> &'static str {
        self.kind.facts.storage
    }

    /// Whether it is a whole table.
    pub(super) fn is_everything(&self) -> bool {
        self.namespace.is_none() && self.name.is_none() && self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether objects of this kind are stored as they are shown.
    pub(super) fn shows_what_is_stored(&self) -> bool {
        std::ptr::eq(self.stored(), self.kind)
    }

    /// The kind that the table's entries are encoded as: the first of those that share it.
    fn stored(&self) -> &'static Kind {
        stead_api::kinds::ALL.iter().find(|kind| kind.facts.storage == self.table()).unwrap_or(self.kind)
    }

    /// Whether the object is selected. It is decoded: what the store notes beside it proves nothing.
    pub(super) fn matches(&self, entry: &Entry) -> bool {
        let key = &entry.key;
        if self.namespace.as_ref().is_some_and(|namespace| **namespace != *key.namespace)
            || self.name.as_ref().is_some_and(|name| **name != *key.name)
        {
            return false;
        }
        if self.labels.is_everything() && self.fields.is_everything() {
            return true;
        }
        let stored = self.stored();
        let object = stead_api::decode::decode_stored(stored, &entry.bytes)
            .expect("invariant: the API server stores what it can decode");
        self.labels.matches(object.metadata().labels.as_ref())
            && self.fields.matches(&key.name, &key.namespace, &(stored.selectable_fields)(&object))
    }
}
