//! Deletion: grace, finalizers, preconditions, policies, namespaces.

use serde_json::{Value, json};

use crate::common::{CONFIG_MAPS, Cluster, PODS, SETS, config_map, pod, stateful_set};

const NAMESPACES: &str = "/api/v1/namespaces";

fn bound(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeName"] = json!("one");
    pod
}

#[tokio::test]
async fn a_running_pod_gets_its_grace_and_a_second_delete_only_shortens_it() {
    let cluster = Cluster::start().await;
    cluster.create(PODS, bound("p")).await.ok();
    let path = format!("{PODS}/p");
    let marked = cluster.delete(&path).await.ok();
    assert_eq!(marked["kind"], "Pod");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked["metadata"]["generation"], 2);
    let longer = cluster.delete(&format!("{path}?gracePeriodSeconds=60")).await.ok();
    assert_eq!(longer, marked);
    let shorter = cluster.delete_with(&path, json!({"gracePeriodSeconds": 5})).await.ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    cluster.delete_with(&path, json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(cluster.get(&path).await.code, 404);
}

#[tokio::test]
async fn a_pod_without_a_node_goes_at_once() {
    let cluster = Cluster::start().await;
    cluster.create(PODS, pod("p")).await.ok();
    assert_eq!(cluster.delete(&format!("{PODS}/p")).await.ok()["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let cluster = Cluster::start().await;
    let mut map = config_map("a");
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(CONFIG_MAPS, map).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let marked = cluster.delete(&path).await.ok();
    assert_eq!(marked["kind"], "ConfigMap");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(cluster.delete(&path).await.ok(), marked);
    let again = cluster.create(CONFIG_MAPS, config_map("a")).await.refusal();
    assert_eq!(again.2, "object is being deleted: configmaps \"a\" already exists");
    let released = cluster.merge(&path, json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(released["metadata"]["name"], "a");
    assert_eq!(cluster.get(&path).await.code, 404);
}

#[tokio::test]
async fn deleting_again_what_only_waits_for_its_finalizers_writes_nothing() {
    let cluster = Cluster::start().await;
    for (name, mut held) in [("on-a-node", bound("on-a-node")), ("nowhere", pod("nowhere"))] {
        held["metadata"]["finalizers"] = json!(["example.com/hold"]);
        cluster.create(PODS, held).await.ok();
        let path = format!("{PODS}/{name}");
        let force = json!({"gracePeriodSeconds": 0});
        let marked = cluster.delete_with(&path, force.clone()).await.ok();
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(cluster.delete_with(&path, force).await.ok(), marked, "not even a new resourceVersion");
        assert_eq!(cluster.delete(&path).await.ok(), marked);
        cluster.merge(&path, json!({"metadata": {"finalizers": null}})).await.ok();
        assert_eq!(cluster.get(&path).await.code, 404);
    }
}

#[tokio::test]
async fn s09_a_precondition_protects_the_successor_of_the_same_name() {
    let cluster = Cluster::start().await;
    let created = cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let (code, reason, message) =
        cluster.delete_with(&path, json!({"preconditions": {"uid": "predecessor"}})).await.refusal();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(
        message.contains("the UID in the precondition (predecessor) does not match the UID in record"),
        "{message}"
    );
    assert_eq!(cluster.delete_with(&path, json!({"preconditions": {"resourceVersion": "1"}})).await.code, 409);
    cluster.delete_with(&path, json!({"preconditions": {"uid": created["metadata"]["uid"]}})).await.ok();
}

#[tokio::test]
async fn the_policy_decides_which_finalizer_the_collector_finds() {
    let cluster = Cluster::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        cluster.create(SETS, stateful_set("web")).await.ok();
        let path = format!("{SETS}/web");
        let marked = cluster.delete_with(&path, json!({"propagationPolicy": policy})).await.ok();
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert_eq!(marked["metadata"]["generation"], 2);
        // The collector is done.
        cluster.merge(&path, json!({"metadata": {"finalizers": []}})).await.ok();
        assert_eq!(cluster.get(&path).await.code, 404);
    }
    cluster.create(SETS, stateful_set("web")).await.ok();
    let gone = cluster.delete_with(&format!("{SETS}/web"), json!({"orphanDependents": false})).await.ok();
    assert_eq!(gone["status"], "Success");
    let both = json!({"orphanDependents": true, "propagationPolicy": "Orphan"});
    assert_eq!(cluster.delete_with(&format!("{SETS}/web"), both).await.refusal().0, 422);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let cluster = Cluster::start().await;
    for (name, app) in [("a", "web"), ("b", "web"), ("c", "db")] {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"app": app});
        cluster.create(CONFIG_MAPS, map).await.ok();
    }
    let deleted = cluster.delete(&format!("{CONFIG_MAPS}?labelSelector=app%3Dweb")).await.ok();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = cluster.get(CONFIG_MAPS).await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_terminates_refuses_what_is_new_and_goes_when_it_is_finalized() {
    let cluster = Cluster::start().await;
    let created = cluster.create(NAMESPACES, json!({"metadata": {"name": "shop"}})).await.ok();
    assert_eq!(created["spec"]["finalizers"], json!(["kubernetes"]));
    let path = format!("{NAMESPACES}/shop");
    let marked = cluster.delete(&path).await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let (code, reason, message) = cluster.create(&format!("{path}/configmaps"), config_map("a")).await.refusal();
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "configmaps \"a\" is forbidden: unable to create new content in namespace shop because it is being terminated"
    );
    let mut finalized = marked;
    finalized["spec"]["finalizers"] = json!([]);
    cluster.put(&format!("{path}/finalize"), finalized).await.ok();
    assert_eq!(cluster.get(&path).await.code, 404);

    let system = cluster.delete(&format!("{NAMESPACES}/default")).await.refusal();
    assert_eq!(system.2, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}
