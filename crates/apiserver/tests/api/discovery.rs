//! Discovery, version, health.

use http::StatusCode;
use serde_json::{Value, json};

use crate::common::Cluster;

#[tokio::test]
async fn plain_discovery_lists_groups_and_resources() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = cluster.get("/apis").await.ok();
    let apps = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "apps").unwrap().clone();
    assert_eq!(apps["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
    assert_eq!(cluster.get("/apis/apps").await.ok()["versions"], apps["versions"]);
    let resources = cluster.get("/apis/apps/v1").await.ok();
    let find = |name: &str| -> Value {
        resources["resources"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let sets = find("statefulsets");
    assert_eq!((&sets["shortNames"], &sets["categories"]), (&json!(["sts"]), &json!(["all"])));
    let scale = find("statefulsets/scale");
    assert_eq!((&scale["group"], &scale["kind"]), (&json!("autoscaling"), &json!("Scale")));
}

#[tokio::test]
async fn aggregated_discovery_says_it_all_at_once_and_only_when_it_changed() {
    let cluster = Cluster::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let reply = cluster.get_as("/apis", accept).await;
    assert_eq!(reply.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let tag = reply.headers["etag"].clone();
    let groups = reply.ok();
    let apps = groups["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let sets = resources.iter().find(|one| one["resource"] == "statefulsets").unwrap();
    assert_eq!(sets["responseKind"], json!({"group": "apps", "version": "v1", "kind": "StatefulSet"}));
    let request = http::Request::builder().uri("/apis").header("accept", accept).header("if-none-match", tag);
    let unchanged = cluster.send(request.body(Default::default()).unwrap()).await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    let core = cluster.get_as("/api", accept).await.ok();
    assert!(
        core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter().any(|one| one["resource"] == "pods")
    );
}

#[tokio::test]
async fn version_and_health_answer() {
    let cluster = Cluster::start().await;
    let version = cluster.get("/version").await.ok();
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36.2+stead."), "{version}");
    assert_eq!((version["major"].as_str(), version["minor"].as_str()), (Some("1"), Some("36")));
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        assert_eq!(cluster.get(path).await.text, "ok");
    }
    assert!(cluster.get("/readyz?verbose").await.text.ends_with("readyz check passed\n"));
}
