//! Old revisions go although a replica cannot be made (contract `statefulset.md`, G4).

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use stead_apiserver::BoxError;
use tower::ServiceExt;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_cut_though_a_pod_cannot_be_made() {
    let refuses = Arc::new(AtomicBool::new(false));
    let refusing = Arc::clone(&refuses);
    let cluster = Cluster::start_over(move |service| {
        let pass = move |request: http::Request<kube::client::Body>| {
            let is_creation = request.method() == Method::POST && request.uri().path().ends_with("/pods");
            let refused = is_creation && refusing.load(Ordering::SeqCst);
            let service = service.clone();
            async move {
                if refused {
                    return Err(BoxError::from("connection reset by peer"));
                }
                service.oneshot(request).await.map_err(BoxError::from)
            }
        };
        Client::new(tower::service_fn(pass), "default")
    })
    .await;
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")},
    });
    create(&cluster.api::<StatefulSet>(), set).await;
    let at = |image: &'static str| {
        move |pods: &[Arc<Pod>]| {
            let runs =
                |pod: &Arc<Pod>| pod.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some(image));
            pods.iter().any(|pod| pods::is_ready(pod) && runs(pod))
        }
    };
    cluster.until("a runs", at("a")).await;
    for image in ["b", "c"] {
        cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template(image)}})).await;
        cluster.until("the next runs", at(image)).await;
    }
    cluster
        .until_set("it is done", |set| {
            set.status.as_ref().is_some_and(|status| status.current_revision == status.update_revision)
        })
        .await;

    refuses.store(true, Ordering::SeqCst);
    cluster.patch::<StatefulSet>("web", json!({"spec": {"replicas": 2, "revisionHistoryLimit": 0}})).await;
    let changed = Arc::new(tokio::sync::Notify::new());
    let (revisions, tell) = (&cluster.ctx.caches.controller_revisions, Arc::clone(&changed));
    revisions.on_change(move |_| tell.notify_one());
    let cut = async {
        while revisions.list_in("default").len() > 1 {
            changed.notified().await;
        }
    };
    let cut = tokio::time::timeout(PATIENCE, cut).await;
    assert!(cut.is_ok(), "old revisions stay while a pod cannot be made");
    assert_eq!(cluster.ctx.caches.pods.list_in("default").len(), 1, "it could not be made");
    cluster.stop().await;
}
