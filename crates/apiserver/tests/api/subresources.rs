//! Scale, binding, eviction.

use serde_json::json;

use crate::common::{Cluster, PODS, SETS, pod, stateful_set};

#[tokio::test]
async fn scale_reads_and_writes_nothing_but_the_count() {
    let cluster = Cluster::start().await;
    cluster.create(SETS, stateful_set("web")).await.ok();
    let path = format!("{SETS}/web/scale");
    let mut scale = cluster.get(&path).await.ok();
    assert_eq!((scale["kind"].as_str(), scale["apiVersion"].as_str()), (Some("Scale"), Some("autoscaling/v1")));
    assert_eq!((&scale["spec"], &scale["status"]["selector"]), (&json!({"replicas": 2}), &json!("app=web")));

    scale["spec"]["replicas"] = json!(4);
    assert_eq!(cluster.put(&path, scale.clone()).await.ok()["spec"]["replicas"], 4);
    assert_eq!(cluster.put(&path, scale).await.refusal().0, 409);
    assert_eq!(cluster.merge(&path, json!({"spec": {"replicas": 5}})).await.ok()["spec"]["replicas"], 5);
    let zeroes = json!({"metadata": {}, "spec": {"replicas": 6}, "status": {"replicas": 0}});
    assert_eq!(cluster.strategic(&path, zeroes).await.ok()["spec"]["replicas"], 6);
    let set = cluster.get(&format!("{SETS}/web")).await.ok();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&json!(6), &json!(4)));
    assert_eq!(cluster.merge(&path, json!({"spec": {"replicas": -1}})).await.refusal().0, 422);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::start().await;
    let created = cluster.create(PODS, pod("p")).await.ok();
    let path = format!("{PODS}/p/binding");
    let binding = |uid: &serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "uid": uid},
            "target": {"kind": "Node", "name": "one"}})
    };
    assert_eq!(cluster.create(&path, binding(&json!("another"))).await.refusal().0, 409);
    let bound = cluster.create(&path, binding(&created["metadata"]["uid"])).await;
    assert_eq!(bound.code, 201);
    assert_eq!(bound.ok()["status"], "Success");
    let pod = cluster.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(pod["spec"]["nodeName"], "one");
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "PodScheduled" && one["status"] == "True"), "{conditions:?}");
    let (code, _, message) = cluster.create(&path, binding(&created["metadata"]["uid"])).await.refusal();
    assert_eq!(code, 409);
    assert_eq!(
        message,
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"one\""
    );
}

#[tokio::test]
async fn an_evicted_pod_says_why_and_gets_its_grace() {
    let cluster = Cluster::start().await;
    let mut running = pod("p");
    running["spec"]["nodeName"] = json!("one");
    cluster.create(PODS, running).await.ok();
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(cluster.create(&format!("{PODS}/p/eviction"), eviction).await.code, 201);
    let pod = cluster.get(&format!("{PODS}/p")).await.ok();
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["reason"] == "EvictionByEvictionAPI"), "{conditions:?}");
}

#[tokio::test]
async fn an_eviction_meant_for_a_predecessor_leaves_no_mark_on_its_successor() {
    let cluster = Cluster::start().await;
    let mut running = pod("p");
    running["spec"]["nodeName"] = json!("one");
    let created = cluster.create(PODS, running).await.ok();
    let stale = [json!({"uid": "predecessor"}), json!({"resourceVersion": "1"})];
    for preconditions in stale {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
            "deleteOptions": {"preconditions": preconditions}});
        assert_eq!(cluster.create(&format!("{PODS}/p/eviction"), eviction).await.refusal().0, 409);
        assert_eq!(cluster.get(&format!("{PODS}/p")).await.ok(), created);
    }
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions":
        {"preconditions": {"uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"]}}});
    assert_eq!(cluster.create(&format!("{PODS}/p/eviction"), eviction).await.code, 201);
    assert!(cluster.get(&format!("{PODS}/p")).await.ok()["metadata"]["deletionTimestamp"].is_string());
}
