//! The schemas of a document: those of the types, with what OpenAPI and Kubernetes add to them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, Patch, Status};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::Version;
use crate::registry::Kind;
use crate::schema::{REF_PREFIX, Schemas, Tag, generator, tag_of};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Schemas of these kinds, of their lists and of all they refer to.
pub(super) fn of(kinds: &[&Kind], version: Version) -> Schemas {
    let mut generator = generator();
    for kind in kinds {
        (kind.schema)(&mut generator);
    }
    add_common(&mut generator);
    if kinds.iter().any(|kind| kind.facts.subresources.iter().any(|sub| sub.name == "scale")) {
        generator.subschema_for::<k8s_openapi::api::autoscaling::v1::Scale>();
    }
    let mut schemas = generator.take_definitions(false);
    for (name, schema) in &mut schemas {
        finish(name, schema, version);
    }
    for kind in kinds {
        let name = (kind.schema_name)();
        let list = list_schema(kind, &name, version);
        if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([type_of(kind.group, kind.version, kind.kind)]);
        }
        schemas.insert(format!("{name}List"), list);
    }
    schemas.sort_keys();
    schemas
}

fn add_common(generator: &mut SchemaGenerator) {
    generator.subschema_for::<ListMeta>();
    generator.subschema_for::<DeleteOptions>();
    generator.subschema_for::<Status>();
    generator.subschema_for::<Patch>();
}

/// `{"group": …, "kind": …, "version": …}`
pub(super) fn type_of(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "kind": kind, "version": version})
}

/// A reference to a definition.
pub(super) fn reference(name: &str, version: Version) -> Value {
    match version {
        Version::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Version::V3 => json!({"$ref": format!("{REF_PREFIX}{name}")}),
    }
}

fn list_schema(kind: &Kind, name: &str, version: Version) -> Value {
    let described =
        |text: &str, name: &str| with_siblings(reference(name, version), json!({"description": text}), version);
    let text = |text: &str| json!({"description": text, "type": "string"});
    json!({
        "description": format!("{0}List is a list of {0} objects.", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("The version of this representation of the list."),
            "items": {"description": "The objects.", "type": "array", "items": reference(name, version)},
            "kind": text("The type of this list."),
            "metadata": described("Standard list metadata.", LIST_META),
        },
        "x-kubernetes-group-version-kind": [type_of(kind.group, kind.version, &format!("{}List", kind.kind))],
    })
}

/// Turns a schema of the types into one of the document.
fn finish(name: &str, schema: &mut Value, version: Version) {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        *schema = scalar_schema(name, schema, version);
        return;
    }
    let Some(fields) = schema.as_object_mut() else { return };
    if let "atomic" | "granular" = tag_of(name, ".").map_type {
        fields.insert("x-kubernetes-map-type".to_owned(), tag_of(name, ".").map_type.into());
    }
    for (field, schema) in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        refer(schema, version);
        if let Some(schema) = schema.as_object_mut() {
            add_tags(schema, tag_of(name, field));
        }
    }
}

/// Quantities and numbers-or-names are written as scalars.
fn scalar_schema(name: &str, schema: &Value, version: Version) -> Value {
    let description = schema.get("description").cloned().unwrap_or_default();
    match (version, name == QUANTITY) {
        (Version::V2, true) => json!({"description": description, "type": "string"}),
        (Version::V2, false) => json!({"description": description, "type": "string", "format": "int-or-string"}),
        (Version::V3, true) => json!({"description": description, "oneOf": [{"type": "string"}, {"type": "number"}]}),
        (Version::V3, false) => {
            let forms = [json!({"type": "integer"}), json!({"type": "string"})];
            json!({"description": description, "format": "int-or-string", "oneOf": forms})
        }
    }
}

/// Rewrites references, at any depth of lists and maps, to the form of the document.
fn refer(schema: &mut Value, version: Version) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(Value::String(path)) = fields.shift_remove("$ref") {
        let name = path.strip_prefix(REF_PREFIX).unwrap_or(&path);
        *schema = with_siblings(reference(name, version), Value::Object(std::mem::take(fields)), version);
        return;
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(inner) {
            refer(inner, version);
        }
    }
}

/// OpenAPI 3.0 lets nothing stand beside a `$ref`, so it goes into an `allOf`; 2.0 is used without
/// that rule.
fn with_siblings(reference: Value, siblings: Value, version: Version) -> Value {
    let Value::Object(mut fields) = siblings else { return reference };
    match version {
        _ if fields.is_empty() => reference,
        Version::V2 => {
            fields.extend(reference.as_object().cloned().unwrap_or_default());
            Value::Object(fields)
        }
        Version::V3 => {
            fields.insert("allOf".to_owned(), json!([reference]));
            Value::Object(fields)
        }
    }
}

fn add_tags(schema: &mut Map<String, Value>, tag: Tag) {
    let texts = [
        ("patch-strategy", tag.strategy),
        ("patch-merge-key", tag.merge_key),
        ("list-type", tag.list_type),
        ("map-type", tag.map_type),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        schema.insert(format!("x-kubernetes-{name}"), text.into());
    }
    if !tag.list_keys.is_empty() {
        let keys: Vec<&str> = tag.list_keys.split(',').collect();
        schema.insert("x-kubernetes-list-map-keys".to_owned(), keys.into());
    }
}
