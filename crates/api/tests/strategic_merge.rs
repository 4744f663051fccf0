//! Strategic merge over the real types, with the patches kubectl sends.

use expect_test::{Expect, expect};
use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use stead_api::patch::strategic_merge_patch;
use stead_api::registry::kind_of;

fn check<T: Resource + stead_api::Spec>(live: Value, patch: Value, expected: Expect) {
    let result = match strategic_merge_patch(kind_of::<T>(), live, patch) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&result);
}

fn set(pod: Value) -> Value {
    json!({"spec": {"template": {"spec": pod}}})
}

#[test]
fn set_image() {
    check::<StatefulSet>(
        set(json!({"containers": [{"name": "qdrant", "image": "q:1", "ports": [{"containerPort": 6333}]}]})),
        set(json!({
            "$setElementOrder/containers": [{"name": "qdrant"}],
            "containers": [{"image": "q:2", "name": "qdrant"}],
        })),
        expect![[
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"qdrant","image":"q:2","ports":[{"containerPort":6333}]}]}}}}"#
        ]],
    );
}

#[test]
fn rollout_undo() {
    let patch = json!({"$patch": "replace", "spec": {"containers": [{"name": "a", "image": "old"}]}});
    check::<StatefulSet>(
        set(json!({"containers": [{"name": "a", "image": "new"}, {"name": "b"}], "hostNetwork": true})),
        json!({"spec": {"template": patch}}),
        expect![[r#"{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"old"}]}}}}"#]],
    );
}

#[test]
fn another_volume_source_takes_the_place_of_the_first() {
    check::<StatefulSet>(
        set(json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": []})),
        set(json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]})),
        expect![[
            r#"{"spec":{"template":{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}],"containers":[]}}}}"#
        ]],
    );
}

#[test]
fn lists_merge_by_the_keys_of_their_types() {
    check::<Service>(
        json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], "externalIPs": ["1.1.1.1"]}}),
        json!({"spec": {"ports": [{"port": 81, "name": "c"}], "externalIPs": ["2.2.2.2"]}}),
        expect![[r#"{"spec":{"ports":[{"port":80,"name":"a"},{"port":81,"name":"c"}],"externalIPs":["2.2.2.2"]}}"#]],
    );
    check::<Service>(
        json!({"metadata": {"finalizers": ["a/b"], "labels": {"x": "1"}}}),
        json!({"metadata": {"finalizers": ["c/d"], "labels": {"x": null, "y": "2"}}}),
        expect![[r#"{"metadata":{"finalizers":["c/d","a/b"],"labels":{"y":"2"}}}"#]],
    );
    check::<Service>(
        json!({"spec": {}}),
        json!({"spec": {"$setElementOrder/nope": [], "nope": []}}),
        expect![[r#"unable to find api field in struct ServiceSpec for the json field "nope""#]],
    );
}
