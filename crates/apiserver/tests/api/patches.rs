//! Patches: their errors, their warnings, and the order strategic merging gives lists.

use http::Method;
use serde_json::json;

use crate::common::{CONFIG_MAPS, Cluster, JSON, PODS, SETS, config_map, stateful_set};

#[tokio::test]
async fn a_json_patch_applies_or_is_refused_as_a_whole() {
    let cluster = Cluster::start().await;
    cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let patch = async |operations: serde_json::Value| {
        cluster.ask(Method::PATCH, &path, "application/json-patch+json", JSON, operations.to_string()).await
    };
    let good = json!([{"op": "test", "path": "/data/k", "value": "v"}, {"op": "add", "path": "/data/n", "value": "1"}]);
    assert_eq!(patch(good).await.ok()["data"], json!({"k": "v", "n": "1"}));
    let (code, reason, message) = patch(json!([{"op": "test", "path": "/data/k", "value": "x"}])).await.refusal();
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(message, "the server rejected our request due to an error in our request");
    assert_eq!(patch(json!({"op": "add"})).await.refusal().0, 400);
}

#[tokio::test]
async fn new_list_items_come_before_old_ones_in_a_strategic_merge() {
    let cluster = Cluster::start().await;
    cluster.create(SETS, stateful_set("web")).await.ok();
    let side = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}});
    let patched = cluster.strategic(&format!("{SETS}/web"), side).await.ok();
    let names: Vec<&str> = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["side", "c"]);
    // A whole object, as clients marshal it, is harmless.
    let whole = json!({"metadata": {"creationTimestamp": null}, "status": {}, "spec": {"replicas": 2}});
    assert_eq!(cluster.strategic(&format!("{SETS}/web"), whole).await.ok(), patched);
}

#[tokio::test]
async fn a_patch_of_a_pods_status_leaves_the_rest_and_is_refused_with_all_of_it() {
    let cluster = Cluster::start().await;
    let spec = json!({"containers": [{"name": "c", "image": "i:1"}], "nodeSelector": {"a": "b"}});
    let made = cluster.create(PODS, json!({"metadata": {"name": "p", "labels": {"l": "1"}}, "spec": spec})).await.ok();
    let path = format!("{PODS}/p/status");
    let told =
        json!({"metadata": {"uid": made["metadata"]["uid"]}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
    let patched = cluster.strategic(&path, told).await.ok();
    assert_eq!((&patched["status"]["phase"], &patched["status"]["podIP"]), (&json!("Running"), &json!("10.0.0.1")));
    assert_eq!(patched["status"]["qosClass"], made["status"]["qosClass"]);
    assert_eq!((&patched["spec"], &patched["metadata"]["labels"]), (&made["spec"], &made["metadata"]["labels"]));
    assert_eq!(patched["metadata"]["generation"], made["metadata"]["generation"]);
    let with_spec = cluster.strategic(&path, json!({"spec": {"nodeName": "n"}, "status": {"reason": "r"}})).await.ok();
    assert_eq!((&with_spec["spec"], &with_spec["status"]["reason"]), (&made["spec"], &json!("r")));
    let (code, _, message) = cluster.strategic(&path, json!({"status": {"phase": 1}})).await.refusal();
    assert_eq!(code, 422);
    assert!(message.contains("nodeSelector"), "{message}");
    let stale = json!({"metadata": {"uid": "another"}, "status": {}});
    assert_eq!(cluster.strategic(&path, stale).await.refusal().0, 409);
}

#[tokio::test]
async fn a_patch_is_checked_like_any_other_write() {
    let cluster = Cluster::start().await;
    cluster.create(SETS, stateful_set("web")).await.ok();
    let path = format!("{SETS}/web");
    let stale = cluster.merge(&path, json!({"metadata": {"resourceVersion": "1"}})).await.refusal();
    assert_eq!((stale.0, stale.1.as_str()), (409, "Conflict"));
    let warned = cluster.merge(&path, json!({"spec": {"extra": 1}})).await;
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"spec.extra\\\"\""]);
    let strict =
        cluster.merge(&format!("{path}?fieldValidation=Strict"), json!({"spec": {"extra": 1}})).await.refusal();
    assert_eq!(strict.0, 422);
    assert!(strict.2.ends_with("strict decoding error: unknown field \"spec.extra\""), "{}", strict.2);
    assert!(strict.2.starts_with(" \"\" is invalid: patch: Invalid value: "), "{}", strict.2);
    let invalid = cluster.merge(&path, json!({"spec": {"replicas": -1}})).await.refusal();
    assert_eq!((invalid.0, invalid.1.as_str()), (422, "Invalid"));
    assert!(
        invalid.2.starts_with("StatefulSet.apps \"web\" is invalid: spec.replicas: Invalid value: -1"),
        "{}",
        invalid.2
    );
    let missing = cluster.merge(&format!("{SETS}/nope"), json!({})).await.refusal();
    assert_eq!(missing.2, "statefulsets.apps \"nope\" not found");
    let unknown = cluster.ask(Method::PATCH, &path, "text/plain", JSON, "{}".into()).await.refusal();
    assert_eq!((unknown.0, unknown.1.as_str()), (415, "UnsupportedMediaType"));
}
