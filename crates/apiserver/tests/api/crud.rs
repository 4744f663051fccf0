//! Create, read, update, delete: what clients rely on, through the in-process service.

use crate::common::{CONFIG_MAPS, Cluster, JSON, PODS, SETS, config_map, pod, stateful_set};
use http::Method;
use serde_json::{Value, json};

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let cluster = Cluster::start().await;
    let created = cluster.create(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(created.code, 201);
    let created = created.ok();
    assert!(created["metadata"]["uid"].is_string());
    assert!(created["metadata"]["creationTimestamp"].is_string());
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(cluster.get(&path).await.ok(), created);

    let mut changed = created.clone();
    changed["data"]["k"] = json!("w");
    let updated = cluster.put(&path, changed.clone()).await.ok();
    assert!(version(&updated) > version(&created));
    assert_eq!(updated["data"]["k"], "w");

    let deleted = cluster.delete(&path).await.ok();
    assert_eq!(deleted["status"], "Success");
    assert_eq!(deleted["details"], json!({"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}));
    let gone = cluster.get(&path).await.refusal();
    assert_eq!(gone, (404, "NotFound".into(), "configmaps \"a\" not found".into()));
}

#[tokio::test]
async fn a_stale_write_is_refused_and_an_unconditional_one_is_not() {
    let cluster = Cluster::start().await;
    let first = cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    cluster.merge(&path, json!({"data": {"k": "2"}})).await.ok();
    let (code, reason, message) = cluster.put(&path, first.clone()).await.refusal();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    let mut unconditional = first.clone();
    unconditional["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
    assert_eq!(cluster.put(&path, unconditional).await.ok()["data"]["k"], "v");

    let mut other = first;
    other["metadata"] = json!({"name": "a", "uid": "someone-else"});
    assert_eq!(cluster.put(&path, other).await.refusal().0, 409);
}

#[tokio::test]
async fn u22_writing_what_is_there_changes_nothing() {
    let cluster = Cluster::start().await;
    let created = cluster.create(SETS, stateful_set("web")).await.ok();
    let path = format!("{SETS}/web");
    assert_eq!(cluster.put(&path, created.clone()).await.ok(), created);
    assert_eq!(cluster.merge(&path, json!({"spec": {"replicas": 2}})).await.ok(), created);
    let scaled = cluster.merge(&path, json!({"spec": {"replicas": 3}})).await.ok();
    assert!(version(&scaled) > version(&created));
    assert_eq!(scaled["metadata"]["generation"], 2);
    let labelled = cluster.merge(&path, json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 2);
    let mut renamed = labelled;
    renamed["spec"]["serviceName"] = json!("other");
    let (code, _, message) = cluster.put(&path, renamed).await.refusal();
    let expected = "StatefulSet.apps \"web\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than \
        'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
        'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    assert_eq!((code, message.as_str()), (422, expected));
}

#[tokio::test]
async fn a_taken_name_says_so_and_a_generated_one_is_found() {
    let cluster = Cluster::start().await;
    cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let (code, reason, message) = cluster.create(CONFIG_MAPS, config_map("a")).await.refusal();
    assert_eq!((code, reason.as_str(), message.as_str()), (409, "AlreadyExists", "configmaps \"a\" already exists"));
    let generated = cluster.create(CONFIG_MAPS, json!({"metadata": {"generateName": "run-"}})).await.ok();
    let name = generated["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("run-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn status_and_spec_do_not_touch_each_other() {
    let cluster = Cluster::start().await;
    let created = cluster.create(SETS, stateful_set("web")).await.ok();
    let path = format!("{SETS}/web");
    let mut both = created.clone();
    both["status"] = json!({"replicas": 7});
    both["spec"]["replicas"] = json!(5);
    let main = cluster.put(&path, both.clone()).await.ok();
    assert_eq!(main["spec"]["replicas"], 5);
    assert_ne!(main["status"]["replicas"], 7);
    both["metadata"]["resourceVersion"] = main["metadata"]["resourceVersion"].clone();
    both["spec"]["replicas"] = json!(9);
    let status = cluster.put(&format!("{path}/status"), both).await.ok();
    assert_eq!(status["spec"]["replicas"], 5);
    assert_eq!(status["status"]["replicas"], 7);
    assert_eq!(status["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let cluster = Cluster::start().await;
    let before = cluster.get(CONFIG_MAPS).await.ok();
    let pretended = cluster.create(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await;
    assert_eq!(pretended.code, 201);
    assert!(pretended.ok()["metadata"]["resourceVersion"].is_null());
    assert_eq!(cluster.get(CONFIG_MAPS).await.ok(), before);
    cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let changed = cluster.merge(&format!("{path}?dryRun=All"), json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(changed["data"]["k"], "w");
    cluster.delete(&format!("{path}?dryRun=All")).await.ok();
    assert_eq!(cluster.get(&path).await.ok()["data"]["k"], "v");
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_passed_over() {
    let cluster = Cluster::start().await;
    let body = r#"{"metadata":{"name":"a"},"data":{"k":"v"},"unknownTop":1,"data":{"k":"w"}}"#;
    let ask = async |mode: &str| {
        let path = format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={mode}");
        cluster.ask(Method::POST, &path, JSON, JSON, body.to_owned()).await
    };
    let (code, _, message) = ask("Strict").await.refusal();
    assert_eq!(code, 400);
    assert!(
        message.ends_with("strict decoding error: unknown field \"unknownTop\", duplicate field \"data\""),
        "{message}"
    );
    let warned = ask("Warn").await;
    assert_eq!(warned.code, 201);
    assert_eq!(
        warned.warnings(),
        ["299 - \"unknown field \\\"unknownTop\\\"\"", "299 - \"duplicate field \\\"data\\\"\""]
    );
    assert_eq!(ask("Ignore").await.warnings(), Vec::<String>::new());
    assert_eq!(ask("Sometimes").await.refusal().0, 422);
}

#[tokio::test]
async fn the_body_must_agree_with_the_path() {
    let cluster = Cluster::start().await;
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    assert_eq!(
        cluster.create(CONFIG_MAPS, elsewhere).await.refusal().2,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    let of_another_kind = json!({"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    assert_eq!(
        cluster.create(CONFIG_MAPS, of_another_kind).await.refusal().2,
        "the API version in the data (apps/v1) does not match the expected API version (v1)"
    );
    cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    assert_eq!(
        cluster.put(&format!("{CONFIG_MAPS}/a"), config_map("b")).await.refusal().2,
        "the name of the object (b) does not match the name on the URL (a)"
    );
    let nowhere = cluster.create("/api/v1/namespaces/nope/configmaps", config_map("a")).await.refusal();
    assert_eq!(nowhere, (404, "NotFound".into(), "namespaces \"nope\" not found".into()));
}

#[tokio::test]
async fn yaml_goes_in_and_comes_out() {
    let cluster = Cluster::start().await;
    let yaml = "application/yaml";
    let body = "metadata:\n  name: a\ndata:\n  k: v\n".to_owned();
    let created = cluster.ask(Method::POST, CONFIG_MAPS, yaml, yaml, body).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(created.headers["content-type"], yaml);
    assert!(created.text.contains("\n  k: v\n"), "{}", created.text);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let cluster = Cluster::start().await;
    let big = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(3 << 20)}});
    let (code, reason, message) = cluster.create(CONFIG_MAPS, big).await.refusal();
    assert_eq!((code, reason.as_str()), (413, "RequestEntityTooLarge"));
    assert_eq!(message, "Request entity too large: limit is 3145728");
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist_say_so() {
    let cluster = Cluster::start().await;
    let unknown = cluster.get("/api/v1/namespaces/default/gizmos").await.refusal();
    assert_eq!(unknown.2, "the server could not find the requested resource");
    assert_eq!(cluster.get("/apis/gizmos.example/v1").await.text, "404 page not found\n");
    let wrong = cluster.ask(Method::POST, &format!("{PODS}/x"), JSON, JSON, "{}".into()).await.refusal();
    assert_eq!((wrong.0, wrong.2.as_str()), (405, "the server does not allow this method on the requested resource"));
}

#[tokio::test]
async fn pods_get_what_admission_gives_them() {
    let cluster = Cluster::start().await;
    let pod = cluster.create(PODS, pod("web-0")).await.ok();
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(pod["spec"]["priority"], 0);
    let keys: Vec<&str> =
        pod["spec"]["tolerations"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[tokio::test]
async fn writers_that_race_all_get_through() {
    let cluster = std::sync::Arc::new(Cluster::start().await);
    cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let mut writers = tokio::task::JoinSet::new();
    for index in 0..8 {
        let cluster = cluster.clone();
        writers.spawn(async move {
            let patch = json!({"data": {(format!("w{index}")): "done"}});
            cluster.merge(&format!("{CONFIG_MAPS}/a"), patch).await.ok();
        });
    }
    writers.join_all().await;
    let data = cluster.get(&format!("{CONFIG_MAPS}/a")).await.ok()["data"].as_object().unwrap().len();
    assert_eq!(data, 9);
}
