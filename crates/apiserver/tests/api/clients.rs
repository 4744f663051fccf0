//! A typed client inside the process: kube over the local service.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use stead_apiserver::Identity;
use tokio_stream::StreamExt;

use crate::common::Cluster;

#[tokio::test]
async fn kube_works_without_a_socket() {
    let cluster = Cluster::start().await;
    let client = Client::new(cluster.server.local_service(Identity::component("system:test")), "default");
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let metadata = ObjectMeta { name: Some("a".into()), ..ObjectMeta::default() };
    let created = maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await.unwrap();
    let revision = created.metadata.resource_version.clone().unwrap();
    let mut events = Box::pin(maps.watch(&WatchParams::default(), &revision).await.unwrap());
    let patch = serde_json::json!({"data": {"k": "v"}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let list = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].data.as_ref().unwrap()["k"], "v");
    let WatchEvent::Modified(changed) = events.next().await.unwrap().unwrap() else { panic!("a change was made") };
    assert_eq!(changed.metadata.uid, created.metadata.uid);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}
