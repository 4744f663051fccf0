//! JSON schemas of kinds, and the compact form of one definition.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::Value;

use super::tags::{Tag, tag_of};
use super::{Definition, Field, ListType, Schemas, TypeRef, is_object};
use crate::patch::ListStrategy;
use crate::registry::Kind;

/// How the schemas refer to each other.
pub(crate) const REF_PREFIX: &str = "#/components/schemas/";

/// The schemas of these kinds and of all they refer to. They are large: use them and let them go.
pub(super) fn definitions(kinds: &[&Kind]) -> Schemas {
    let mut generator = generator();
    for kind in kinds {
        (kind.schema)(&mut generator);
    }
    generator.take_definitions(false)
}

/// Gathers schemas under names such as `io.k8s.api.apps.v1.StatefulSet`.
pub(crate) fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft07().with(|settings| settings.definitions_path = "/components/schemas".into());
    SchemaGenerator::new(settings)
}

/// The compact form of a definition. Leaks it: definitions live as long as the process.
pub(super) fn compact(name: &str, schema: &Value, schemas: &Schemas) -> &'static Definition {
    let name: &'static str = String::leak(name.to_owned());
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut fields: Vec<Field> = properties
        .into_iter()
        .flatten()
        .map(|(field, schema)| compact_field(name, field, type_of(schema, schemas)))
        .collect();
    fields.sort_by_key(|field| field.name);
    let is_atomic = tag_of(name, ".").map_type == "atomic";
    Box::leak(Box::new(Definition { name, fields: fields.into(), is_atomic }))
}

fn compact_field(definition: &str, name: &str, ty: TypeRef) -> Field {
    let Tag { strategy, merge_key, list_type, list_keys, map_type } = tag_of(definition, name);
    let has = |word: &str| strategy.split(',').any(|part| part == word);
    Field {
        name: String::leak(name.to_owned()),
        ty,
        strategy: match () {
            () if has("merge") => ListStrategy::Merge,
            () if has("replace") => ListStrategy::Replace,
            () => ListStrategy::Untagged,
        },
        merge_key: Some(merge_key).filter(|key| !key.is_empty()),
        list_type: match list_type {
            "set" => ListType::Set,
            "map" => ListType::Map(Vec::leak(list_keys.split(',').collect())),
            _ => ListType::Atomic,
        },
        is_atomic: map_type == "atomic",
    }
}

fn type_of(schema: &Value, schemas: &Schemas) -> TypeRef {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(REF_PREFIX)) {
        return match schemas.get(name) {
            Some(target) if is_object(target) => TypeRef::Object(String::leak(name.to_owned())),
            Some(target) => type_of(target, schemas),
            None => TypeRef::Any,
        };
    }
    let element =
        |key: &str| schema.get(key).filter(|element| element.is_object()).map(|element| type_of(element, schemas));
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => TypeRef::List(leak(element("items").unwrap_or(TypeRef::Any))),
        Some("object") => element("additionalProperties").map_or(TypeRef::Any, |element| TypeRef::Map(leak(element))),
        Some(_) => TypeRef::Scalar,
        None if schema.get("x-kubernetes-int-or-string").is_some() => TypeRef::Scalar,
        None => TypeRef::Any,
    }
}

/// Element types repeat: the common ones are shared.
fn leak(ty: TypeRef) -> &'static TypeRef {
    match ty {
        TypeRef::Scalar => &TypeRef::Scalar,
        TypeRef::Any => &TypeRef::Any,
        other @ (TypeRef::List(_) | TypeRef::Map(_) | TypeRef::Object(_)) => Box::leak(Box::new(other)),
    }
}
