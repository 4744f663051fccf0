//! What a fresh cluster holds, and the lives of sets, claims and namespaces in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, PersistentVolumeClaim, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stead_client::{Cache, ListScope};

use crate::world::{World, namespace};

fn web_service() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "selector": {"app": "web"},
           "ports": [{"name": "http", "port": 80}]}})
}

fn web_set(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "web:1",
                         "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            }],
        },
    })
}

fn is_ready(pod: &Pod) -> bool {
    stead_plan::pods::is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

async fn start_web(world: &World, replicas: i32) {
    world.create::<Service>("default", web_service()).await;
    world.create::<StatefulSet>("default", web_set(replicas)).await;
    let wanted = usize::try_from(replicas).expect("a small number");
    world
        .until("all pods ready", &world.ctx.caches.pods, |pods| pods.iter().filter(|p| is_ready(p)).count() == wanted)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_cluster_holds_what_every_cluster_holds() {
    let world = World::start().await;
    let caches = &world.ctx.caches;
    world.until("namespaces", &caches.namespaces, |all| all.len() == 4).await;
    world.until("accounts", &caches.service_accounts, |all| all.len() == 4).await;
    world.until("the default class", &caches.storage_classes, |all| all.len() == 1).await;
    world.until("the API's slice", &caches.endpoint_slices, |all| all.len() == 1).await;
    world.until("the API's endpoints", &caches.endpoints, |all| all.len() == 1).await;
    world.until("services", &caches.services, |all| all.len() == 2).await;
    let dns = caches.services.get("kube-system", "kube-dns").expect("there");
    assert_eq!(dns.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()), Some("10.96.0.10"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cluster_cannot_do_without_comes_back() {
    let world = World::start().await;
    let caches = &world.ctx.caches;
    let maps: Cache<ConfigMap> = Cache::start(Api::namespaced(world.client.clone(), "default"), ListScope::default());
    world.until("the certificate", &maps, |all| all.len() == 1).await;
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let first = maps.list()[0].metadata.uid.clone();
    api.delete("kube-root-ca.crt", &DeleteParams::default()).await.expect("deleted");
    world.until("a new one", &maps, |all| all.iter().any(|map| map.metadata.uid != first)).await;
    let spoilt = json!({"data": {"ca.crt": "WRONG"}});
    let spoilt = api.patch("kube-root-ca.crt", &PatchParams::default(), &Patch::Merge(spoilt)).await.expect("patched");
    let spoilt = spoilt.metadata.resource_version;
    let is_right = |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data["ca.crt"] == "PEM");
    maps.wait_revision(spoilt.and_then(|text| text.parse().ok()).expect("a revision")).await;
    world.until("repaired", &maps, |all| all.iter().all(|map| is_right(map))).await;

    world.until("the API's service", &caches.services, |all| all.len() == 2).await;
    let uid = |all: &[Arc<Service>]| {
        let api = all.iter().find(|service| service.metadata.name.as_deref() == Some("kubernetes"));
        api.and_then(|service| service.metadata.uid.clone())
    };
    let old = uid(&caches.services.list());
    let services: Api<Service> = Api::namespaced(world.client.clone(), "default");
    services.delete("kubernetes", &DeleteParams::default()).await.expect("deleted");
    world.until("the service again", &caches.services, |all| uid(all).is_some_and(|uid| Some(uid) != old)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sets_claims_become_directories_that_outlive_pods_and_set_but_not_the_claim() {
    let world = World::with_node().await;
    start_web(&world, 3).await;
    let caches = &world.ctx.caches;
    world
        .until("claims bound with capacity", &caches.claims, |claims| {
            claims.len() == 3
                && claims.iter().all(|claim| {
                    stead_plan::claims::is_bound(claim)
                        && stead_plan::claims::selected_node(claim).is_some()
                        && claim
                            .status
                            .as_ref()
                            .and_then(|s| s.capacity.as_ref())
                            .is_some_and(|c| c["storage"].0 == "10Gi")
                })
        })
        .await;
    let dirs = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(world.volumes_dir()).expect("the directory of volumes");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    let uids: BTreeSet<String> = caches.claims.list().iter().filter_map(|claim| claim.metadata.uid.clone()).collect();
    assert_eq!(dirs(), uids, "one directory per claim, named after it");
    world
        .until("every replica published by name", &caches.endpoint_slices, |slices| {
            let hosts: BTreeSet<String> =
                slices.iter().flat_map(|s| s.endpoints.iter().flatten()).filter_map(|e| e.hostname.clone()).collect();
            hosts == ["web-0", "web-1", "web-2"].map(str::to_owned).into()
        })
        .await;

    let old = caches.pods.get("default", "web-1").and_then(|pod| pod.metadata.uid.clone());
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    pods.delete("web-1", &DeleteParams::default()).await.expect("deleted");
    world
        .until("web-1 back", &caches.pods, |pods| {
            pods.iter()
                .any(|pod| pod.metadata.name.as_deref() == Some("web-1") && pod.metadata.uid != old && is_ready(pod))
        })
        .await;
    assert_eq!(dirs(), uids, "the same claims and directories");

    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), "default");
    sets.delete("web", &DeleteParams::default()).await.expect("deleted");
    world.until("the set's pods collected", &caches.pods, |pods| pods.is_empty()).await;
    assert_eq!((caches.claims.list().len(), dirs().len()), (3, 3), "claims belong to nobody but their owner");

    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "default");
    let gone = caches.claims.get("default", "data-web-2").and_then(|claim| claim.metadata.uid.clone()).expect("there");
    claims.delete("data-web-2", &DeleteParams::default()).await.expect("deleted");
    world.until("its volume reclaimed", &caches.volumes, |volumes| volumes.len() == 2).await;
    let left: BTreeSet<String> = uids.iter().filter(|uid| **uid != gone).cloned().collect();
    assert_eq!(dirs(), left, "only the deleted claim's directory is gone");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_use_waits_for_its_pod_to_end() {
    let world = World::with_node().await;
    start_web(&world, 1).await;
    let caches = &world.ctx.caches;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "default");
    claims.delete("data-web-0", &DeleteParams::default()).await.expect("asked for");
    world
        .until("the claim terminating", &caches.claims, |all| {
            all.iter().any(|c| c.metadata.deletion_timestamp.is_some())
        })
        .await;
    let old = caches.claims.get("default", "data-web-0").and_then(|claim| claim.metadata.uid.clone()).expect("held");
    assert!(world.volumes_dir().join(&old).is_dir());
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    pods.delete("web-0", &DeleteParams::default()).await.expect("deleted");
    world
        .until("pod and claim both fresh", &caches.claims, |all| {
            all.iter().any(|claim| claim.metadata.uid.as_ref() != Some(&old) && stead_plan::claims::is_bound(claim))
        })
        .await;
    world.until("the pod ready again", &caches.pods, |all| all.iter().any(|pod| is_ready(pod))).await;
    world.until("the old volume reclaimed", &caches.volumes, |all| all.len() == 1).await;
    assert!(!world.volumes_dir().join(&old).exists());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_provisioning_fails_can_be_seen_and_it_goes_on_there() {
    let world = World::with_node().await;
    let claims = &world.ctx.caches.claims;
    let node = |claim: &PersistentVolumeClaim| stead_plan::claims::selected_node(claim).map(str::to_owned);
    std::fs::write(world.volumes_dir(), "in the way").expect("a file where the directory should be");
    world.create::<Service>("default", web_service()).await;
    world.create::<StatefulSet>("default", web_set(1)).await;
    world.until("the node to be shown", claims, |all| all.iter().any(|claim| node(claim).is_some())).await;
    let shown = claims.get("default", "data-web-0").expect("held");
    assert!(!stead_plan::claims::is_bound(&shown));
    std::fs::remove_file(world.volumes_dir()).expect("out of the way");
    world.until("the pod ready", &world.ctx.caches.pods, |all| all.iter().any(|pod| is_ready(pod))).await;
    let bound = claims.get("default", "data-web-0").expect("held");
    assert_eq!((node(&bound), &bound.metadata.uid), (node(&shown), &shown.metadata.uid));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_says_that_it_waits_when_nobody_comes_to_use_it() {
    let world = World::with_node().await;
    let events: Cache<Event> = Cache::start(Api::namespaced(world.client.clone(), "default"), ListScope::default());
    let alone = json!({"metadata": {"name": "alone"}, "spec": {"accessModes": ["ReadWriteOnce"],
                       "resources": {"requests": {"storage": "1Gi"}}}});
    world.create::<PersistentVolumeClaim>("default", alone).await;
    let waits = |event: &Event| event.reason.as_deref() == Some("WaitForFirstConsumer");
    world.until("told", &events, |all| all.iter().any(|event| waits(event))).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_waits_for_a_node_says_so_and_goes_when_one_comes() {
    let mut world = World::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.create::<Pod>("default", pod).await;
    world
        .until("told why", &world.ctx.caches.pods, |pods| {
            let conditions =
                pods.iter().flat_map(|pod| pod.status.iter().flat_map(|status| status.conditions.iter().flatten()));
            conditions.into_iter().any(|c| {
                c.reason.as_deref() == Some("Unschedulable")
                    && c.message.as_deref() == Some("no nodes available to schedule pods")
            })
        })
        .await;
    world.join_node().await;
    world.until("running", &world.ctx.caches.pods, |pods| pods.iter().any(|pod| is_ready(pod))).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_takes_everything_with_it() {
    let world = World::with_node().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let ns = serde_json::from_value(json!({"metadata": {"name": "team"}})).expect("a Namespace");
    namespaces.create(&PostParams::default(), &ns).await.expect("created");
    let caches = &world.ctx.caches;
    world
        .until("its account", &caches.service_accounts, |all| all.iter().any(|a| namespace(&a.metadata) == "team"))
        .await;
    world.create::<Service>("team", web_service()).await;
    world.create::<StatefulSet>("team", web_set(2)).await;
    world.create::<ConfigMap>("team", json!({"metadata": {"name": "m"}})).await;
    world.until("its pods", &caches.pods, |pods| pods.iter().filter(|pod| is_ready(pod)).count() == 2).await;
    namespaces.delete("team", &DeleteParams::default()).await.expect("asked for");
    world
        .until("gone", &caches.namespaces, |all| !all.iter().any(|n| n.metadata.name.as_deref() == Some("team")))
        .await;
    let maps: Api<ConfigMap> = Api::all(world.client.clone());
    let maps = maps.list(&ListParams::default()).await.expect("listed");
    assert!(maps.items.iter().all(|map| namespace(&map.metadata) != "team"));
    world.until("volumes reclaimed", &caches.volumes, |volumes| volumes.is_empty()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_everything_is_as_asked_nobody_writes_not_even_controllers_that_start_anew() {
    let mut world = World::with_node().await;
    let empty = world.quiet().await;
    start_web(&world, 3).await;
    let settled = world.quiet().await;
    assert_ne!(settled, empty, "the revision counts every write");
    let claims = |world: &World| -> Vec<Option<String>> {
        world.ctx.caches.claims.list().iter().map(|claim| claim.metadata.resource_version.clone()).collect()
    };
    let before = claims(&world);
    world.restart_controllers().await;
    assert_eq!(world.quiet().await, settled, "a restart is no reason to write");
    assert_eq!(claims(&world), before);
    world.stop().await;
}
