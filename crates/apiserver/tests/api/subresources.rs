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

#[tokio::test]
async fn an_eviction_that_a_budget_does_not_allow_is_refused_in_the_words_of_kubernetes() {
    let cluster = Cluster::start().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    for name in ["a", "b", "c"] {
        let mut running = pod(name);
        running["metadata"]["labels"] = json!({"app": "web"});
        running["spec"]["nodeName"] = json!("one");
        cluster.create(PODS, running).await.ok();
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        cluster.merge(&format!("{PODS}/{name}/status"), status).await.ok();
    }
    let budget = |name: &str| json!({"metadata": {"name": name}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}});
    cluster.create(budgets, budget("two")).await.ok();
    let evict = async |name: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        cluster.create(&format!("{PODS}/{name}/eviction"), eviction).await
    };
    let (first, second) = tokio::join!(evict("a"), evict("b"));
    let mut codes = [first.code, second.code];
    codes.sort_unstable();
    assert_eq!(codes, [201, 429], "there is room for one");
    let (left, refused) = if first.code == 429 { ("a", first) } else { ("b", second) };
    let status = refused.json();
    assert_eq!(status["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "DisruptionBudget", "message": "The disruption budget two needs 2 healthy pods and has 2 currently"})
    );

    cluster.merge(&format!("{PODS}/c/status"), json!({"status": {"phase": "Failed"}})).await.ok();
    assert_eq!(evict("c").await.code, 201, "what has ended is no loss");
    cluster.create(budgets, budget("another")).await.ok();
    assert_eq!(evict(left).await.code, 500, "it is not clear which of the two counts");
}
