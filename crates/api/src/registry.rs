//! The registry: one static row per kind, holding everything the generic handlers need to know.
//!
//! A kind joins by implementing [`Spec`] for its k8s-openapi type in `kinds/` and being listed in
//! [`kinds::ALL`](crate::kinds::ALL). Facts come from the contract's `resources.tsv`.

mod cells;
mod facts;

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::{Origin, TypeError};
use crate::errors::FieldErrors;
use crate::object::Object;
use crate::validation::{self, NameRule};

pub use cells::{Cell, Column, RowCondition};
pub use facts::{DeleteAnswer, Facts, Propagation, Scope, Subresource};

/// What a kind must say about itself. Methods have the behaviour of a kind with nothing special.
pub trait Spec:
    k8s_openapi::Resource
    + Metadata<Ty = ObjectMeta>
    + schemars::JsonSchema
    + Serialize
    + DeserializeOwned
    + Clone
    + PartialEq
    + Debug
    + Default
    + Send
    + Sync
    + 'static
{
    /// The static row.
    const FACTS: Facts;
    /// Table columns, in order.
    const COLUMNS: &'static [Column];
    /// The rule names of this kind follow.
    const NAME_RULE: NameRule = NameRule::Subdomain;

    /// The table cells of one object, one per column; `now` dates the ages.
    fn row(&self, now: Timestamp) -> Vec<Cell>;

    /// The condition of the object's table row, if it has one.
    fn row_condition(&self) -> Option<RowCondition> {
        None
    }

    /// Fills in what the client left out. Runs on every decode, also from the store.
    fn set_defaults(&mut self) {}

    /// Wipes what a client may not set on create (status, …). Generation and system fields of the
    /// metadata are the handler's.
    fn prepare_create(&mut self) {}

    /// Restores what a write to the main resource may not change (status, …).
    fn prepare_update(&mut self, old: &Self) {
        let _ = old;
    }

    /// Restores what a write to `subresource` may not change (spec under `status`, …).
    fn prepare_subresource_update(&mut self, subresource: &str, old: &Self) {
        let _ = (subresource, old);
    }

    /// Sets times that the server owns outside the metadata. Runs after the `prepare_…` step of
    /// every write; `old` is none on create.
    fn stamp(&mut self, old: Option<&Self>, now: Timestamp) {
        let _ = (old, now);
    }

    /// Everything wrong with a new object. Metadata is included.
    fn validate_create(&self) -> FieldErrors {
        validation::metadata_create(self.metadata(), Self::NAME_RULE, Self::FACTS.scope)
    }

    /// Everything wrong with a change to the main resource. Metadata is included.
    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::metadata_update(self.metadata(), old.metadata())
    }

    /// Everything wrong with a change through `subresource`.
    fn validate_subresource_update(&self, subresource: &str, old: &Self) -> FieldErrors {
        let _ = (subresource, old);
        FieldErrors::default()
    }

    /// Whether the change bumps `metadata.generation`.
    fn spec_changed(&self, old: &Self) -> bool {
        let _ = old;
        false
    }

    /// Values of the kind's own field selectors, in any order.
    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Texts for `Warning:` headers on create (`old` is none) and update.
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let _ = old;
        Vec::new()
    }
}

/// An object and the paths of the fields its type does not have.
pub type WithUnknown = (Object, Vec<String>);

/// A row of the registry, with the type erased.
#[derive(Clone, Copy)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// API version, e.g. `v1`.
    pub version: &'static str,
    /// Kind, e.g. `StatefulSet`.
    pub kind: &'static str,
    /// Everything static about it.
    pub facts: Facts,
    /// Table columns.
    pub columns: &'static [Column],
    /// Decodes as [`decode`](crate::decode) does; gives the path of every unknown field.
    pub from_lenient: fn(serde_json::Value) -> Result<WithUnknown, TypeError>,
    /// Decodes JSON in which there is nothing unusual; none when there is.
    pub from_plain: fn(&str, Origin) -> Option<Object>,
    /// [`Spec::set_defaults`]
    pub set_defaults: fn(&mut Object),
    /// [`Spec::prepare_create`]
    pub prepare_create: fn(&mut Object),
    /// [`Spec::prepare_update`]
    pub prepare_update: fn(&mut Object, &Object),
    /// [`Spec::prepare_subresource_update`]
    pub prepare_subresource_update: fn(&mut Object, &str, &Object),
    /// [`Spec::stamp`]
    pub stamp: fn(&mut Object, Option<&Object>, Timestamp),
    /// [`Spec::validate_create`]
    pub validate_create: fn(&Object) -> FieldErrors,
    /// [`Spec::validate_update`]
    pub validate_update: fn(&Object, &Object) -> FieldErrors,
    /// [`Spec::validate_subresource_update`]
    pub validate_subresource_update: fn(&Object, &str, &Object) -> FieldErrors,
    /// [`Spec::spec_changed`]
    pub spec_changed: fn(&Object, &Object) -> bool,
    /// [`Spec::selectable_fields`]
    pub selectable_fields: fn(&Object) -> Vec<(&'static str, String)>,
    /// [`Spec::warnings`]
    pub warnings: fn(&Object, Option<&Object>) -> Vec<String>,
    /// [`Spec::row`]
    pub row: fn(&Object, Timestamp) -> Vec<Cell>,
    /// [`Spec::row_condition`]
    pub row_condition: fn(&Object) -> Option<RowCondition>,
    /// The JSON schema of the kind and of everything it refers to.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// The name of that schema, e.g. `io.k8s.api.apps.v1.StatefulSet`.
    pub schema_name: fn() -> String,
}

/// A kind is known by its name.
impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.group, self.version) == (other.kind, other.group, other.version)
    }
}

impl Eq for Kind {}

impl Kind {
    /// The row of `T`.
    pub const fn of<T: Spec>() -> Self {
        Self {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            facts: T::FACTS,
            columns: T::COLUMNS,
            from_lenient: |value| {
                let (value, unknown) = crate::decode::decode_as::<T>(value)?;
                Ok((Object::new(value), unknown))
            },
            from_plain: |text, origin| crate::decode::read_plain::<T>(text, origin).map(Object::new),
            set_defaults: |object| typed_mut::<T>(object).set_defaults(),
            prepare_create: |object| typed_mut::<T>(object).prepare_create(),
            prepare_update: |object, old| typed_mut::<T>(object).prepare_update(typed::<T>(old)),
            prepare_subresource_update: |object, subresource, old| {
                typed_mut::<T>(object).prepare_subresource_update(subresource, typed::<T>(old));
            },
            stamp: |object, old, now| typed_mut::<T>(object).stamp(old.map(typed::<T>), now),
            validate_create: |object| typed::<T>(object).validate_create(),
            validate_update: |object, old| typed::<T>(object).validate_update(typed::<T>(old)),
            validate_subresource_update: |object, subresource, old| {
                typed::<T>(object).validate_subresource_update(subresource, typed::<T>(old))
            },
            spec_changed: |object, old| typed::<T>(object).spec_changed(typed::<T>(old)),
            selectable_fields: |object| typed::<T>(object).selectable_fields(),
            warnings: |object, old| typed::<T>(object).warnings(old.map(typed::<T>)),
            row: |object, now| typed::<T>(object).row(now),
            row_condition: |object| typed::<T>(object).row_condition(),
            schema: |generator| generator.subschema_for::<T>(),
            schema_name: || T::schema_name().into_owned(),
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `statefulsets.apps`, as error messages name it.
    pub fn qualified_plural(&self) -> String {
        qualified(self.facts.plural, self.group)
    }

    /// `Pod` or `StatefulSet.apps`, as error messages name it.
    pub fn qualified_kind(&self) -> String {
        qualified(self.kind, self.group)
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

fn typed<T: Spec>(object: &Object) -> &T {
    object.get().expect("a row is only ever used with objects of its own kind")
}

fn typed_mut<T: Spec>(object: &mut Object) -> &mut T {
    object.get_mut().expect("a row is only ever used with objects of its own kind")
}

/// The row of `T`.
pub fn kind_of<T: Spec>() -> &'static Kind {
    const { &Kind::of::<T>() }
}

/// The row of a kind by name.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    crate::kinds::ALL.iter().find(|row| row.kind == kind && row.group == group && row.version == version)
}

/// The row of a resource by its path segment.
pub fn find_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    crate::kinds::ALL.iter().find(|row| row.facts.plural == plural && row.group == group && row.version == version)
}
