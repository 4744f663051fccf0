//! Where pods go, and what is said when they go nowhere.

use std::collections::HashMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::*;

mod facts;
mod scores;
mod volumes;

#[derive(Default)]
struct World {
    cluster: Cluster,
    claims: HashMap<String, Arc<PersistentVolumeClaim>>,
    volumes: Vec<Arc<PersistentVolume>>,
    classes: Vec<Arc<StorageClass>>,
}

impl Volumes for World {
    fn claim(&self, _namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.claims.get(name).cloned()
    }
    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(name)).cloned()
    }
    fn volumes_of_class(&self, class: &str) -> Vec<Arc<PersistentVolume>> {
        let of_class = self.volumes.iter().filter(|volume| crate::claims::class_of_volume(volume) == class);
        of_class.cloned().collect()
    }
    fn class(&self, name: &str) -> Option<Arc<StorageClass>> {
        self.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)).cloned()
    }
}

impl World {
    fn node(mut self, name: &str, extra: Value) -> Self {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
        });
        for (key, value) in extra.as_object().expect("an object") {
            node[key] = value.clone();
        }
        self.cluster.set_node(&Arc::new(serde_json::from_value(node).expect("a Node")));
        self
    }

    fn running(mut self, uid: &str, node: &str, spec: Value) -> Self {
        let mut pod = pod(spec);
        pod.metadata.uid = Some(uid.to_owned());
        self.cluster.place(&pod, node);
        self
    }

    fn claim(mut self, name: &str, extra: Value) -> Self {
        let mut claim = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                     "resources": {"requests": {"storage": "1Gi"}}},
        });
        for (key, value) in extra.as_object().expect("an object") {
            for (field, value) in value.as_object().expect("an object") {
                claim[key][field] = value.clone();
            }
        }
        self.claims.insert(name.to_owned(), Arc::new(serde_json::from_value(claim).expect("a claim")));
        self
    }

    fn bound(self, name: &str, volume: &str) -> Self {
        let yes = json!({crate::claims::BIND_COMPLETED_ANNOTATION: "yes"});
        self.claim(name, json!({"metadata": {"annotations": yes}, "spec": {"volumeName": volume}}))
    }

    fn volume(mut self, name: &str, host: &str) -> Self {
        let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]});
        let volume = json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local", "capacity": {"storage": "1Gi"},
                     "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
            "status": {"phase": "Available"},
        });
        self.volumes.push(Arc::new(serde_json::from_value(volume).expect("a volume")));
        self
    }

    fn class(mut self, mode: &str, provisioner: &str) -> Self {
        let class = json!({"metadata": {"name": "local"}, "provisioner": provisioner, "volumeBindingMode": mode});
        self.classes.push(Arc::new(serde_json::from_value(class).expect("a class")));
        self
    }

    fn decide(&self, spec: Value) -> String {
        match decide(&self.cluster, &pod(spec), self, Seed::default()) {
            Decision::Bind { node } => format!("bind to {node}"),
            Decision::Unschedulable { message } => message,
            Decision::Prepare { node, steps } => {
                let texts: Vec<String> = steps.iter().map(show_step).collect();
                format!("prepare {node}: {}", texts.join(", "))
            }
        }
    }

    fn check(&self, spec: Value, wanted: &Expect) {
        wanted.assert_eq(&self.decide(spec));
    }
}

fn show_step(step: &VolumeStep) -> String {
    let told = |claim: &PersistentVolumeClaim| {
        let node = crate::claims::selected_node(claim).unwrap_or_default();
        format!("{} on {node}", claim.metadata.name.as_deref().unwrap_or_default())
    };
    match step {
        VolumeStep::Reserve(volume) => {
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.name.clone());
            format!("reserve {name} for {}", claim.unwrap_or_default())
        }
        VolumeStep::SelectNode(claim) => format!("tell {}", told(claim)),
        VolumeStep::Provision(claim) => format!("provision {}", told(claim)),
    }
}

fn pod(spec: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "new"}, "spec": {"containers": []}});
    for (key, value) in spec.as_object().expect("an object") {
        pod["spec"][key] = value.clone();
    }
    serde_json::from_value(pod).expect("a Pod")
}

fn asks(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
}

fn uses(claims: &[&str]) -> Value {
    let volume = |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    json!({"volumes": claims.iter().map(volume).collect::<Vec<_>>()})
}

#[test]
fn without_nodes_there_is_little_to_say() {
    World::default().check(json!({}), &expect!["no nodes available to schedule pods"]);
}

#[test]
fn room_is_counted_by_requests_alone() {
    let world = World::default().node("n1", json!({})).running("a", "n1", asks("1500m", "1Gi"));
    world.check(asks("500m", "3Gi"), &expect!["bind to n1"]);
    world.check(
        asks("501m", "4Gi"),
        &expect!["0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."],
    );
    world.check(
        asks("3", "1Gi"),
        &expect!["0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
    );
    world.check(
        json!({"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]}),
        &expect!["0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
    );
}

#[test]
fn init_containers_count_at_their_peak_and_sidecars_for_good() {
    let world = World::default().node("n1", json!({}));
    let request = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let spec = |init: &str, sidecar: &str, main: &str| {
        json!({"initContainers": [{"name": "s", "restartPolicy": "Always", "resources": request(sidecar)},
                                  {"name": "i", "resources": request(init)}],
               "containers": [{"name": "c", "resources": request(main)}]})
    };
    assert_eq!(world.decide(spec("1500m", "500m", "1")), "bind to n1");
    assert!(world.decide(spec("1600m", "500m", "1")).contains("Insufficient cpu"), "sidecar and init run together");
    assert!(world.decide(spec("1", "1", "1001m")).contains("Insufficient cpu"), "sidecar and main run together");
}

#[test]
fn a_node_takes_only_so_many_pods_and_finished_ones_do_not_count() {
    let small = json!({"status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "1"}}});
    let mut world = World::default().node("n1", small).running("a", "n1", json!({}));
    world.check(
        json!({}),
        &expect!["0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."],
    );
    let mut finished = pod(json!({}));
    finished.metadata.uid = Some("a".to_owned());
    finished.status = serde_json::from_value(json!({"phase": "Succeeded"})).expect("a status");
    world.cluster.place(&finished, "n1");
    world.check(json!({}), &expect!["bind to n1"]);
    let none = json!({"status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "0"}}});
    World::default().node("n1", none).check(
        json!({}),
        &expect!["0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
    );
}

#[test]
fn a_node_that_has_become_too_small_still_takes_what_asks_for_none_of_what_is_short() {
    let world = World::default().node("n1", json!({})).running("a", "n1", asks("2", "1Gi"));
    let world = world.node("n1", json!({"status": {"allocatable": {"cpu": "1", "memory": "4Gi", "pods": "10"}}}));
    assert_eq!(world.decide(asks("0", "1Gi")), "bind to n1");
    assert!(world.decide(asks("1m", "1Gi")).contains("Insufficient cpu"));
}

#[test]
fn each_reason_is_counted_and_reasons_are_sorted_as_text() {
    let taint = json!({"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]});
    let mut world = World::default().node("cordoned", json!({"spec": {"unschedulable": true}}));
    for n in 0..10 {
        world = world.node(&format!("tainted-{n}"), json!({"spec": taint}));
    }
    for n in 0..2 {
        world = world.node(&format!("full-{n}"), json!({})).running(
            &format!("p{n}"),
            &format!("full-{n}"),
            asks("2", "1Gi"),
        );
    }
    world.check(
        asks("1", "1Gi"),
        &expect!["0/13 nodes are available: 1 node(s) were unschedulable, 10 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/13 nodes are available: 11 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."],
    );
    let mut never = asks("1", "1Gi");
    never["preemptionPolicy"] = json!("Never");
    assert!(world.decide(never).ends_with("preemption: not eligible due to preemptionPolicy=Never."));
}

#[test]
fn tolerations_selectors_and_affinity() {
    let taint = json!({"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]});
    let labels = json!({"name": "n1", "labels": {"disk": "ssd", "gen": "7"}});
    let world = World::default().node("n1", json!({"spec": taint, "metadata": labels}));
    let tolerate = |toleration: Value| world.decide(json!({"tolerations": [toleration]})).starts_with("bind");
    assert!(tolerate(json!({"key": "dedicated", "value": "db", "effect": "NoSchedule"})));
    assert!(tolerate(json!({"key": "dedicated", "operator": "Exists"})));
    assert!(tolerate(json!({"operator": "Exists"})));
    assert!(!tolerate(json!({"key": "dedicated", "value": "web"})));
    assert!(!tolerate(json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"})));

    let select = |spec: Value| {
        let mut all = json!({"tolerations": [{"operator": "Exists"}]});
        spec.as_object().expect("an object").iter().for_each(|(key, value)| all[key] = value.clone());
        world.decide(all)
    };
    let require = |key: &str, operator: &str, values: &[&str]| {
        let term = json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
        select(json!({"affinity": {"nodeAffinity": required}})).starts_with("bind")
    };
    assert!(
        require("disk", "In", &["hdd", "ssd"]) && require("gen", "Gt", &["6"]) && require("x", "DoesNotExist", &[])
    );
    assert!(!require("disk", "NotIn", &["ssd"]) && !require("gen", "Lt", &["7"]) && !require("x", "Exists", &[]));
    expect!["0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."]
        .assert_eq(&select(json!({"nodeSelector": {"disk": "hdd"}})));
}

#[test]
fn host_ports_conflict_by_address_protocol_and_number() {
    let port = |ip: &str, protocol: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip, "protocol": protocol}]}]});
    let world = World::default().node("n1", json!({})).running("a", "n1", port("127.0.0.1", "TCP"));
    assert_eq!(world.decide(port("127.0.0.2", "TCP")), "bind to n1");
    assert_eq!(world.decide(port("127.0.0.1", "UDP")), "bind to n1");
    world.check(
        port("", "TCP"),
        &expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."],
    );
}

#[test]
fn load_is_spread_and_preferences_are_heard() {
    let world = World::default().node("n1", json!({})).node("n2", json!({})).running("a", "n1", asks("1", "2Gi"));
    assert_eq!(world.decide(asks("100m", "100Mi")), "bind to n2");
    let term = json!({"weight": 100, "preference": {"matchExpressions":
        [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}});
    let mut spec = asks("100m", "100Mi");
    spec["affinity"] = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}});
    assert_eq!(world.decide(spec), "bind to n1");
    let soft = json!({"spec": {"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]}});
    let world = World::default().node("n1", soft).node("n2", json!({}));
    assert_eq!(world.decide(json!({})), "bind to n2");
}

#[test]
fn what_a_pod_took_is_given_back_exactly() {
    let mut cluster = World::default().node("n1", json!({})).cluster;
    let mut pods = Vec::new();
    for n in 0..5 {
        let mut pod = pod(overlay(asks("300m", "1Gi"), uses(&["data"])));
        pod.metadata.uid = Some(format!("p{n}"));
        cluster.place(&pod, "n1");
        cluster.place(&pod, "n1");
        pods.push(pod);
    }
    assert!(cluster.is_claim_used("ns", "data"));
    pods.iter().for_each(|pod| cluster.remove(pod.metadata.uid.as_deref().unwrap_or_default()));
    let state = cluster.from(0).next().expect("a node");
    assert_eq!(state.load, cluster::Load::default());
    assert!(!cluster.is_claim_used("ns", "data"));
}

fn overlay(mut base: Value, extra: Value) -> Value {
    extra.as_object().expect("an object").iter().for_each(|(key, value)| base[key] = value.clone());
    base
}

#[test]
fn pods_seen_before_their_node_count_once_it_appears() {
    let world = World::default().running("early", "n1", asks("2", "1Gi")).node("n1", json!({}));
    assert!(world.decide(asks("1", "1Gi")).contains("Insufficient cpu"));
}

#[test]
fn long_notes_are_cut_and_conditions_are_written_once() {
    assert_eq!(note(&"é".repeat(600)).len(), 1024);
    assert!(note(&"x".repeat(2000)).ends_with("x ..."));
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T00:00:00Z".parse().expect("a time"));
    let mut pod = pod(json!({}));
    let condition = unschedulable_condition(&pod, "why", now.clone()).expect("new");
    pod.status.get_or_insert_default().conditions = Some(vec![condition]);
    assert_eq!(unschedulable_condition(&pod, "why", now.clone()), None);
    assert!(unschedulable_condition(&pod, "other", now).is_some());
}
