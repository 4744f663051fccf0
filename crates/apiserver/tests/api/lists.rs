//! Lists: order, pages of one snapshot, expiry.

use std::sync::Arc;

use serde_json::{Value, json};
use stead_apiserver::NoNodes;
use stead_store::Limits;

use crate::common::{CONFIG_MAPS, Cluster, config_map};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

async fn fill(cluster: &Cluster, count: usize) {
    for index in 0..count {
        let mut map = config_map(&format!("m{index:03}"));
        map["metadata"]["labels"] = json!({"even": (index % 2 == 0).to_string()});
        cluster.create(CONFIG_MAPS, map).await.ok();
    }
}

#[tokio::test]
async fn a_list_is_in_order_and_says_its_revision_even_when_empty() {
    let cluster = Cluster::start().await;
    let empty = cluster.get(CONFIG_MAPS).await.ok();
    assert_eq!((empty["kind"].as_str(), &empty["items"]), (Some("ConfigMapList"), &json!([])));
    assert!(empty["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    for name in ["b", "c", "a"] {
        cluster.create(CONFIG_MAPS, config_map(name)).await.ok();
    }
    let list = cluster.get("/api/v1/configmaps").await.ok();
    assert_eq!(names(&list), ["a", "b", "c"]);
    // Items of a list do not repeat the kind.
    assert!(list["items"][0]["kind"].is_null());
    let one = cluster.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db")).await.ok();
    assert_eq!(names(&one), ["b"]);
}

#[tokio::test]
async fn pages_show_one_snapshot_and_count_what_is_left() {
    let cluster = Cluster::start().await;
    fill(&cluster, 40).await;
    let (mut token, mut seen, mut revision) = (String::new(), Vec::new(), None);
    loop {
        let page = cluster.get(&format!("{CONFIG_MAPS}?limit=17&continue={token}")).await.ok();
        let metadata = &page["metadata"];
        assert_eq!(metadata["resourceVersion"], *revision.get_or_insert(metadata["resourceVersion"].clone()));
        seen.extend(names(&page).into_iter().map(str::to_owned));
        // What is written between pages does not show.
        cluster.create(CONFIG_MAPS, config_map(&format!("new{}", seen.len()))).await.ok();
        cluster.delete(&format!("{CONFIG_MAPS}/m039")).await;
        match metadata["continue"].as_str() {
            Some(next) => {
                assert_eq!(metadata["remainingItemCount"], 40 - seen.len());
                token = next.to_owned();
            }
            None => {
                assert!(metadata["remainingItemCount"].is_null());
                break;
            }
        }
    }
    let expected: Vec<String> = (0..40).map(|index| format!("m{index:03}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn filtered_pages_are_full_and_complete() {
    let cluster = Cluster::start().await;
    fill(&cluster, 21).await;
    let query = "labelSelector=even%3Dtrue&limit=5";
    let first = cluster.get(&format!("{CONFIG_MAPS}?{query}")).await.ok();
    assert_eq!(names(&first), ["m000", "m002", "m004", "m006", "m008"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = cluster.get(&format!("{CONFIG_MAPS}?{query}&continue={token}")).await.ok();
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = cluster.get(&format!("{CONFIG_MAPS}?{query}&continue={token}")).await.ok();
    assert_eq!(names(&third), ["m020"]);
    assert!(third["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn an_expired_token_comes_with_one_that_goes_on_at_a_new_revision() {
    let limits = Limits { history_events_max: 4, ..Limits::default() };
    let cluster = Cluster::start_with(limits, Arc::new(NoNodes)).await;
    fill(&cluster, 6).await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    for index in 6..14 {
        cluster.create(CONFIG_MAPS, config_map(&format!("m{index:03}"))).await.ok();
    }
    let expired = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!(expired.code, 410);
    let status = expired.json();
    assert_eq!(status["reason"], "Expired");
    let token = status["metadata"]["continue"].as_str().unwrap();
    let rest = cluster.get(&format!("{CONFIG_MAPS}?continue={token}")).await.ok();
    assert_eq!(names(&rest).first().copied(), Some("m002"));
    assert_eq!(names(&rest).last().copied(), Some("m013"));
}

#[tokio::test]
async fn a_list_at_a_revision_is_that_revision() {
    let cluster = Cluster::start().await;
    cluster.create(CONFIG_MAPS, config_map("a")).await.ok();
    let then = cluster.get(CONFIG_MAPS).await.ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    cluster.create(CONFIG_MAPS, config_map("b")).await.ok();
    let exact = format!("{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=Exact");
    assert_eq!(names(&cluster.get(&exact).await.ok()), ["a"]);
    let newer = format!("{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&cluster.get(&newer).await.ok()), ["a", "b"]);
    let alone = cluster.get(&format!("{CONFIG_MAPS}?resourceVersionMatch=Exact")).await.refusal();
    assert_eq!(
        alone.2,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden \
         unless resourceVersion is provided"
    );
}
