//! What a set can be asked beyond Kubernetes, against the real API and store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use stead_apiserver::{BoxError, LocalService};
use stead_store::Embedded;
use tower::ServiceExt;

use crate::{Cluster, are, create, image, name, template, web};

fn annotated(annotations: Value) -> Value {
    json!({"metadata": {"annotations": annotations}})
}

async fn running(replicas: i32, annotations: Value) -> Cluster {
    let cluster = Cluster::start().await;
    let mut set = web(replicas);
    set["metadata"]["annotations"] = annotations;
    create(&cluster.api::<StatefulSet>(), set).await;
    let complete = |set: &StatefulSet| condition(set, "Progressing") == "True RolloutComplete";
    cluster.until_set("all replicas are up", complete).await;
    cluster
}

/// `True RolloutComplete`
fn condition(set: &StatefulSet, kind: &str) -> String {
    let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.into_iter().find(|condition| condition.type_ == kind);
    found.map(|found| format!("{} {}", found.status, found.reason.clone().unwrap_or_default())).unwrap_or_default()
}

fn uids(pods: &[Arc<Pod>]) -> BTreeMap<String, Option<String>> {
    pods.iter().map(|pod| (name(pod).to_owned(), pod.metadata.uid.clone())).collect()
}

async fn claim_uid(cluster: &Cluster, claim: &str) -> Option<String> {
    cluster.api::<PersistentVolumeClaim>().get(claim).await.expect("the claim").metadata.uid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_set_rolls_nothing_and_brings_replicas_back_as_they_were() {
    let cluster = running(3, json!({})).await;
    let partition = json!({"spec": {"template": template("b"), "updateStrategy": {"rollingUpdate": {"partition": 2}}}});
    cluster.patch::<StatefulSet>("web", partition).await;
    cluster.until("one is updated", |pods| are(pods, &["web-0@a ready", "web-1@a ready", "web-2@b ready"])).await;
    cluster.patch::<StatefulSet>("web", annotated(json!({"stead.dev/paused": "true"}))).await;
    let free = json!({"spec": {"template": template("c"), "updateStrategy": {"rollingUpdate": {"partition": 0}}}});
    cluster.patch::<StatefulSet>("web", free).await;
    cluster
        .until_set("it knows what to come back at", |set| {
            let annotations = set.metadata.annotations.clone().unwrap_or_default();
            let noted = annotations.get("stead.dev/paused-replicas").is_some_and(|text| text.ends_with("=2"));
            noted && condition(set, "Progressing") == "Unknown Paused"
        })
        .await;
    let before = uids(&cluster.ctx.caches.pods.list_in("default"));
    for pod in ["web-0", "web-2"] {
        cluster.api::<Pod>().delete(pod, &DeleteParams::default()).await.expect("deleted");
    }
    cluster
        .until("both are back", |pods| {
            let now = uids(pods);
            let fresh = ["web-0", "web-2"].iter().all(|pod| now.get(*pod) != before.get(*pod));
            fresh && are(pods, &["web-0@a ready", "web-1@a ready", "web-2@b ready"])
        })
        .await;
    cluster.patch::<StatefulSet>("web", annotated(json!({"stead.dev/paused": null}))).await;
    cluster.until("all are updated", |pods| are(pods, &["web-0@c ready", "web-1@c ready", "web-2@c ready"])).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chosen_replica_is_left_out() {
    let cluster = running(3, json!({})).await;
    let mut change = annotated(json!({"stead.dev/reserve-ordinals": "1"}));
    change["spec"] = json!({"replicas": 2});
    cluster.patch::<StatefulSet>("web", change).await;
    cluster.until("the chosen one is gone", |pods| are(pods, &["web-0@a ready", "web-2@a ready"])).await;
    cluster.patch::<StatefulSet>("web", json!({"spec": {"replicas": 3}})).await;
    cluster.until("the next one comes", |pods| are(pods, &["web-0@a ready", "web-2@a ready", "web-3@a ready"])).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_is_made_anew_with_its_claim() {
    let cluster = running(3, json!({})).await;
    let before = uids(&cluster.ctx.caches.pods.list_in("default"));
    let old = [claim_uid(&cluster, "data-web-0").await, claim_uid(&cluster, "data-web-1").await];
    // Nobody here protects claims that pods use, so nobody takes the protection off.
    cluster.patch::<PersistentVolumeClaim>("data-web-1", json!({"metadata": {"finalizers": null}})).await;
    cluster.patch::<StatefulSet>("web", annotated(json!({"stead.dev/reset": "1=1"}))).await;
    cluster
        .until("it is back", |pods| {
            let now = uids(pods);
            now.get("web-1") != before.get("web-1") && are(pods, &["web-0@a ready", "web-1@a ready", "web-2@a ready"])
        })
        .await;
    let after = uids(&cluster.ctx.caches.pods.list_in("default"));
    assert_eq!([after.get("web-0"), after.get("web-2")], [before.get("web-0"), before.get("web-2")]);
    assert_eq!(claim_uid(&cluster, "data-web-0").await, old[0], "the others are untouched");
    assert_ne!(claim_uid(&cluster, "data-web-1").await, old[1]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_gets_nowhere_is_taken_back() {
    let wishes = json!({"stead.dev/progress-deadline-seconds": "3", "stead.dev/auto-rollback": "true"});
    let cluster = running(2, wishes).await;
    cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template("broken")}})).await;
    cluster.until("the update is stuck", |pods| are(pods, &["web-0@a ready", "web-1@broken not ready"])).await;
    cluster.until("it has gone back", |pods| are(pods, &["web-0@a ready", "web-1@a ready"])).await;
    let set = cluster.api::<StatefulSet>().get("web").await.expect("the set");
    let containers = set.spec.and_then(|spec| spec.template.spec).map(|spec| spec.containers).unwrap_or_default();
    assert_eq!(containers[0].image.as_deref(), Some("a"), "whoever wrote the template sees that it is another");
    let annotations = set.metadata.annotations.unwrap_or_default();
    assert!(annotations.contains_key("stead.dev/rolled-back-from"), "{annotations:?}");

    // Brought back by somebody, it fails and stays.
    cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template("broken")}})).await;
    let failed = |set: &StatefulSet| condition(set, "Progressing") == "False ProgressDeadlineExceeded";
    cluster.until_set("it has failed again", failed).await;
    let pods = cluster.ctx.caches.pods.list_in("default");
    assert_eq!(pods.iter().map(|pod| image(pod)).collect::<Vec<_>>(), ["a", "broken"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_follow_their_template() {
    let cluster = running(2, json!({})).await;
    let classes: Api<StorageClass> = Api::all(cluster.ctx.client.clone());
    let class = json!({"metadata": {"name": "growing"}, "provisioner": "x/y", "allowVolumeExpansion": true});
    create(&classes, class).await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    for claim in ["data-web-0", "data-web-1"] {
        let bound = json!({
            "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"storageClassName": "growing", "volumeName": format!("volume-of-{claim}")},
        });
        claims.patch(claim, &PatchParams::default(), &Patch::Merge(bound)).await.expect("bound");
        let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        claims.patch_status(claim, &PatchParams::default(), &Patch::Merge(status)).await.expect("bound");
    }
    let larger = json!({"spec": {"volumeClaimTemplates": [{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    }]}});
    cluster.patch::<StatefulSet>("web", larger).await;
    let growing = |set: &StatefulSet| condition(set, "ClaimsMatch") == "False ClaimsGrowing";
    cluster.until_set("claims grow", growing).await;
    // Whoever made the volumes lets each grow when its claim asks.
    for claim in ["data-web-1", "data-web-0"] {
        let asks = |claim: &PersistentVolumeClaim| {
            let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
            requests.get("storage").map(|storage| storage.0.clone())
        };
        let asked = async {
            while asks(&claims.get(claim).await.expect("the claim")).as_deref() != Some("2Gi") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, asked).await.expect("the claim asks for more");
        let status = json!({"status": {"capacity": {"storage": "2Gi"}}});
        claims.patch_status(claim, &PatchParams::default(), &Patch::Merge(status)).await.expect("grown");
    }
    let settled = |set: &StatefulSet| condition(set, "ClaimsMatch") == "True ClaimsMatch";
    cluster.until_set("claims are what their template says", settled).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_grow_as_soon_as_their_class_lets_them() {
    let cluster = running(1, json!({})).await;
    let classes: Api<StorageClass> = Api::all(cluster.ctx.client.clone());
    create(&classes, json!({"metadata": {"name": "fixed"}, "provisioner": "x/y"})).await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    let bound = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"storageClassName": "fixed", "volumeName": "volume"},
    });
    claims.patch("data-web-0", &PatchParams::default(), &Patch::Merge(bound)).await.expect("bound");
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    claims.patch_status("data-web-0", &PatchParams::default(), &Patch::Merge(status)).await.expect("bound");
    let larger = json!({"spec": {"volumeClaimTemplates": [{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    }]}});
    cluster.patch::<StatefulSet>("web", larger).await;
    cluster.until_set("it differs", |set| condition(set, "ClaimsMatch") == "False ClaimsDiffer").await;
    let expands = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch("fixed", &PatchParams::default(), &expands).await.expect("the class is changed");
    cluster.until_set("it grows", |set| condition(set, "ClaimsMatch") == "False ClaimsGrowing").await;
    cluster.stop().await;
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The way to the server; it refuses pods of the image `refused`, as an admission webhook would.
async fn refuse(service: LocalService<Embedded>, request: Request<kube::client::Body>) -> Result<Answer, BoxError> {
    let (head, body) = request.into_parts();
    let makes_pod = head.method == Method::POST && head.uri.path() == "/api/v1/namespaces/default/pods";
    let bytes: Bytes = body.collect_bytes().await?;
    if makes_pod && String::from_utf8_lossy(&bytes).contains("\"image\":\"refused\"") {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "pods of this image are not wanted here",
        });
        let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
        let answer = Response::builder().status(403).header("content-type", "application/json");
        return Ok(answer.body(body)?);
    }
    let answer = service.oneshot(Request::from_parts(head, kube::client::Body::from(bytes))).await?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(head, body.map_err(Into::into).boxed_unsync()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_whose_pods_are_refused_is_taken_back() {
    let cluster = Cluster::start_over(|service| {
        Client::new(tower::service_fn(move |request| refuse(service.clone(), request)), "default")
    })
    .await;
    let mut set = web(2);
    set["metadata"]["annotations"] =
        json!({"stead.dev/progress-deadline-seconds": "2", "stead.dev/auto-rollback": "true"});
    create(&cluster.api::<StatefulSet>(), set).await;
    cluster.until_set("all are up", |set| condition(set, "Progressing") == "True RolloutComplete").await;
    cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template("refused")}})).await;
    cluster.until("a replica is away", |pods| pods.len() == 1).await;
    cluster.until("it is back", |pods| are(pods, &["web-0@a ready", "web-1@a ready"])).await;
    let set = cluster.api::<StatefulSet>().get("web").await.expect("the set");
    let annotations = set.metadata.annotations.unwrap_or_default();
    assert!(annotations.contains_key("stead.dev/rolled-back-from"), "{annotations:?}");
    cluster.stop().await;
}
