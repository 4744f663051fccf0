//! ConfigMaps and Secrets that pods name.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{World, waits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pod_names_is_waited_for_followed_and_nothing_else_is_read() {
    let world = World::start().await;
    for name in ["named", "other"] {
        world.create::<Secret>(json!({"metadata": {"name": name}, "stringData": {"password": "x"}})).await;
    }
    world.create::<ConfigMap>(json!({"metadata": {"name": "unused"}, "data": {"level": "none"}})).await;
    let container = json!({
        "name": "c", "image": crate::world::IMAGE,
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "volumeMounts": [{"name": "files", "mountPath": "/files"}],
    });
    let sources = json!([{"secret": {"name": "named"}}, {"configMap": {"name": "settings", "optional": true}}]);
    let volumes = json!([{"name": "files", "projected": {"sources": sources}}]);
    let uid = world.pod("web-0", json!({"containers": [container], "volumes": volumes})).await;
    let waiting =
        |pod: Option<&_>| pod.and_then(|pod| waits(pod, "c")).as_deref() == Some("CreateContainerConfigError");
    world.until("waiting for its settings", "web-0", waiting).await;

    world.create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"LEVEL": "low"}})).await;
    world.until_running("web-0", &uid).await;
    let started = world.container(&uid, "c").await.expect("it runs").spec;
    assert!(started.env.iter().any(|(name, value)| name == "LEVEL" && value == "low"), "{:?}", started.env);
    let files = started.mounts.iter().find(|mount| mount.destination.ends_with("files")).expect("mounted");
    let shown = |file: &str| std::fs::read_to_string(files.source.join(file)).unwrap_or_default();
    assert_eq!((shown("password").as_str(), shown("LEVEL").as_str()), ("x", "low"));

    let settings: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let change = Patch::Merge(json!({"data": {"LEVEL": "high"}}));
    settings.patch("settings", &PatchParams::default(), &change).await.expect("changed");
    world.eventually("the file follows", async || (shown("LEVEL") == "high").then_some(())).await;

    let asked = world.asked.lock().expect("no test panics here").clone();
    let named = |path: &&String| path.contains("=metadata.name%3Dnamed") || path.contains("=metadata.name%3Dsettings");
    let reads = asked.iter().filter(|path| path.contains("watch=true"));
    let reads = reads.filter(|path| path.contains("/secrets") || path.contains("/configmaps"));
    assert_eq!(reads.clone().filter(named).count(), 2, "one watch for each, however often it is named");
    assert_eq!(reads.filter(|path| !named(path)).collect::<Vec<_>>(), Vec::<&String>::new());

    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_object_can_be_called_does_not_exist() {
    let world = World::start().await;
    let secrets = json!([{"name": "a,b"}, {"name": "c!=d"}]);
    let uid = world.pod("web-0", json!({"imagePullSecrets": secrets})).await;
    world.until_running("web-0", &uid).await;
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_waits_for_an_answer_about_what_it_names_can_be_deleted() {
    let world = World::start().await;
    *world.unanswered.lock().expect("no test panics here") = Some("/secrets?");
    let volumes = json!([{"name": "files", "secret": {"secretName": "settings"}}]);
    world.pod("web-0", json!({"volumes": volumes})).await;
    let asks = || world.asked.lock().expect("no test panics here").iter().any(|path| path.contains("/secrets?"));
    world.eventually("asked for", async || asks().then_some(())).await;
    world.delete("web-0", None).await;
    world.until_gone("web-0").await;
    world.assert_nothing_left().await;
}
