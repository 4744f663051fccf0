//! StatefulSets with a claim for each replica, on simulated nodes that say at once that a pod is Ready: what
//! the control plane makes of them. Time ends when a watch shows the set's own status as it should be.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use stead_testkit::Cluster;

use crate::api::{Connection, Endpoint};
use crate::machine::{Helpers, median};
use crate::report::Figure;

/// Pods on one simulated node.
const PODS_PER_NODE: u32 = 110;
/// The size at which the cost of a pod is a row.
const COST_AT: u32 = 1000;
/// Longest wait for a set to become what it should be.
const STATE_MAX: Duration = Duration::from_secs(1200);

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const VOLUMES: &str = "/api/v1/persistentvolumes";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

/// The rows of a size, without it, and how often it is run.
struct Size {
    ordered: [&'static str; 3],
    parallel: &'static str,
    runs: usize,
}

fn size(replicas: u32) -> Size {
    match replicas {
        100 => Size {
            ordered: ["sts-ordered-100", "sts-rolling-100", "sts-down-100"],
            parallel: "sts-parallel-100",
            runs: 3,
        },
        1000 => Size {
            ordered: ["sts-ordered-1000", "sts-rolling-1000", "sts-down-1000"],
            parallel: "sts-parallel-1000",
            runs: 3,
        },
        _ => Size {
            ordered: ["sts-ordered-5000", "sts-rolling-5000", "sts-down-5000"],
            parallel: "sts-parallel-5000",
            runs: 1,
        },
    }
}

/// One replica after the other comes up, gets a new template, and goes.
pub(super) fn ordered(stead: &str, replicas: u32) -> anyhow::Result<Vec<Figure>> {
    let Size { ordered, runs, .. } = size(replicas);
    let mut bench = Bench::start(stead, replicas)?;
    let mut rates: [Vec<f64>; 3] = Default::default();
    for run in 0..runs {
        let name = format!("ordered-{run}");
        rates[0].push(bench.create(&name, "OrderedReady")?);
        rates[1].push(bench.update(&name)?);
        rates[2].push(bench.scale_down(&name)?);
        bench.forget(&name)?;
    }
    let figure = |(row, rates): (_, &Vec<f64>)| Figure::new(row, median(rates), rates.len());
    Ok(ordered.into_iter().zip(&rates).map(figure).collect())
}

/// All replicas come up at once; and what each of them costs the server.
pub(super) fn parallel(stead: &str, replicas: u32) -> anyhow::Result<Vec<Figure>> {
    let Size { parallel, runs, .. } = size(replicas);
    let mut bench = Bench::start(stead, replicas)?;
    let server = Helpers::server_of(&bench.cluster.data_dir())?;
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let name = format!("parallel-{run}");
        let before = server.processor_ns()?;
        rates.push(bench.create(&name, "Parallel")?);
        costs.push((server.processor_ns()? - before) / 1e6 / f64::from(replicas));
        bench.scale_down(&name)?;
        bench.forget(&name)?;
    }
    println!("bench: {replicas} in parallel: {rates:.0?} pods/s, {costs:.2?} ms of the server's processor time each");
    let mut figures = vec![Figure::new(parallel, median(&rates), rates.len())];
    if replicas == COST_AT {
        figures.push(Figure::new("sts-cpu-per-pod", median(&costs), costs.len()));
    }
    Ok(figures)
}

/// A cluster with simulated nodes.
struct Bench {
    // Fields are dropped in this order: the nodes end before their server.
    _nodes: Simulated,
    api: Connection,
    endpoint: Endpoint,
    replicas: u32,
    cluster: Cluster,
}

impl Bench {
    fn start(stead: &str, replicas: u32) -> anyhow::Result<Self> {
        let cluster = Cluster::start(stead);
        let nodes = Simulated::start(stead, &cluster, replicas.div_ceil(PODS_PER_NODE) + 1)?;
        let endpoint = Endpoint::of_cluster(&cluster.data_dir())?;
        let mut api = endpoint.connect()?;
        api.create(SERVICES, &service().to_string())?;
        Ok(Self { _nodes: nodes, api, endpoint, replicas, cluster })
    }

    /// Creates the set; pods a second until all are Ready.
    fn create(&mut self, name: &str, policy: &str) -> anyhow::Result<f64> {
        let replicas = self.replicas;
        let set = stateful_set(name, policy, replicas).to_string();
        self.timed(
            name,
            |api| api.create(SETS, &set),
            |status| status["readyReplicas"] == replicas && status["availableReplicas"] == replicas,
        )
    }

    /// Gives the set a new template; pods a second until all are Ready with it.
    fn update(&mut self, name: &str) -> anyhow::Result<f64> {
        let replicas = self.replicas;
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}}).to_string();
        let path = format!("{SETS}/{name}");
        self.timed(
            name,
            |api| api.merge_patch(&path, &patch),
            |status| {
                let updated = status["currentRevision"] == status["updateRevision"];
                updated && status["updatedReplicas"] == replicas && status["readyReplicas"] == replicas
            },
        )
    }

    /// Scales the set to nothing; pods a second until none is left.
    fn scale_down(&mut self, name: &str) -> anyhow::Result<f64> {
        let patch = json!({"spec": {"replicas": 0}}).to_string();
        let path = format!("{SETS}/{name}");
        self.timed(name, |api| api.merge_patch(&path, &patch), |status| status["replicas"] == 0)
    }

    /// Does what begins it and waits for the set's status; pods a second.
    fn timed(
        &mut self,
        name: &str,
        begin: impl FnOnce(&mut Connection) -> anyhow::Result<()>,
        done: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<f64> {
        self.reconnect()?;
        let mut watch = self.endpoint.connect()?;
        watch.watch(&format!("{SETS}?watch=true&fieldSelector=metadata.name={name}"))?;
        let started = Instant::now();
        begin(&mut self.api)?;
        let generation = self.api.get(&format!("{SETS}/{name}"))?["metadata"]["generation"].clone();
        let mut text = Vec::new();
        while let Some(chunk) = watch.chunk()? {
            let seconds = started.elapsed().as_secs_f64();
            text.extend(chunk);
            let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in text[..end].split(|byte| *byte == b'\n') {
                let event: Value = serde_json::from_slice(line).context("an event is not JSON")?;
                let status = &event["object"]["status"];
                if status["observedGeneration"] == generation && done(status) {
                    return Ok(f64::from(self.replicas) / seconds);
                }
            }
            text.drain(..=end);
            if started.elapsed() > STATE_MAX {
                break;
            }
        }
        bail!("{name} did not become what it should be within {STATE_MAX:?}")
    }

    /// The server closes a connection that nothing was asked on for a while, as when a large set came up.
    fn reconnect(&mut self) -> anyhow::Result<()> {
        self.api = self.endpoint.connect()?;
        // The handshake is no part of what is measured next.
        self.api.get("/version").map(drop)
    }

    /// Deletes the set and its claims, so that the next run begins as this one did.
    fn forget(&mut self, name: &str) -> anyhow::Result<()> {
        self.reconnect()?;
        self.api.delete(&format!("{SETS}/{name}"))?;
        self.api.delete(CLAIMS)?;
        for path in [CLAIMS, VOLUMES] {
            self.reconnect()?;
            let list = self.api.get(path)?;
            let (left, version) = (list["items"].as_array().map_or(0, Vec::len), &list["metadata"]["resourceVersion"]);
            let mut watch = self.endpoint.connect()?;
            watch.watch(&format!("{path}?watch=true&resourceVersion={}", version.as_str().unwrap_or_default()))?;
            let (mut text, mut gone) = (Vec::new(), 0);
            while gone < left {
                text.extend(watch.chunk()?.context("the watch ended")?);
                let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { continue };
                let lines = text[..end].split(|byte| *byte == b'\n');
                gone += lines.filter(|line| line.starts_with(br#"{"type":"DELETED""#)).count();
                text.drain(..=end);
            }
        }
        Ok(())
    }
}

/// `stead simulate nodes` while it runs.
struct Simulated(Child);

impl Simulated {
    fn start(stead: &str, cluster: &Cluster, count: u32) -> anyhow::Result<Self> {
        let mut child = Command::new(stead)
            .args(["simulate", "nodes", "--count", &count.to_string()])
            .args(["--pods-per-node", &PODS_PER_NODE.to_string(), "--kubeconfig"])
            .arg(cluster.data_dir().join("kubeconfig"))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot simulate nodes")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let simulated = Self(child);
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next().context("it said nothing")??;
        anyhow::ensure!(line.contains("nodes simulated"), "it said: {line}");
        // How many pods run is of no interest here, but it must not wait for somebody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(simulated)
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // The cluster goes as well: nobody has to be told that the nodes have gone.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("bench: cannot end the simulated nodes: {error}");
        }
    }
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "bench"},
        "spec": {"clusterIP": "None", "selector": {"app": "bench"}, "ports": [{"port": 6333, "name": "api"}]},
    })
}

fn stateful_set(name: &str, policy: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": "bench", "replicas": replicas, "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": "bench", "set": name}},
            "template": {
                "metadata": {"labels": {"app": "bench", "set": name}},
                "spec": {
                    "nodeSelector": {"stead.dev/simulated": "true"},
                    "containers": [{
                        "name": "server", "image": "bench.example/none:1",
                        "ports": [{"containerPort": 6333, "name": "api"}],
                        "readinessProbe": {"tcpSocket": {"port": 6333}},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            }],
        },
    })
}
