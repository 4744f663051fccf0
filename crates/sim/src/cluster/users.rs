//! People at work: what kubectl would do, as functions, and a seeded script that does it at random.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client};
use serde_json::{Value, json};
use stead_plan::statefulset::wishes;

use super::entropy::Dice;
use super::world::World;

/// Namespace of everything people make.
pub(crate) const NAMESPACE: &str = "default";
/// The sets people make at random.
pub(crate) const SETS: [&str; 2] = ["web", "bulk"];
/// Tries before somebody gives up on a server that does not answer.
const TRIES: u32 = 60;

/// What a set is made with.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) replicas: i64,
    pub(crate) parallel: bool,
    pub(crate) unavailable_max: Option<i64>,
    pub(crate) min_ready_s: i64,
    pub(crate) probed: bool,
    pub(crate) claims: bool,
    /// Whether claims go with their set or replica.
    pub(crate) claims_go: bool,
    /// Whether the Service has no address of its own.
    pub(crate) headless: bool,
    /// Whether the Service names replicas that are not ready, too.
    pub(crate) publishes_unready: bool,
}

impl Wish {
    /// The fault list's set: three replicas, OrderedReady, one claim each.
    pub(crate) const WEB: Self = Self {
        name: "web",
        replicas: 3,
        parallel: false,
        unavailable_max: None,
        min_ready_s: 0,
        probed: true,
        claims: true,
        claims_go: false,
        headless: true,
        publishes_unready: false,
    };

    /// Any kind of set.
    pub(crate) fn random(name: &'static str, dice: &Dice) -> Self {
        let claims = dice.permille(700);
        Self {
            name,
            replicas: 1 + i64::try_from(dice.below(4)).unwrap_or(0),
            parallel: dice.permille(300),
            unavailable_max: dice.permille(250).then_some(2),
            min_ready_s: if dice.permille(300) { 6 } else { 0 },
            probed: dice.permille(700),
            claims,
            claims_go: claims && dice.permille(300),
            headless: dice.permille(850),
            publishes_unready: dice.permille(200),
        }
    }

    fn manifest(&self) -> Value {
        let mut container = json!({"name": "c", "image": "app:v0"});
        if self.probed {
            container["readinessProbe"] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1});
        }
        let mut spec = json!({
            "replicas": self.replicas, "serviceName": self.name, "minReadySeconds": self.min_ready_s,
            "selector": {"matchLabels": {"app": self.name}},
            "podManagementPolicy": if self.parallel { "Parallel" } else { "OrderedReady" },
            "template": {
                "metadata": {"labels": {"app": self.name}},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
            },
        });
        if let Some(most) = self.unavailable_max {
            spec["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}});
        }
        if self.claims {
            spec["volumeClaimTemplates"] = claim_templates(1);
        }
        if self.claims_go {
            spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
        }
        json!({"metadata": {"name": self.name}, "spec": spec})
    }
}

/// One claim of so many GiB for each replica.
fn claim_templates(gib: u64) -> Value {
    json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": format!("{gib}Gi")}}},
    }])
}

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

/// Works at random until dropped.
pub(crate) async fn at_work(world: World) {
    let (user, dice) = (User::of(&world), world.dice("user"));
    let wishes = SETS.map(|set| Wish::random(set, &dice));
    for wish in &wishes {
        user.create(wish).await;
    }
    for version in 1_u64.. {
        let pause = if dice.permille(300) { dice.ms(0, 2_000) } else { dice.ms(2_000, 120_000) };
        tokio::time::sleep(pause).await;
        if let Some(wish) = dice.pick(&wishes) {
            one_thing(&user, wish, &dice, version).await;
        }
    }
}

async fn one_thing(user: &User, wish: &Wish, dice: &Dice, version: u64) {
    let set = wish.name;
    let ordinal = dice.below(4);
    let pod = format!("{set}-{ordinal}");
    match dice.below(134) {
        0..22 => user.scale(set, dice.below(5)).await,
        22..42 => user.set_image(set, &format!("app:v{version}")).await,
        42..50 => {
            let kind = dice.pick(&["bad", "mute", "absent"]).copied().unwrap_or("bad");
            user.set_image(set, &format!("app{version}:{kind}")).await;
        }
        50..58 => user.undo(set).await,
        58..66 => user.partition(set, dice.below(4)).await,
        66..78 => user.delete_pod(&pod, false).await,
        78..84 => user.delete_pod(&pod, true).await,
        84..90 if wish.claims => {
            user.delete_claim(&format!("data-{pod}")).await;
            user.delete_pod(&pod, false).await;
        }
        90..96 => {
            let policy = if dice.permille(300) { PropagationPolicy::Orphan } else { PropagationPolicy::Background };
            user.delete_set(set, policy).await;
            tokio::time::sleep(dice.ms(0, 20_000)).await;
            user.create(wish).await;
        }
        96..100 => {
            let node = format!("n{}", 1 + dice.below(3));
            user.cordon(&node, true).await;
            tokio::time::sleep(dice.ms(1_000, 60_000)).await;
            user.cordon(&node, false).await;
        }
        100..102 => user.delete_node(&format!("n{}", 1 + dice.below(3))).await,
        _ => something_more(user, wish, dice, version).await,
    }
}

/// What Kubernetes does not know.
async fn something_more(user: &User, wish: &Wish, dice: &Dice, version: u64) {
    let set = wish.name;
    match dice.below(40) {
        0..6 => {
            user.annotate(set, wishes::PAUSED, Some("true")).await;
            tokio::time::sleep(dice.ms(1_000, 60_000)).await;
            user.annotate(set, wishes::PAUSED, None).await;
        }
        6..12 => user.annotate(set, wishes::RESET, Some(&format!("{}=g{version}", dice.below(4)))).await,
        12..18 => {
            let reserved = dice.pick(&[None, Some("0"), Some("1"), Some("2"), Some("1,3")]).copied().flatten();
            user.annotate(set, wishes::RESERVE_ORDINALS, reserved).await;
        }
        18..21 => {
            let hold = dice.permille(500).then_some("hold");
            user.annotate(set, wishes::PARTITION_RAISE, hold).await;
        }
        21..25 if wish.claims => user.grow(set, 1 + version).await,
        25..29 => user.unavailable(set, 1 + dice.below(3)).await,
        29..33 => {
            let prefetch = dice.pick(&[None, Some("required"), Some("off")]).copied().flatten();
            user.annotate(set, wishes::IMAGE_PREFETCH, prefetch).await;
        }
        33..37 => {
            let hook =
                dice.permille(700).then(|| json!({"exec": {"command": ["retire", version.to_string()]}}).to_string());
            user.annotate(set, wishes::PREPARE_HOOK, hook.as_deref()).await;
        }
        _ => user.recreate(set).await,
    }
}
