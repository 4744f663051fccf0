//! What is on its way out: pods that cannot go yet.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_while_a_terminating_pod_waits_for_a_finalizer() {
    let world = World::start().await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "c", "image": "x:1"}]}});
    world.create::<Pod>("default", held).await;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    pods.delete("held", &DeleteParams::default()).await.expect("marked");
    // Fails when writing does not end.
    world.quiet().await;
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("held", &PatchParams::default(), &freed).await.expect("freed");
    world.until("the pod gone", &world.ctx.caches.pods, <[_]>::is_empty).await;
    world.stop().await;
}
