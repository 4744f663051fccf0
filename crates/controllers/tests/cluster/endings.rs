//! What is on its way out: pods that cannot go yet, namespaces that something is created in meanwhile,
//! events that have had their time.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use stead_client::{Cache, ListScope};
use stead_controllers::events::{self, Limits};
use tokio_util::sync::CancellationToken;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_created_while_a_namespace_goes_outlives_it() {
    const ROUNDS: usize = 40;
    const WRITERS: usize = 4;
    const CREATES_MAX: usize = 200;
    let world = World::start().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    for round in 0..ROUNDS {
        let name = format!("shop-{round}");
        let made = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a Namespace");
        namespaces.create(&PostParams::default(), &made).await.expect("created");
        let writers = (0..WRITERS).map(|writer| {
            let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &name);
            tokio::spawn(async move {
                for nth in 0..CREATES_MAX {
                    let map = json!({"metadata": {"name": format!("m-{writer}-{nth}")}});
                    let map = serde_json::from_value(map).expect("a ConfigMap");
                    if maps.create(&PostParams::default(), &map).await.is_err() {
                        break;
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        namespaces.delete(&name, &DeleteParams::default()).await.expect("marked");
        for writer in writers {
            writer.await.expect("no panic");
        }
    }
    let is_shop = |name: &str| name.starts_with("shop-");
    let left = |all: &[std::sync::Arc<Namespace>]| {
        all.iter().filter_map(|held| held.metadata.name.clone()).filter(|name| is_shop(name)).count()
    };
    world.until("all shops closed", &world.ctx.caches.namespaces, |all| left(all) == 0).await;
    world.quiet().await;
    let maps: Api<ConfigMap> = Api::all(world.client.clone());
    let listed = maps.list(&ListParams::default()).await.expect("listed");
    let orphans: BTreeSet<String> = listed
        .items
        .into_iter()
        .filter(|map| map.metadata.namespace.as_deref().is_some_and(is_shop))
        .map(|map| format!("{:?}/{:?}", map.metadata.namespace, map.metadata.name))
        .collect();
    assert_eq!(orphans, BTreeSet::new(), "left in namespaces that are no more");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_goes_when_it_has_not_happened_for_its_lifetime_and_the_oldest_go_when_they_are_too_many() {
    const COUNT_MAX: usize = 20;
    let world = World::start().await;
    let events: Cache<Event> = Cache::start(Api::namespaced(world.client.clone(), "default"), ListScope::default());
    let event = |name: String| {
        json!({"metadata": {"name": name}, "reason": "R", "type": "Normal",
               "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}})
    };
    let with = |lifetime_s: u64, count_max: usize| {
        let (shutdown, limits) =
            (CancellationToken::new(), Limits { lifetime: Duration::from_secs(lifetime_s), count_max });
        (tokio::spawn(events::run(world.ctx.clone(), limits, shutdown.clone())), shutdown)
    };

    let (keeping, shutdown) = with(3_600, COUNT_MAX);
    for nth in 0..=COUNT_MAX {
        world.create::<Event>("default", event(format!("e-{nth}"))).await;
    }
    let kept = COUNT_MAX * 9 / 10;
    world.until("the oldest gone", &events, |all| all.len() == kept).await;
    assert!(events.get("default", "e-0").is_none() && events.get("default", &format!("e-{COUNT_MAX}")).is_some());
    shutdown.cancel();
    keeping.await.expect("ended well");

    let (keeping, shutdown) = with(1, COUNT_MAX);
    world.until("their time over", &events, <[_]>::is_empty).await;
    shutdown.cancel();
    keeping.await.expect("ended well");
    world.stop().await;
}
