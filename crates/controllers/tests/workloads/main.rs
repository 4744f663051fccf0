//! StatefulSets and Deployments against the real API and store, in process, with a node that brings
//! every pod up at once (unless its image is called `broken`) and takes it down when asked.

mod beyond;
mod claims;
mod history;
mod lost_answers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Namespace, PersistentVolumeClaim, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stead_apiserver::{ApiServer, Config, Identity, LocalService, NoNodes};
use stead_client::{ObjectKey, WorkQueue};
use stead_controllers::{Context, deployment, gc, replicaset, statefulset};
use stead_plan::pods;
use stead_store::{Embedded, Limits};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct Cluster {
    ctx: Context,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    _directory: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_over(|service| Client::new(service, "default")).await
    }

    /// The same; `link` is the way to the server.
    async fn start_over(link: impl FnOnce(LocalService<Embedded>) -> Client) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Arc::new(Embedded::open(directory.path(), Limits::default()).expect("an empty store"));
        let server = ApiServer::new(Config::default(), store, Arc::new(NoNodes));
        let client = link(server.local_service(Identity::component("system:test")));
        let namespaces: Api<Namespace> = Api::all(client.clone());
        create(&namespaces, json!({"metadata": {"name": "default"}})).await;
        let ctx = Context::start(client);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(statefulset::run(ctx.clone(), shutdown.clone()));
        tasks.spawn(replicaset::run(ctx.clone(), shutdown.clone()));
        tasks.spawn(deployment::run(ctx.clone(), shutdown.clone()));
        tasks.spawn(gc::run(ctx.clone(), shutdown.clone()));
        tasks.spawn(node(ctx.clone(), shutdown.clone()));
        Self { ctx, shutdown, tasks, _directory: directory }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.ctx.client.clone(), "default")
    }

    async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let patched = self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.expect("the patch is accepted");
    }

    /// Waits until `holds` of the pods, looking again after every change of one.
    async fn until(&self, what: &str, holds: impl Fn(&[Arc<Pod>]) -> bool) {
        let changed = Arc::new(tokio::sync::Notify::new());
        let tell = Arc::clone(&changed);
        self.ctx.caches.pods.on_change(move |_| tell.notify_one());
        let waiting = async {
            while !holds(&self.ctx.caches.pods.list_in("default")) {
                changed.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let pods: Vec<String> = self.ctx.caches.pods.list().iter().map(|pod| describe(pod)).collect();
            panic!("waited in vain until {what}: {pods:#?}");
        }
    }

    /// Waits until `holds` of the set.
    async fn until_set(&self, what: &str, holds: impl Fn(&StatefulSet) -> bool) {
        let sets = &self.ctx.caches.stateful_sets;
        let changed = Arc::new(tokio::sync::Notify::new());
        let tell = Arc::clone(&changed);
        sets.on_change(move |_| tell.notify_one());
        let waiting = async {
            while !sets.get("default", "web").is_some_and(|set| holds(&set)) {
                changed.notified().await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            done.is_ok(),
            "waited in vain until {what}: {:#?}",
            sets.get("default", "web").map(|set| set.status.clone())
        );
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + serde::Serialize + DeserializeOwned + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).expect("a well-formed object");
    api.create(&PostParams::default(), &object).await.expect("the object is accepted");
}

/// A node for all pods.
async fn node(ctx: Context, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    let changed = queue.clone();
    ctx.caches.pods.on_change(move |change| changed.add(ObjectKey::of(change.object().as_ref())));
    let handler = move |key: ObjectKey| {
        let ctx = ctx.clone();
        async move { tend(&ctx, &key).await }
    };
    queue.run(4, shutdown, handler).await;
}

/// Binds, starts or removes one pod, whichever is next.
async fn tend(ctx: &Context, key: &ObjectKey) -> kube::Result<()> {
    let Some(pod) = ctx.caches.pods.get_key(key) else { return Ok(()) };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &key.namespace);
    let spec = pod.spec.clone().unwrap_or_default();
    if pods::is_terminating(&pod) {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        return match api.delete(&key.name, &now).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        };
    }
    if spec.node_name.is_none() {
        let binding = json!({"metadata": {"name": key.name}, "target": {"kind": "Node", "name": "node"}});
        let bound =
            api.create_subresource::<Value, Value>("binding", &key.name, &PostParams::default(), &binding).await;
        return bound.map(drop);
    }
    let works = spec.containers.iter().all(|container| container.image.as_deref() != Some("broken"));
    if pods::phase(&pod) == pods::Phase::Pending || pods::is_ready(&pod) != works {
        let mut pod = Pod::clone(&pod);
        let status = pod.status.get_or_insert_default();
        status.phase = Some("Running".to_owned());
        let now = Time(Timestamp::now());
        status.start_time.get_or_insert(now.clone());
        status.conditions = Some(vec![PodCondition {
            type_: "Ready".to_owned(),
            status: if works { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(now),
            ..PodCondition::default()
        }]);
        return api.replace_status(&key.name, &PostParams::default(), &pod).await.map(drop);
    }
    Ok(())
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn image(pod: &Pod) -> &str {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.first().and_then(|container| container.image.as_deref()).unwrap_or_default()
}

fn describe(pod: &Pod) -> String {
    let state = match (pods::is_terminating(pod), pods::is_ready(pod)) {
        (true, _) => "terminating",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    format!("{}@{} {state}", name(pod), image(pod))
}

/// Whether exactly these pods exist, written as [`describe`] does.
fn are(pods: &[Arc<Pod>], wanted: &[&str]) -> bool {
    pods.iter().map(|pod| describe(pod)).eq(wanted.iter().map(ToString::to_string))
}

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

fn web(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("a"),
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_lives_its_life() {
    let cluster = Cluster::start().await;
    create(&cluster.api::<StatefulSet>(), web(3)).await;
    cluster
        .until("three replicas are up", |pods| are(pods, &["web-0@a ready", "web-1@a ready", "web-2@a ready"]))
        .await;
    cluster
        .until_set("the status says so", |set| {
            let status = set.status.clone().unwrap_or_default();
            status.ready_replicas == Some(3)
                && status.updated_replicas == Some(3)
                && status.observed_generation == Some(1)
        })
        .await;
    let claims = cluster.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.expect("claims").items;
    let claim_uids: BTreeMap<_, _> =
        claims.iter().map(|claim| (claim.metadata.name.clone(), claim.metadata.uid.clone())).collect();
    assert_eq!(claim_uids.keys().flatten().collect::<Vec<_>>(), ["data-web-0", "data-web-1", "data-web-2"]);

    // An update, a broken one, and the way back without deleting a pod by hand.
    cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template("b")}})).await;
    cluster.until("all are updated", |pods| are(pods, &["web-0@b ready", "web-1@b ready", "web-2@b ready"])).await;
    cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template("broken")}})).await;
    cluster
        .until("the update is stuck at the top", |pods| {
            are(pods, &["web-0@b ready", "web-1@b ready", "web-2@broken not ready"])
        })
        .await;
    cluster.patch::<StatefulSet>("web", json!({"spec": {"template": template("b")}})).await;
    cluster.until("it has healed", |pods| are(pods, &["web-0@b ready", "web-1@b ready", "web-2@b ready"])).await;

    // Down and up again: the same claims.
    cluster.patch::<StatefulSet>("web", json!({"spec": {"replicas": 1}})).await;
    cluster.until("one is left", |pods| are(pods, &["web-0@b ready"])).await;
    cluster.patch::<StatefulSet>("web", json!({"spec": {"replicas": 3}})).await;
    cluster.until("all are back", |pods| are(pods, &["web-0@b ready", "web-1@b ready", "web-2@b ready"])).await;
    let claims = cluster.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.expect("claims").items;
    let again: BTreeMap<_, _> =
        claims.iter().map(|claim| (claim.metadata.name.clone(), claim.metadata.uid.clone())).collect();
    assert_eq!(again, claim_uids, "claims are kept");

    let revisions = cluster.api::<ControllerRevision>().list(&ListParams::default()).await.expect("revisions").items;
    let mut numbers: Vec<_> = revisions.iter().map(|revision| revision.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 3, 4], "going back renumbers the old revision");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parallel_set_comes_up_at_once_and_goes_with_its_deletion() {
    let cluster = Cluster::start().await;
    let mut set = web(20);
    set["spec"]["podManagementPolicy"] = json!("Parallel");
    create(&cluster.api::<StatefulSet>(), set).await;
    cluster.until("twenty are up", |pods| pods.len() == 20 && pods.iter().all(|pod| pods::is_ready(pod))).await;
    cluster.api::<StatefulSet>().delete("web", &DeleteParams::default()).await.expect("deleted");
    cluster.until("all pods are gone", <[Arc<Pod>]>::is_empty).await;
    let claims = cluster.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.expect("claims").items;
    assert_eq!(claims.len(), 20, "claims outlive their set");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_and_goes() {
    let cluster = Cluster::start().await;
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("a")},
    });
    create(&cluster.api::<Deployment>(), deployment).await;
    let all = |wanted: &'static str| {
        move |pods: &[Arc<Pod>]| pods.len() == 3 && pods.iter().all(|pod| image(pod) == wanted && pods::is_ready(pod))
    };
    cluster.until("three pods are up", all("a")).await;
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.expect("sets").items;
    let set = sets[0].metadata.name.clone().unwrap_or_default();
    for pod in cluster.ctx.caches.pods.list_in("default") {
        let suffix = name(&pod).strip_prefix(&format!("{set}-")).map(str::len);
        assert_eq!(suffix, Some(5), "{} is named at random after its set", name(&pod));
    }
    cluster.patch::<Deployment>("web", json!({"spec": {"template": template("b")}})).await;
    cluster.until("three updated pods are up", all("b")).await;
    let live = cluster.api::<Deployment>().get("web").await.expect("the deployment");
    let revision = live.metadata.annotations.unwrap_or_default().get(stead_plan::deployment::REVISION).cloned();
    assert_eq!(revision.as_deref(), Some("2"));
    cluster.api::<Deployment>().delete("web", &DeleteParams::default()).await.expect("deleted");
    cluster.until("all pods are gone", <[Arc<Pod>]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_of_claims_and_pods() {
    let cluster = Cluster::start().await;
    create(&cluster.api::<StatefulSet>(), web(1)).await;
    cluster.until("the replica is up", |pods| are(pods, &["web-0@a ready"])).await;
    let wanted = [
        "Create Claim data-web-0 Pod web-0 in StatefulSet web success",
        "Create Pod web-0 in StatefulSet web successful",
    ];
    let told = async {
        loop {
            let events = cluster.api::<Event>().list(&ListParams::default()).await.expect("events").items;
            let messages: Vec<_> = events.into_iter().filter_map(|event| event.message).collect();
            if wanted.iter().all(|text| messages.iter().any(|message| message == text)) {
                return;
            }
            // Events are written in the background; there is nothing to wait on but them.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the events appear");
    cluster.stop().await;
}
