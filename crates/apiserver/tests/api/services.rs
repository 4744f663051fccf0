//! Cluster IPs and node ports.

use serde_json::{Value, json};

use crate::common::Cluster;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["ports"] = json!([{"port": 80}]);
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_service_gets_an_address_above_the_band_for_explicit_ones() {
    let cluster = Cluster::start().await;
    let created = cluster.create(SERVICES, service("a", json!({"selector": {"app": "a"}}))).await.ok();
    let ip: std::net::Ipv4Addr = created["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    assert_eq!(created["spec"]["clusterIPs"], json!([ip.to_string()]));
    assert_eq!(
        (&created["spec"]["ipFamilies"], &created["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    let offset = u32::from(ip) - u32::from(std::net::Ipv4Addr::new(10, 96, 0, 0));
    assert!((256..(1 << 20) - 1).contains(&offset), "{ip}");
}

#[tokio::test]
async fn an_explicit_address_is_given_once_and_free_again_after_its_service() {
    let cluster = Cluster::start().await;
    let dns = || service("dns", json!({"clusterIP": "10.96.0.10"}));
    let other = service("other", json!({"clusterIP": "10.96.0.10"}));
    cluster.create(&format!("{SERVICES}?dryRun=All"), dns()).await.ok();
    cluster.create(SERVICES, dns()).await.ok();
    let (code, _, message) = cluster.create(SERVICES, other.clone()).await.refusal();
    assert_eq!(code, 422);
    assert!(message.contains("failed to allocate IP 10.96.0.10: provided IP is already allocated"), "{message}");
    let outside = cluster.create(SERVICES, service("out", json!({"clusterIP": "10.0.0.1"}))).await.refusal();
    assert!(outside.2.contains("The range of valid IPs is 10.96.0.0/12"), "{}", outside.2);
    cluster.delete(&format!("{SERVICES}/dns")).await.ok();
    cluster.create(SERVICES, other).await.ok();
}

#[tokio::test]
async fn a_headless_service_has_no_address() {
    let cluster = Cluster::start().await;
    let created =
        cluster.create(SERVICES, service("a", json!({"clusterIP": "None", "selector": {"app": "a"}}))).await.ok();
    assert_eq!((&created["spec"]["clusterIP"], &created["spec"]["clusterIPs"]), (&json!("None"), &json!(["None"])));
}

#[tokio::test]
async fn node_ports_come_and_go_with_the_type() {
    let cluster = Cluster::start().await;
    let created =
        cluster.create(SERVICES, service("a", json!({"type": "NodePort", "selector": {"a": "b"}}))).await.ok();
    let port = created["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_086..=32_767).contains(&port), "{port}");
    let mut taken = service("b", json!({"type": "NodePort"}));
    taken["spec"]["ports"][0]["nodePort"] = json!(port);
    let refused = cluster.create(SERVICES, taken.clone()).await.refusal();
    assert!(refused.2.ends_with("provided port is already allocated"), "{}", refused.2);
    let inner = cluster.merge(&format!("{SERVICES}/a"), json!({"spec": {"type": "ClusterIP"}})).await.ok();
    assert!(inner["spec"]["ports"][0]["nodePort"].is_null());
    assert_eq!(inner["spec"]["clusterIP"], created["spec"]["clusterIP"]);
    cluster.create(SERVICES, taken).await.ok();
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_no_address_to_be_given_twice() {
    let cluster = Cluster::start().await;
    let service =
        |name: &str| json!({"metadata": {"name": name}, "spec": {"clusterIP": "10.96.5.5", "ports": [{"port": 80}]}});
    let mut watch = cluster.watch(&format!("{SERVICES}?watch=1")).await;
    let request = http::Request::post(SERVICES).body(service("first").to_string().into()).unwrap();
    let mut create = Box::pin(cluster.send(request));
    // The write is on its way to the disk when its client hangs up.
    assert!(futures::poll!(create.as_mut()).is_pending());
    drop(create);
    assert_eq!(watch.change().await.1, "first");
    let (code, _, message) = cluster.create(SERVICES, service("second")).await.refusal();
    assert_eq!(code, 422);
    assert!(message.contains("provided IP is already allocated"), "{message}");
}
