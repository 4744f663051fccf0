//! Nodes that are not there: `stead simulate nodes` beside a cluster, with a StatefulSet and its claims on
//! them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stead_testkit::{Cluster, eventually};

const SOON: Duration = Duration::from_secs(60);

const SET: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: crowd}
spec: {clusterIP: None, selector: {app: crowd}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: crowd}
spec:
  serviceName: crowd
  replicas: 30
  selector: {matchLabels: {app: crowd}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}
  template:
    metadata: {labels: {app: crowd}}
    spec:
      nodeSelector: {stead.dev/simulated: "true"}
      containers: [{name: server, image: "nowhere.example/none:1", readinessProbe: {tcpSocket: {port: 80}}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"#;

/// `stead simulate nodes` while it runs.
struct Simulated(Child);

impl Simulated {
    /// Starts it and waits for the line that says that the nodes are there.
    fn start(cluster: &Cluster, count: u32) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stead"))
            .args(["simulate", "nodes", "--count", &count.to_string(), "--pods-per-node", "12", "--kubeconfig"])
            .arg(cluster.data_dir().join("kubeconfig"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("stead can be run");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output can be read");
        assert!(line.starts_with(&format!("stead: {count} nodes simulated")), "{line}");
        Self(child)
    }

    /// Asks it to end and waits.
    fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be signalled");
        assert!(self.0.wait().expect("it can be waited for").success());
    }
}

#[test]
fn a_set_of_thirty_comes_up_on_nodes_that_are_not_there_and_nothing_is_left_of_it() {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    let simulated = Simulated::start(&cluster, 3);
    cluster.kubectl(&["wait", "node", "-l", "stead.dev/simulated=true", "--for=condition=Ready"]);

    cluster.apply(SET);
    cluster.rolled_out("statefulset/crowd", SOON);
    let pods = cluster.get("pods -l app=crowd");
    let items = pods["items"].as_array().expect("a list");
    let distinct = |pointer: &str| {
        let values = items.iter().map(|pod| pod.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default());
        values.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(items.len(), 30);
    assert_eq!(distinct("/status/podIP").len(), 30, "every pod has an address of its own");
    let nodes = ["simulated-0", "simulated-1", "simulated-2"];
    assert_eq!(distinct("/spec/nodeName"), std::collections::BTreeSet::from(nodes));
    let claims = cluster.get("pvc");
    let claims = claims["items"].as_array().expect("a list");
    assert!(claims.len() == 30 && claims.iter().all(|claim| claim["status"]["phase"] == "Bound"));
    assert!(!cluster.data_dir().join("volumes").exists(), "no directory stands behind them");

    cluster.kubectl(&["delete", "statefulset/crowd"]);
    for what in ["pods -l app=crowd", "pvc", "pv"] {
        eventually(&format!("no {what} is left"), SOON, || {
            cluster.get(what)["items"].as_array().is_some_and(Vec::is_empty).then_some(())
        });
    }
    simulated.end();
    assert_eq!(cluster.field("nodes", "/items/0/metadata/name"), "stead-test");
    assert_eq!(cluster.field("nodes", "/items/1/metadata/name"), "", "the simulated ones are gone");
    eventually("their leases are collected", SOON, || {
        let leases = cluster.get("leases -n kube-node-lease");
        (leases["items"].as_array()?.len() == 1).then_some(())
    });
}

#[test]
fn a_node_that_is_real_is_left_alone() {
    let mut cluster = Cluster::prepare(env!("CARGO_BIN_EXE_stead"));
    cluster.up();
    let real = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "real-0"}});
    cluster.apply(&real.to_string());
    let refused = Command::new(env!("CARGO_BIN_EXE_stead"))
        .args(["simulate", "nodes", "--prefix", "real", "--kubeconfig"])
        .arg(cluster.data_dir().join("kubeconfig"))
        .output()
        .expect("stead can be run");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(said, "stead: node real-0 exists and is not simulated; choose another --prefix\n");
    assert_eq!(cluster.get("node real-0").pointer("/metadata/labels/stead.dev~1simulated"), None);
    assert_eq!(cluster.get("nodes")["items"].as_array().map(Vec::len), Some(2), "what was made before is taken away");
}
