//! Watches: exactly the changes that concern the watcher, in order, or an honest end.

use std::sync::Arc;

use serde_json::{Value, json};
use stead_apiserver::NoNodes;
use stead_store::Limits;

use crate::common::{CONFIG_MAPS, Cluster, PODS, Watcher, config_map, pod};

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn changes(watch: &mut Watcher, count: usize) -> Vec<(String, String, u64)> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(watch.change().await);
    }
    seen
}

#[tokio::test]
async fn a_watch_from_any_revision_is_exactly_what_came_after_it() {
    let cluster = Cluster::start().await;
    let mut log = Vec::new();
    for round in 0..4 {
        let created = cluster.create(CONFIG_MAPS, config_map(&format!("m{round}"))).await.ok();
        log.push(("ADDED".to_owned(), format!("m{round}"), version(&created)));
        let changed = cluster.merge(&format!("{CONFIG_MAPS}/m{round}"), json!({"data": {"k": "w"}})).await.ok();
        log.push(("MODIFIED".to_owned(), format!("m{round}"), version(&changed)));
        // Another kind's write leaves a gap in the revisions, not in the watch.
        cluster.create(PODS, pod(&format!("p{round}"))).await.ok();
    }
    cluster.delete(&format!("{CONFIG_MAPS}/m0")).await.ok();
    let newest = version(&cluster.get(CONFIG_MAPS).await.ok());
    log.push(("DELETED".to_owned(), "m0".to_owned(), newest));
    for (index, (_, _, from)) in log.iter().enumerate() {
        let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}")).await;
        assert_eq!(changes(&mut watch, log.len() - index - 1).await, log[index + 1..]);
    }
}

#[tokio::test]
async fn without_a_revision_the_present_state_comes_first() {
    let cluster = Cluster::start().await;
    for name in ["b", "a"] {
        cluster.create(CONFIG_MAPS, config_map(name)).await.ok();
    }
    for revision in ["", "&resourceVersion=0"] {
        let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1{revision}")).await;
        let seen: Vec<_> = changes(&mut watch, 2).await.into_iter().map(|(type_, name, _)| (type_, name)).collect();
        assert_eq!(seen, [("ADDED".into(), "a".into()), ("ADDED".into(), "b".into())]);
    }
}

#[tokio::test]
async fn the_end_of_the_present_state_is_announced_also_when_it_is_empty() {
    let cluster = Cluster::start().await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut empty = cluster.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    let end = empty.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["kind"], "ConfigMap");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let revision = version(&end["object"]);

    let created = cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    assert_eq!(empty.change().await, ("ADDED".into(), "a".into(), version(&created)));
    assert!(revision < version(&created));

    let mut filled = cluster.watch(&format!("{CONFIG_MAPS}?{query}&resourceVersion=")).await;
    assert_eq!(filled.next().await.unwrap()["type"], "ADDED");
    assert_eq!(filled.next().await.unwrap()["type"], "BOOKMARK");
    let refused = cluster.get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true")).await.refusal();
    assert_eq!(refused.0, 422);
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_and_one_that_matches_again_is_added() {
    let cluster = Cluster::start().await;
    let start = version(&cluster.get(PODS).await.ok());
    let mut watch = cluster.watch(&format!("{PODS}?watch=1&resourceVersion={start}&labelSelector=app+in+(web)")).await;
    let path = format!("{PODS}/p");
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    let added = version(&cluster.create(PODS, pod("p")).await.ok());
    let left = version(&cluster.merge(&path, label("db")).await.ok());
    cluster.merge(&path, label("cache")).await.ok();
    let back = version(&cluster.merge(&path, label("web")).await.ok());

    assert_eq!(watch.change().await, ("ADDED".into(), "p".into(), added));
    let gone = watch.next().await.unwrap();
    // The last state that matched, at the revision at which it stopped to.
    assert_eq!((gone["type"].as_str(), version(&gone["object"])), (Some("DELETED"), left));
    assert_eq!(gone["object"]["metadata"]["labels"]["app"], "web");
    assert_eq!(watch.change().await, ("ADDED".into(), "p".into(), back));
}

#[tokio::test]
async fn field_selectors_select() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.watch(&format!("{PODS}?watch=1&fieldSelector=spec.nodeName%3Done")).await;
    cluster.create(PODS, pod("a")).await.ok();
    let mut bound = pod("b");
    bound["spec"]["nodeName"] = json!("one");
    cluster.create(PODS, bound).await.ok();
    assert_eq!(watch.change().await.1, "b");
    let refused = cluster.get(&format!("{PODS}?fieldSelector=spec.wrong%3D1")).await.refusal();
    assert_eq!((refused.0, refused.2.as_str()), (400, "field label not supported: spec.wrong"));
}

#[tokio::test]
async fn a_watch_from_before_the_kept_history_is_refused_with_410() {
    let limits = Limits { history_events_max: 4, ..Limits::default() };
    let cluster = Cluster::start_with(limits, Arc::new(NoNodes)).await;
    let first = version(&cluster.create(CONFIG_MAPS, config_map("a")).await.ok());
    for value in 0..8 {
        cluster.merge(&format!("{CONFIG_MAPS}/a"), json!({"data": {"k": value.to_string()}})).await.ok();
    }
    let (code, reason, message) =
        cluster.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={first}")).await.refusal();
    assert_eq!((code, reason.as_str()), (410, "Expired"));
    assert!(message.starts_with(&format!("too old resource version: {first} (")), "{message}");
    let future = cluster.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=999999")).await.refusal();
    assert_eq!((future.0, future.1.as_str()), (504, "Timeout"));
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_so_and_closed() {
    let limits = Limits { watch_events_max: 3, history_events_max: 4, ..Limits::default() };
    let cluster = Cluster::start_with(limits, Arc::new(NoNodes)).await;
    let start = version(&cluster.create(CONFIG_MAPS, config_map("a")).await.ok());
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={start}")).await;
    for value in 0..16 {
        cluster.merge(&format!("{CONFIG_MAPS}/a"), json!({"data": {"k": value.to_string()}})).await.ok();
    }
    let mut last = start;
    loop {
        let event = watch.next().await.expect("an error comes before the end");
        if event["type"] == "ERROR" {
            assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
            break;
        }
        // Until then, not one change is left out.
        assert_eq!(version(&event["object"]), last + 1);
        last += 1;
    }
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_to_idle_watchers_and_the_watch_ends_when_it_should() {
    let cluster = Cluster::start().await;
    let start = version(&cluster.get(CONFIG_MAPS).await.ok());
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={start}&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut watch = cluster.watch(&path).await;
    // A write elsewhere moves the bookmark on.
    let elsewhere = version(&cluster.create(PODS, pod("p")).await.ok());
    let bookmark = watch.next().await.unwrap();
    assert_eq!((bookmark["type"].as_str(), version(&bookmark["object"])), (Some("BOOKMARK"), elsewhere));
    assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_should_never_end_and_one_without_a_time_both_go_on() {
    let cluster = Cluster::start().await;
    for seconds in [i64::MAX, 0] {
        let path = format!("{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion=0&timeoutSeconds={seconds}");
        let mut watch = cluster.watch(&path).await;
        while watch.next().await.expect("it goes on")["type"] != "BOOKMARK" {}
    }
}

#[tokio::test]
async fn a_deleted_event_carries_the_last_state_at_the_revision_of_the_deletion() {
    let cluster = Cluster::start().await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("one");
    let created = version(&cluster.create(PODS, bound).await.ok());
    let mut watch = cluster.watch(&format!("{PODS}?watch=1&resourceVersion={created}")).await;
    cluster.delete(&format!("{PODS}/p")).await.ok();
    cluster.delete_with(&format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(watch.change().await.0, "MODIFIED");
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert!(gone["object"]["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(version(&gone["object"]), version(&cluster.get(PODS).await.ok()));
}
