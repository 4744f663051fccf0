//! The shape of the API types as data: which fields a type has, what they hold, how lists merge.
//! Built from the JSON schemas of the k8s-openapi types, kind by kind, when first asked for; the
//! schemas themselves are dropped at once, only this compact graph stays.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::patch::{ListStrategy, PatchField, PatchTypes};
use crate::registry::Kind;

mod build;
mod tags;

use build::definitions;
pub(crate) use build::{REF_PREFIX, generator};
pub(crate) use tags::{Tag, tag_of};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeRef {
    /// A string, number or boolean, or a type that is written as one (quantity, time, int-or-string).
    Scalar,
    /// Any value: the schema does not say.
    Any,
    /// A list of these.
    List(&'static TypeRef),
    /// A map from strings to these.
    Map(&'static TypeRef),
    /// An object with declared fields, by definition name (`io.k8s.api.core.v1.PodSpec`).
    Object(&'static str),
}

/// How a list may be merged (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole: also what lists without a tag do.
    Atomic,
    /// Scalars, each once.
    Set,
    /// Objects told apart by keys.
    Map(&'static [&'static str]),
}

/// A field of a definition.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its JSON name.
    pub name: &'static str,
    /// What it holds.
    pub ty: TypeRef,
    /// How strategic merge combines it.
    pub strategy: ListStrategy,
    /// The key of elements under strategic merge.
    pub merge_key: Option<&'static str>,
    /// How server-side apply merges it, when it is a list.
    pub list_type: ListType,
    /// Whether server-side apply replaces the map or object as a whole.
    pub is_atomic: bool,
}

/// An object type with declared fields.
#[derive(Debug)]
pub struct Definition {
    /// Full name, e.g. `io.k8s.api.core.v1.PodSpec`.
    pub name: &'static str,
    /// Fields by name.
    pub fields: Box<[Field]>,
    /// Whether server-side apply replaces values of the type as a whole.
    pub is_atomic: bool,
}

impl Definition {
    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().map(|index| &self.fields[index])
    }
}

/// The type of a kind's objects.
pub fn root(kind: &Kind) -> TypeRef {
    let name = graph()
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .roots
        .get(&(kind.group, kind.version, kind.kind))
        .copied();
    TypeRef::Object(name.unwrap_or_else(|| learn(kind)))
}

/// A definition that the root of some kind has led to.
pub fn definition(name: &str) -> Option<&'static Definition> {
    graph().read().unwrap_or_else(PoisonError::into_inner).definitions.get(name).copied()
}

impl TypeRef {
    /// The declared fields, for objects.
    pub fn definition(self) -> Option<&'static Definition> {
        match self {
            Self::Object(name) => definition(name),
            Self::Scalar | Self::Any | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The declared field of that name.
    pub fn field(self, name: &str) -> Option<&'static Field> {
        self.definition()?.field(name)
    }

    /// What a list or a map holds.
    pub fn element(self) -> Option<TypeRef> {
        match self {
            Self::List(element) | Self::Map(element) => Some(*element),
            Self::Scalar | Self::Any | Self::Object(_) => None,
        }
    }
}

impl PatchTypes for TypeRef {
    fn name(&self) -> String {
        match self {
            Self::Object(name) => name.rsplit('.').next().unwrap_or(name).to_owned(),
            Self::Scalar | Self::Any | Self::List(_) | Self::Map(_) => "interface {}".to_owned(),
        }
    }

    fn field(&self, name: &str) -> Option<PatchField<Self>> {
        let untagged = |ty| PatchField { ty, strategy: ListStrategy::Untagged, merge_key: None };
        match self {
            Self::Object(_) => TypeRef::field(*self, name).map(|field| PatchField {
                ty: if let Self::List(element) = field.ty { *element } else { field.ty },
                strategy: field.strategy,
                merge_key: field.merge_key,
            }),
            Self::Map(element) => Some(untagged(**element)),
            Self::Scalar | Self::Any | Self::List(_) => Some(untagged(Self::Any)),
        }
    }
}

type KindName = (&'static str, &'static str, &'static str);

#[derive(Default)]
struct Graph {
    roots: HashMap<KindName, &'static str>,
    definitions: HashMap<&'static str, &'static Definition>,
}

fn graph() -> &'static RwLock<Graph> {
    static GRAPH: OnceLock<RwLock<Graph>> = OnceLock::new();
    GRAPH.get_or_init(RwLock::default)
}

/// Adds a kind and all it refers to. What is added stays for the life of the process; it is bounded
/// by the number of API types.
fn learn(kind: &Kind) -> &'static str {
    let root = (kind.schema_name)();
    let schemas = definitions(&[kind]);
    let mut graph = graph().write().unwrap_or_else(PoisonError::into_inner);
    for (name, schema) in &schemas {
        if !graph.definitions.contains_key(name.as_str()) && is_object(schema) {
            let definition = build::compact(name, schema, &schemas);
            graph.definitions.insert(definition.name, definition);
        }
    }
    let name = graph.definitions.get(root.as_str()).map_or("", |definition| definition.name);
    graph.roots.insert((kind.group, kind.version, kind.kind), name);
    name
}

/// Whether a schema declares fields; the others are written as scalars or hold anything.
fn is_object(schema: &Value) -> bool {
    schema.get("properties").is_some_and(Value::is_object)
}

/// The schemas of all definitions, by name.
pub(crate) type Schemas = Map<String, Value>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::find_kind;

    fn at(kind: &str, path: &[&str]) -> &'static Field {
        let group = if kind == "Pod" || kind == "Service" { "" } else { "apps" };
        let mut ty = root(find_kind(group, "v1", kind).unwrap());
        let mut found = None;
        for name in path {
            let field = ty.field(name).unwrap_or_else(|| panic!("{name} is a field of {ty:?}"));
            ty = field.ty.element().unwrap_or(field.ty);
            found = Some(field);
        }
        found.unwrap()
    }

    #[test]
    fn lists_know_their_keys() {
        let containers = at("StatefulSet", &["spec", "template", "spec", "containers"]);
        assert_eq!((containers.strategy, containers.merge_key), (ListStrategy::Merge, Some("name")));
        assert_eq!(containers.list_type, ListType::Map(&["name"]));
        let ports = at("Pod", &["spec", "containers", "ports"]);
        assert_eq!(ports.merge_key, Some("containerPort"));
        assert_eq!(ports.list_type, ListType::Map(&["containerPort", "protocol"]));
        let args = at("Pod", &["spec", "containers", "args"]);
        assert_eq!((args.strategy, args.merge_key), (ListStrategy::Untagged, None));
        let finalizers = at("Pod", &["metadata", "finalizers"]);
        assert_eq!((finalizers.strategy, finalizers.merge_key), (ListStrategy::Merge, None));
        let owners = at("Pod", &["metadata", "ownerReferences"]);
        assert_eq!(owners.merge_key, Some("uid"));
        let ports = at("Service", &["spec", "ports"]);
        assert_eq!(ports.merge_key, Some("port"));
    }

    #[test]
    fn types_are_told_apart() {
        assert_eq!(at("Pod", &["metadata", "labels"]).ty, TypeRef::Map(&TypeRef::Scalar));
        assert_eq!(at("Pod", &["spec", "containers", "resources", "limits"]).ty, TypeRef::Map(&TypeRef::Scalar));
        assert_eq!(at("Pod", &["metadata", "creationTimestamp"]).ty, TypeRef::Scalar);
        assert_eq!(at("StatefulSet", &["spec", "template"]).ty, TypeRef::Object("io.k8s.api.core.v1.PodTemplateSpec"));
        assert!(at("Pod", &["spec", "nodeSelector"]).is_atomic);
        let spec = root(find_kind("apps", "v1", "StatefulSet").unwrap()).field("spec").unwrap();
        assert!(spec.ty.field("nope").is_none());
        assert_eq!(PatchTypes::name(&spec.ty), "StatefulSetSpec");
    }

    #[test]
    fn every_tag_belongs_to_a_field_that_exists() {
        for kind in crate::kinds::ALL {
            root(kind);
        }
        for (definition_name, field) in tags::all() {
            // Types of kinds that are not served have no definition.
            let Some(definition) = definition(definition_name) else { continue };
            assert!(field == "." || definition.field(field).is_some(), "{definition_name} has {field}");
        }
    }

    #[test]
    fn unmerged_lists_and_strategies_are_the_exception_listed() {
        let pod = root(find_kind("", "v1", "Pod").unwrap());
        let volumes = pod.field("spec").unwrap().ty.field("volumes").unwrap();
        assert_eq!((volumes.strategy, volumes.merge_key), (ListStrategy::Merge, Some("name")));
        let selector = at_policy();
        assert_eq!(selector.strategy, ListStrategy::Replace);
    }

    fn at_policy() -> &'static Field {
        let budget = root(find_kind("policy", "v1", "PodDisruptionBudget").unwrap());
        budget.field("spec").unwrap().ty.field("selector").unwrap()
    }
}
