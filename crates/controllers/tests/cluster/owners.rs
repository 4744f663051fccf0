//! Owners and what they own: collected, kept, set free, and circles.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::world::World;

/// ConfigMaps that own each other are all it takes.
struct Maps<'a> {
    world: &'a World,
    api: Api<ConfigMap>,
}

impl<'a> Maps<'a> {
    fn of(world: &'a World) -> Self {
        Self { world, api: Api::namespaced(world.client.clone(), "default") }
    }

    async fn create(&self, name: &str, owners: &[&ConfigMap]) -> ConfigMap {
        let references: Vec<Value> = owners.iter().map(|owner| reference(owner)).collect();
        let manifest = json!({"metadata": {"name": name, "labels": {"test": "owners"}, "ownerReferences": references}});
        self.world.create("default", manifest).await
    }

    async fn names(&self) -> String {
        let listed = self.api.list(&ListParams::default().labels("test=owners")).await.expect("listed");
        let names: Vec<String> = listed.items.iter().filter_map(|map| map.metadata.name.clone()).collect();
        names.join(" ")
    }

    /// Waits, on the watch, until exactly these are left.
    async fn until(&self, wanted: &str) {
        let api = Api::<ConfigMap>::namespaced(self.world.client.clone(), "default");
        let scope = stead_client::ListScope { labels: Some("test=owners".to_owned()), fields: None };
        let maps = stead_client::Cache::start(api, scope);
        maps.synced().await;
        self.world
            .until(wanted, &maps, |all| {
                let names: Vec<&str> = all.iter().filter_map(|map| map.metadata.name.as_deref()).collect();
                names.join(" ") == wanted
            })
            .await;
    }

    async fn delete(&self, name: &str, policy: PropagationPolicy) {
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        self.api.delete(name, &params).await.expect("asked for");
    }
}

fn reference(owner: &ConfigMap) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid,
           "blockOwnerDeletion": true})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_takes_dependents_of_dependents_and_nothing_else() {
    let world = World::start().await;
    let maps = Maps::of(&world);
    let a = maps.create("a", &[]).await;
    let other = maps.create("other", &[]).await;
    let b = maps.create("b", &[&a]).await;
    maps.create("c", &[&b]).await;
    maps.create("kept", &[&a, &other]).await;
    maps.create("neighbour", &[&other]).await;
    maps.delete("a", PropagationPolicy::Background).await;
    maps.until("kept neighbour other").await;
    let kept = maps.api.get("kept").await.expect("kept");
    let wait_for_one = async {
        let mut kept = kept;
        while kept.metadata.owner_references.as_ref().map_or(0, Vec::len) != 1 {
            tokio::task::yield_now().await;
            kept = maps.api.get("kept").await.expect("kept");
        }
        kept
    };
    let kept = tokio::time::timeout(std::time::Duration::from_secs(20), wait_for_one).await.expect("released");
    assert_eq!(kept.metadata.owner_references.expect("one")[0].uid, other.metadata.uid.expect("a uid"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_keeps_the_owner_until_its_blocking_dependents_are_gone() {
    let world = World::start().await;
    let maps = Maps::of(&world);
    let a = maps.create("a", &[]).await;
    let b = maps.create("b", &[&a]).await;
    maps.create("c", &[&b]).await;
    let held = json!({"metadata": {"finalizers": ["test.example/hold"]}});
    maps.api.patch("c", &PatchParams::default(), &Patch::Merge(held)).await.expect("held");
    maps.delete("a", PropagationPolicy::Foreground).await;
    let c_going = async {
        while maps.api.get("c").await.expect("held").metadata.deletion_timestamp.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), c_going).await.expect("asked to go");
    assert_eq!(maps.names().await, "a b c", "each waits for the one below");
    let free = json!({"metadata": {"finalizers": []}});
    maps.api.patch("c", &PatchParams::default(), &Patch::Merge(free)).await.expect("let go");
    maps.until("").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay_and_are_free() {
    let world = World::start().await;
    let maps = Maps::of(&world);
    let a = maps.create("a", &[]).await;
    maps.create("b", &[&a]).await;
    maps.create("c", &[&a]).await;
    maps.delete("a", PropagationPolicy::Orphan).await;
    maps.until("b c").await;
    for name in ["b", "c"] {
        let references = maps.api.get(name).await.expect("kept").metadata.owner_references;
        assert!(references.is_none_or(|references| references.is_empty()));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_deleted_in_the_foreground_does_not_hang() {
    let world = World::start().await;
    let maps = Maps::of(&world);
    let a = maps.create("a", &[]).await;
    let b = maps.create("b", &[&a]).await;
    let c = maps.create("c", &[&b]).await;
    let close = json!({"metadata": {"ownerReferences": [reference(&c)]}});
    maps.api.patch("a", &PatchParams::default(), &Patch::Merge(close)).await.expect("closed");
    maps.delete("a", PropagationPolicy::Foreground).await;
    maps.until("").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependent_of_nobody_goes_but_never_one_whose_owner_has_an_unknown_kind() {
    let world = World::start().await;
    let maps = Maps::of(&world);
    let mut ghost = ConfigMap::default();
    ghost.metadata.name = Some("ghost".to_owned());
    ghost.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    let stranger = json!({"metadata": {"name": "stranger", "labels": {"test": "owners"}, "ownerReferences":
        [{"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "99999999-2222-3333-4444-555555555555"}]}});
    world.create::<ConfigMap>("default", stranger).await;
    maps.create("lost", &[&ghost]).await;
    maps.until("stranger").await;
    world.stop().await;
}
