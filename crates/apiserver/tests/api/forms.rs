//! Answers in the forms clients ask for: tables, metadata, YAML; reviews without a table.

use http::Method;
use serde_json::json;

use crate::common::{CONFIG_MAPS, Cluster, JSON, SETS, config_map, stateful_set};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn a_list_becomes_a_table() {
    let cluster = Cluster::start().await;
    cluster.create(SETS, stateful_set("web")).await.ok();
    let table = cluster.get_as(SETS, TABLE).await.ok();
    assert_eq!((table["kind"].as_str(), table["apiVersion"].as_str()), (Some("Table"), Some("meta.k8s.io/v1")));
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Ready", "Age", "Containers", "Images"]);
    let row = &table["rows"][0];
    assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("web"), &json!("0/2")));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert!(row["object"]["spec"].is_null());
    assert!(table["metadata"]["resourceVersion"].is_string());

    let one = cluster.get_as(&format!("{SETS}/web?includeObject=Object"), TABLE).await.ok();
    assert_eq!(one["rows"][0]["object"]["spec"]["replicas"], 2);
    let none = cluster.get_as(&format!("{SETS}?includeObject=None"), TABLE).await.ok();
    assert!(none["rows"][0]["object"].is_null());
    assert_eq!(cluster.get_as(&format!("{SETS}?includeObject=Some"), TABLE).await.refusal().0, 400);
}

#[tokio::test]
async fn only_metadata_is_sent_when_only_metadata_is_asked_for() {
    let cluster = Cluster::start().await;
    let created = cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = cluster.get_as(CONFIG_MAPS, accept).await.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"], created["metadata"]);
    assert!(list["items"][0]["data"].is_null());
}

#[tokio::test]
async fn what_cannot_be_written_is_not_acceptable() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.get_as(CONFIG_MAPS, "image/png").await.refusal().0, 406);
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table = cluster.ask(Method::POST, path, JSON, TABLE, review.clone()).await.refusal();
    assert_eq!(
        (table.0, table.2.as_str()),
        (406, "the resource selfsubjectaccessreviews does not support being converted to a Table")
    );
    let allowed = cluster.ask(Method::POST, path, JSON, JSON, review).await.ok();
    assert_eq!(allowed["status"]["allowed"], true);
}

#[tokio::test]
async fn a_watch_of_tables_names_its_columns_once() {
    let cluster = Cluster::start().await;
    let request = http::Request::builder().uri(format!("{SETS}?watch=1")).header("accept", TABLE);
    let response = cluster.send(request.body(Default::default()).unwrap()).await;
    let mut watch = crate::common::Watcher::of(response.into_body());
    for name in ["a", "b"] {
        cluster.create(SETS, stateful_set(name)).await.ok();
    }
    let first = watch.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert!(first["object"]["columnDefinitions"].is_array());
    let second = watch.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].is_null());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}
