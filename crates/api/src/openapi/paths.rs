//! The paths of a document: the operations of each kind, with the extensions that tell clients what
//! they act on.

use serde_json::{Map, Value, json};

use super::definitions::{reference, type_of};
use super::{Version, root_path};
use crate::registry::{Kind, Scope, Subresource};

const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const BODY_TYPES: [&str; 2] = ["application/json", "application/yaml"];
const SELECTION: [(&str, &str); 8] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: [(&str, &str); 3] = [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];

/// The paths of these kinds.
pub(super) fn of(kinds: &[&Kind], version: Version) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let author = Author { kind, version };
        let root = root_path(kind.group, kind.version);
        let plural = kind.facts.plural;
        let collection = match kind.facts.scope {
            Scope::Cluster => format!("{root}/{plural}"),
            Scope::Namespaced => {
                let everywhere = author.item(&[author.list("listForAllNamespaces")], false, false);
                paths.insert(format!("{root}/{plural}"), everywhere);
                format!("{root}/namespaces/{{namespace}}/{plural}")
            }
        };
        let is_namespaced = kind.facts.scope == Scope::Namespaced;
        let mut of_collection = vec![author.list("list"), author.write("post", "post", "create")];
        if kind.facts.verbs.contains(&"deletecollection") {
            of_collection.push(author.delete("deletecollection", "deleteCollection"));
        }
        paths.insert(collection.clone(), author.item(&of_collection, is_namespaced, false));
        let one = [
            author.read(),
            author.write("put", "put", "replace"),
            author.delete("delete", "delete"),
            author.write("patch", "patch", "patch"),
        ];
        paths.insert(format!("{collection}/{{name}}"), author.item(&one, is_namespaced, true));
        for subresource in kind.facts.subresources {
            let operations = author.subresource(subresource);
            if !operations.is_empty() {
                let path = format!("{collection}/{{name}}/{}", subresource.name);
                paths.insert(path, author.item(&operations, is_namespaced, true));
            }
        }
    }
    paths
}

/// A method and what it does.
type Operation = (&'static str, Value);

/// What an operation acts on.
struct Target {
    /// Definition of the body.
    definition: String,
    /// Its type, for the extension.
    type_: Value,
    /// Added to operation names, e.g. `Status`.
    suffix: String,
}

/// Writes the operations of one kind.
struct Author<'a> {
    kind: &'a Kind,
    version: Version,
}

impl Author<'_> {
    fn target(&self) -> Target {
        let Kind { group, version, kind, .. } = self.kind;
        Target { definition: (self.kind.schema_name)(), type_: type_of(group, version, kind), suffix: String::new() }
    }

    /// A path with its operations and the parameters they share.
    fn item(&self, operations: &[Operation], is_namespaced: bool, is_named: bool) -> Value {
        let mut item: Map<String, Value> =
            operations.iter().map(|(method, body)| ((*method).to_owned(), body.clone())).collect();
        let mut parameters = Vec::new();
        for (name, is_wanted) in [("name", is_named), ("namespace", is_namespaced)] {
            if is_wanted {
                let mut parameter = self.parameter("path", name, "string");
                parameter["required"] = true.into();
                parameters.push(parameter);
            }
        }
        parameters.push(self.parameter("query", "pretty", "string"));
        item.insert("parameters".to_owned(), parameters.into());
        Value::Object(item)
    }

    fn parameter(&self, place: &str, name: &str, type_: &str) -> Value {
        match self.version {
            Version::V2 => json!({"in": place, "name": name, "type": type_, "uniqueItems": true}),
            Version::V3 => json!({"in": place, "name": name, "schema": {"type": type_, "uniqueItems": true}}),
        }
    }

    fn query(&self, parameters: &[(&str, &str)]) -> Vec<Value> {
        parameters.iter().map(|(name, type_)| self.parameter("query", name, type_)).collect()
    }

    fn list(&self, verb: &str) -> Operation {
        let target = self.target();
        let list = format!("{}List", target.definition);
        ("get", self.operation(&target, verb, "list", self.query(&SELECTION), None, &list))
    }

    fn read(&self) -> Operation {
        let target = self.target();
        ("get", self.operation(&target, "read", "get", Vec::new(), None, &target.definition))
    }

    fn write(&self, method: &'static str, action: &str, verb: &str) -> Operation {
        self.write_to(&self.target(), method, action, verb)
    }

    fn write_to(&self, target: &Target, method: &'static str, action: &str, verb: &str) -> Operation {
        let mut parameters = self.query(&WRITE);
        let (body, types): (&str, &[&str]) = match method {
            "patch" => {
                parameters.push(self.parameter("query", "force", "boolean"));
                (PATCH, &PATCH_TYPES)
            }
            _ => (&target.definition, &BODY_TYPES),
        };
        (method, self.operation(target, verb, action, parameters, Some((body, types)), &target.definition))
    }

    fn delete(&self, action: &'static str, verb: &str) -> Operation {
        let mut parameters = self.query(&[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ]);
        if action == "deletecollection" {
            parameters.extend(self.query(&SELECTION));
        }
        let target = self.target();
        ("delete", self.operation(&target, verb, action, parameters, Some((DELETE_OPTIONS, &BODY_TYPES)), STATUS))
    }

    /// Operations of a subresource whose body is described here: the kind itself, or Scale.
    fn subresource(&self, subresource: &Subresource) -> Vec<Operation> {
        let is_own = subresource.kind == self.kind.kind && subresource.name != "log";
        let suffix = capitalised(subresource.name);
        let target = match subresource.name {
            "scale" => Target { definition: SCALE.to_owned(), type_: type_of("autoscaling", "v1", "Scale"), suffix },
            _ if is_own => Target { suffix, ..self.target() },
            _ => return Vec::new(),
        };
        let has = |verb: &str| subresource.verbs.contains(&verb);
        let mut operations = Vec::new();
        if has("get") {
            operations.push(("get", self.operation(&target, "read", "get", Vec::new(), None, &target.definition)));
        }
        if has("update") {
            operations.push(self.write_to(&target, "put", "put", "replace"));
        }
        if has("patch") {
            operations.push(self.write_to(&target, "patch", "patch", "patch"));
        }
        operations
    }

    fn operation(
        &self,
        target: &Target,
        verb: &str,
        action: &str,
        mut parameters: Vec<Value>,
        body: Option<(&str, &[&str])>,
        answer: &str,
    ) -> Value {
        let group = self.kind.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
        let group_version = format!("{}{}", capitalised(group), capitalised(self.kind.version));
        let scope = if self.kind.facts.scope == Scope::Namespaced { "Namespaced" } else { "" };
        let mut operation = json!({
            "operationId": format!("{verb}{group_version}{scope}{}{}", self.kind.kind, target.suffix),
            "tags": [format!("{group}_{}", self.kind.version)],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": target.type_,
        });
        let answer = reference(answer, self.version);
        match (self.version, body) {
            (Version::V2, body) => {
                if let Some((body, types)) = body {
                    parameters.push(json!({"in": "body", "name": "body", "schema": reference(body, self.version)}));
                    operation["consumes"] = types.into();
                }
                operation["produces"] = BODY_TYPES.as_slice().into();
                operation["responses"] = json!({"200": {"description": "OK", "schema": answer}});
            }
            (Version::V3, body) => {
                if let Some((body, types)) = body {
                    operation["requestBody"] = json!({"content": content(types, &reference(body, self.version))});
                }
                operation["responses"] =
                    json!({"200": {"description": "OK", "content": content(&BODY_TYPES, &answer)}});
            }
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        operation
    }
}

fn content(types: &[&str], schema: &Value) -> Value {
    Value::Object(types.iter().map(|type_| ((*type_).to_owned(), json!({"schema": schema}))).collect())
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
