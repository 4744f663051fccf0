//! The OpenAPI documents as kubectl reads them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn document(bytes: Vec<u8>) -> Value {
    serde_json::from_slice(&bytes).unwrap()
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(path)) = fields.get("$ref") {
                found.insert(path.clone());
            }
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let mut documents: Vec<Value> =
        group_versions().into_iter().map(|(group, version)| document(v3(group, version).unwrap())).collect();
    documents.push(document(v2()));
    for document in documents {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for path in found {
            let pointer = path.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path} leads somewhere");
        }
    }
}

#[test]
fn kubectl_finds_server_side_validation_of_every_kind() {
    for kind in kinds::ALL {
        let document = document(v3(kind.group, kind.version).unwrap());
        let patches = document["paths"].as_object().unwrap().values().filter_map(|path| path.get("patch"));
        let type_ = json!({"group": kind.group, "kind": kind.kind, "version": kind.version});
        let mut of_kind = patches.filter(|patch| patch["x-kubernetes-group-version-kind"] == type_);
        let is_validating = |patch: &Value| {
            patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation")
        };
        assert!(of_kind.any(is_validating), "{}", kind.kind);
    }
}

#[test]
fn a_field_is_described_with_its_merge_tags() {
    let document = document(v3("apps", "v1").unwrap());
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["items"]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert!(containers["description"].as_str().unwrap().starts_with("List of containers"));
    let set = &schemas["io.k8s.api.apps.v1.StatefulSet"];
    assert_eq!(
        set["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "StatefulSet", "version": "v1"}])
    );
    let spec = &set["properties"]["spec"];
    assert_eq!(spec["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.StatefulSetSpec"}]));
    assert!(spec["description"].is_string());
    assert_eq!(schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
}

#[test]
fn the_index_names_every_group_version() {
    let index = document(v3_index());
    let paths: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
    assert!(paths.contains(&&"api/v1".to_owned()) && paths.contains(&&"apis/apps/v1".to_owned()));
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="));
    assert!(v3("apps", "v2").is_none());
}
