//! The registry: one static row per kind, holding everything the generic handlers need to know.
//!
//! A kind joins by implementing [`Spec`] for its k8s-openapi type in `kinds/` and being listed in
//! [`kinds::ALL`](crate::kinds::ALL). Facts come from the contract's `resources.tsv`.

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

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One set of names for the cluster.
    Cluster,
    /// One set of names per namespace.
    Namespaced,
}

/// What a successful DELETE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteAnswer {
    /// `{kind: Status, status: Success, details: …}`
    Status,
    /// The object as it was.
    Object,
}

/// What happens to dependents when the client does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes at once, the collector removes dependents.
    Background,
    /// The object stays until blocking dependents are gone.
    Foreground,
    /// Dependents lose their reference and stay.
    Orphan,
}

/// A subresource served under the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Path segment, e.g. `status`.
    pub name: &'static str,
    /// Group of the body's kind, when it differs from the parent.
    pub group: &'static str,
    /// Version of the body's kind, when it differs from the parent.
    pub version: &'static str,
    /// The body's kind, e.g. `Scale`; the parent's kind for `status`.
    pub kind: &'static str,
    /// Verbs shown in discovery.
    pub verbs: &'static [&'static str],
}

impl Subresource {
    /// `status` of a kind: same body, read and replaced on its own.
    pub const fn status(kind: &'static str) -> Self {
        Self { name: "status", group: "", version: "", kind, verbs: &["get", "patch", "update"] }
    }

    /// `scale`: the replica count alone, as an autoscaling/v1 Scale.
    pub const fn scale() -> Self {
        let verbs = &["get", "patch", "update"];
        Self { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs }
    }

    /// Anything else, with a body of the parent's group and version.
    pub const fn of(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { name, group: "", version: "", kind, verbs }
    }
}

/// What is known of a kind without looking at an object.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Lower-case plural, the path segment.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// Short names, e.g. `sts`.
    pub short_names: &'static [&'static str],
    /// Categories, e.g. `all`.
    pub categories: &'static [&'static str],
    /// Cluster or namespace.
    pub scope: Scope,
    /// Subresources in discovery order.
    pub subresources: &'static [Subresource],
    /// Verbs of the main resource; [`Facts::VERBS`] for nearly all.
    pub verbs: &'static [&'static str],
    /// What DELETE answers.
    pub delete_answer: DeleteAnswer,
    /// What happens to dependents by default.
    pub default_propagation: Propagation,
    /// PUT to a missing name creates it.
    pub put_may_create: bool,
    /// PUT without resourceVersion overwrites.
    pub unconditional_update: bool,
    /// Whether `metadata.generation` is 1 at creation (and follows [`Spec::spec_changed`]).
    pub has_generation: bool,
    /// Name of the store's table; kinds that share storage (v1 and events.k8s.io/v1 Event) share it.
    pub storage: &'static str,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub field_selectors: &'static [&'static str],
}

impl Facts {
    /// The verbs of an ordinary resource, in discovery order.
    pub const VERBS: &'static [&'static str] =
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    /// What most namespaced kinds share; rows name only what differs. Names and storage are empty.
    pub const NAMESPACED: Self = Self {
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        subresources: &[],
        verbs: Self::VERBS,
        delete_answer: DeleteAnswer::Status,
        default_propagation: Propagation::Background,
        put_may_create: false,
        unconditional_update: true,
        has_generation: false,
        storage: "",
        field_selectors: &[],
    };

    /// The same for kinds outside namespaces.
    pub const CLUSTER: Self = Self { scope: Scope::Cluster, ..Self::NAMESPACED };
}

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

/// The row of `T`. Panics when `T` is not listed, which a test rules out.
pub fn kind_of<T: Spec>() -> &'static Kind {
    find_kind(T::GROUP, T::VERSION, T::KIND).expect("every type with a Spec is listed")
}

/// The row of a kind by name.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    crate::kinds::ALL.iter().find(|row| row.kind == kind && row.group == group && row.version == version)
}

/// The row of a resource by its path segment.
pub fn find_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    crate::kinds::ALL.iter().find(|row| row.facts.plural == plural && row.group == group && row.version == version)
}
