//! People at work: what kubectl would do, as functions.

mod script;
mod wish;

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::world::World;
pub(crate) use script::at_work;
pub(crate) use wish::Wish;
use wish::claim_templates;

/// Namespace of everything people make.
pub(crate) const NAMESPACE: &str = "default";
/// The sets people make at random.
pub(crate) const SETS: [&str; 2] = ["web", "bulk"];
/// Tries before somebody gives up on a server that does not answer.
const TRIES: u32 = 60;

/// Somebody with kubectl.
#[derive(Clone)]
pub(crate) struct User {
    client: Client,
    world: World,
}

impl User {
    /// Somebody in this world.
    pub(crate) fn of(world: &World) -> Self {
        Self { client: world.user(), world: world.clone() }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Tries until the server has answered. A refusal is an answer; it is told.
    async fn ask<T, F>(&self, what: &str, request: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        self.world.story().tell("user", what);
        for _ in 0..TRIES {
            match request().await {
                Ok(answer) => return Some(answer),
                Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                    self.world.story().tell("user", &format!("{what}: refused: {}", status.message));
                    return None;
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        self.world.story().tell("user", &format!("{what}: no answer"));
        None
    }

    /// Makes a set and its Service.
    pub(crate) async fn create(&self, wish: &Wish) {
        let mut service = json!({"metadata": {"name": wish.name}, "spec": {
            "selector": {"app": wish.name}, "ports": [{"name": "p", "port": 80}],
            "publishNotReadyAddresses": wish.publishes_unready}});
        if wish.headless {
            service["spec"]["clusterIP"] = json!("None");
        }
        let service: Service = parse(service);
        let set: StatefulSet = parse(wish.manifest());
        let params = PostParams::default();
        self.ask("create the service", || async { self.api::<Service>().create(&params, &service).await }).await;
        self.ask(&format!("create {wish:?}"), || async { self.api::<StatefulSet>().create(&params, &set).await }).await;
    }

    async fn patch(&self, what: &str, set: &str, patch: Value) {
        let patch = Patch::Strategic(patch);
        self.ask(&format!("{what} of {set}"), || async {
            self.api::<StatefulSet>().patch(set, &PatchParams::default(), &patch).await
        })
        .await;
    }

    /// `kubectl scale`
    pub(crate) async fn scale(&self, set: &str, replicas: u64) {
        self.patch(&format!("scale to {replicas}"), set, json!({"spec": {"replicas": replicas}})).await;
    }

    /// `kubectl set image`
    pub(crate) async fn set_image(&self, set: &str, image: &str) {
        let template = json!({"spec": {"containers": [{"name": "c", "image": image}]}});
        self.patch(&format!("image {image}"), set, json!({"spec": {"template": template}})).await;
    }

    /// `kubectl patch` of the partition.
    pub(crate) async fn partition(&self, set: &str, partition: u64) {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        self.patch(&format!("partition {partition}"), set, json!({"spec": {"updateStrategy": strategy}})).await;
    }

    /// `kubectl patch` of the update strategy to one that takes all old pods away first.
    pub(crate) async fn recreate(&self, set: &str) {
        let strategy = json!({"type": "Recreate", "rollingUpdate": null});
        self.patch("strategy Recreate", set, json!({"spec": {"updateStrategy": strategy}})).await;
    }

    /// `kubectl patch` of the update strategy to one that waits for people to delete pods.
    pub(crate) async fn on_delete(&self, set: &str) {
        let strategy = json!({"type": "OnDelete", "rollingUpdate": null});
        self.patch("strategy OnDelete", set, json!({"spec": {"updateStrategy": strategy}})).await;
    }

    /// `kubectl patch` of the budget.
    pub(crate) async fn unavailable(&self, set: &str, most: u64) {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}});
        self.patch(&format!("maxUnavailable {most}"), set, json!({"spec": {"updateStrategy": strategy}})).await;
    }

    /// `kubectl patch` of the claim templates' size.
    pub(crate) async fn grow(&self, set: &str, gib: u64) {
        self.patch(
            &format!("claims of {gib} GiB"),
            set,
            json!({"spec": {"volumeClaimTemplates": claim_templates(gib)}}),
        )
        .await;
    }

    /// `kubectl annotate`; none takes the annotation away.
    pub(crate) async fn annotate(&self, set: &str, key: &str, value: Option<&str>) {
        self.patch(&format!("{key}={value:?}"), set, json!({"metadata": {"annotations": {key: value}}})).await;
    }

    /// `kubectl rollout undo`
    pub(crate) async fn undo(&self, set: &str) {
        let params = ListParams::default().labels(&format!("app={set}"));
        let list = self.ask("list revisions", || async { self.api::<ControllerRevision>().list(&params).await }).await;
        let mut revisions = list.map(|list| list.items).unwrap_or_default();
        revisions.sort_by_key(|revision| revision.revision);
        let before = revisions.len().checked_sub(2).map(|at| revisions.swap_remove(at));
        if let Some(data) = before.and_then(|revision| revision.data) {
            self.patch("undo", set, data.0).await;
        }
    }

    /// `kubectl delete sts`
    pub(crate) async fn delete_set(&self, set: &str, policy: PropagationPolicy) {
        let params = DeleteParams { propagation_policy: Some(policy.clone()), ..DeleteParams::default() };
        self.ask(&format!("delete {set} ({policy:?})"), || async {
            self.api::<StatefulSet>().delete(set, &params).await
        })
        .await;
    }

    /// `kubectl delete pod`, by force or not.
    pub(crate) async fn delete_pod(&self, pod: &str, force: bool) {
        let what = format!("delete pod {pod}{}", if force { " by force" } else { "" });
        if force
            && let Some(found) = self.ask("look", || async { self.api::<Pod>().get_opt(pod).await }).await.flatten()
        {
            self.world.observer().forced(found.metadata.uid.as_deref().unwrap_or_default());
        }
        let params = DeleteParams { grace_period_seconds: force.then_some(0), ..DeleteParams::default() };
        self.ask(&what, || async { self.api::<Pod>().delete(pod, &params).await }).await;
    }

    /// `kubectl delete pvc`
    pub(crate) async fn delete_claim(&self, claim: &str) {
        self.ask(&format!("delete claim {claim}"), || async {
            self.api::<PersistentVolumeClaim>().delete(claim, &DeleteParams::default()).await
        })
        .await;
    }

    /// `kubectl cordon` and `uncordon`.
    pub(crate) async fn cordon(&self, node: &str, cordoned: bool) {
        let api: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
        self.ask(&format!("cordon {node}: {cordoned}"), || async {
            api.patch(node, &PatchParams::default(), &patch).await
        })
        .await;
    }

    /// `kubectl delete node`
    pub(crate) async fn delete_node(&self, node: &str) {
        let api: Api<Node> = Api::all(self.client.clone());
        self.ask(&format!("delete node {node}"), || async { api.delete(node, &DeleteParams::default()).await }).await;
    }
}

fn parse<K: serde::de::DeserializeOwned>(manifest: Value) -> K {
    serde_json::from_value(manifest).expect("invariant: the manifests of this file are objects")
}
