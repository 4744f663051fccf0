//! Claims that may not be used (contract `statefulset.md`, F7 and S1).

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s01_a_replica_comes_as_soon_as_the_claim_of_its_predecessor_is_gone() {
    let cluster = Cluster::start().await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "gone", "controller": true});
    create(
        &claims,
        json!({
            "metadata": {"name": "data-web-0", "finalizers": ["example.com/backup"], "ownerReferences": [owner]},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }),
    )
    .await;
    create(&cluster.api::<StatefulSet>(), web(1)).await;
    cluster
        .until_set("it waits for the claim", |set| {
            let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.reason.as_deref() == Some("ClaimStale"))
        })
        .await;
    // Nothing else happens to the set and its pods from here on.
    cluster.patch::<PersistentVolumeClaim>("data-web-0", json!({"metadata": {"finalizers": null}})).await;
    cluster.until("it comes", |pods| are(pods, &["web-0@a ready"])).await;
    cluster.stop().await;
}
