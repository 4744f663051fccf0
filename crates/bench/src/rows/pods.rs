//! Real pods from a busybox image that is present: from the request that creates them to the change that
//! a watch shows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stead_testkit::{Cluster, busybox};

use crate::api::{Connection, Endpoint};
use crate::machine::{Helpers, median, quantile, rest};
use crate::report::Figure;
use crate::watch::PodWatch;

const IMAGE: &str = "bench.example/busybox:1";
/// Longest wait for one state of one pod.
const STATE_MAX: Duration = Duration::from_secs(60);

const SET_RUNS: usize = 5;
const REPLICAS: usize = 3;
const PORT: u16 = 6333;

const PODS: usize = 20;
/// Until caches are filled and allocators are at rest.
const SETTLE: Duration = Duration::from_secs(5);

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const PODS_PATH: &str = "/api/v1/namespaces/default/pods";

/// A cluster with the image, a connection and a watch.
struct Bench {
    // Fields are dropped in this order: the watch ends before its server.
    watch: PodWatch,
    api: Connection,
    cluster: Cluster,
}

impl Bench {
    fn start(stead: &str) -> anyhow::Result<Self> {
        let cluster = Cluster::start(stead);
        let archive = cluster.scratch().join("busybox.tar");
        busybox().save(IMAGE, &archive);
        cluster.stead(&["image", "import", &archive.display().to_string()]);
        let endpoint = Endpoint::of_cluster(&cluster.data_dir())?;
        Ok(Self { watch: PodWatch::start(&endpoint)?, api: endpoint.connect()?, cluster })
    }

    /// Creates a pod that does nothing; milliseconds until it was seen Running.
    fn pod_ms(&mut self, name: &str) -> anyhow::Result<f64> {
        let started = Instant::now();
        self.api.create(PODS_PATH, &pod(name).to_string())?;
        let what = format!("{name} is Running");
        let running = self.watch.wait(&what, STATE_MAX, |pod| pod.name == name && pod.running)?;
        Ok((running - started).as_secs_f64() * 1e3)
    }

    fn delete_pod(&mut self, name: &str) -> anyhow::Result<()> {
        self.api.delete(&format!("{PODS_PATH}/{name}"))?;
        self.watch.wait(&format!("{name} is gone"), STATE_MAX, |pod| pod.name == name && pod.deleted)?;
        Ok(())
    }

    /// Creates an ordered set; milliseconds until the last of its replicas was seen Ready.
    fn set_ms(&mut self, name: &str) -> anyhow::Result<f64> {
        let started = Instant::now();
        self.api.create(SETS, &stateful_set(name).to_string())?;
        let mut ready = BTreeSet::new();
        let all_ready = self.watch.wait(&format!("all of {name} are Ready"), STATE_MAX, |pod| {
            if pod.ready && pod.name.starts_with(name) {
                ready.insert(pod.name.clone());
            }
            ready.len() == REPLICAS
        })?;
        Ok((all_ready - started).as_secs_f64() * 1e3)
    }

    fn delete_set(&mut self, name: &str) -> anyhow::Result<()> {
        self.api.delete(&format!("{SETS}/{name}"))?;
        let mut gone = BTreeSet::new();
        self.watch.wait(&format!("all of {name} are gone"), STATE_MAX, |pod| {
            if pod.deleted && pod.name.starts_with(name) {
                gone.insert(pod.name.clone());
            }
            gone.len() == REPLICAS
        })?;
        Ok(())
    }
}

/// The lesson's set: three ordered replicas with a claim each, here with a TCP readiness probe.
pub(super) fn ordered_set(stead: &str) -> anyhow::Result<Vec<Figure>> {
    let mut bench = Bench::start(stead)?;
    bench.api.create(SERVICES, &service().to_string())?;
    let mut times = Vec::new();
    for run in 0..SET_RUNS {
        let name = format!("set-{run}");
        times.push(bench.set_ms(&name)?);
        bench.delete_set(&name)?;
    }
    println!("bench: runs in ms: {}", shown(&times));
    Ok(vec![Figure::new("sts-three-ready", median(&times), times.len())])
}

/// Single pods, each created when the last one runs; and what they cost the helper processes while idle.
pub(super) fn one_after_another(stead: &str) -> anyhow::Result<Vec<Figure>> {
    let mut bench = Bench::start(stead)?;
    // The first pod of all pays for what is made once.
    bench.pod_ms("first")?;
    bench.delete_pod("first")?;
    let names: Vec<String> = (0..PODS).map(|n| format!("pod-{n}")).collect();
    let times: Vec<f64> = names.iter().map(|name| bench.pod_ms(name)).collect::<anyhow::Result<_>>()?;
    names.iter().try_for_each(|name| bench.delete_pod(name))?;
    rest(SETTLE);
    // What so many pods have left in the allocator is not counted as theirs a second time.
    let before = Helpers::of(&bench.cluster.data_dir())?.resident_mib()?;
    names.iter().try_for_each(|name| bench.pod_ms(name).map(drop))?;
    rest(SETTLE);
    // Found again, so that a process per pod would be seen.
    let after = Helpers::of(&bench.cluster.data_dir())?.resident_mib()?;
    names.iter().try_for_each(|name| bench.delete_pod(name))?;
    println!("bench: runs in ms: {}", shown(&times));
    Ok(vec![
        Figure::new("pod-create-to-running-p50", quantile(&times, 0.5), times.len()),
        Figure::new("pod-create-to-running-p99", quantile(&times, 0.99), times.len()),
        Figure::new("memory-per-pod", (after - before) / PODS as f64, 1),
    ])
}

fn shown(times: &[f64]) -> String {
    let times: Vec<String> = times.iter().map(|ms| format!("{ms:.0}")).collect();
    times.join(" ")
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "idle", "image": IMAGE, "command": ["sleep", "3600"]}],
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "bench"},
        "spec": {"clusterIP": "None", "selector": {"app": "bench"}, "ports": [{"port": PORT, "name": "api"}]},
    })
}

fn stateful_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": "bench", "replicas": REPLICAS, "selector": {"matchLabels": {"app": "bench", "set": name}},
            "template": {
                "metadata": {"labels": {"app": "bench", "set": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "server", "image": IMAGE,
                    "command": ["httpd", "-f", "-p", PORT.to_string(), "-h", "/data"],
                    "ports": [{"containerPort": PORT, "name": "api"}],
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "resources": {
                        "requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1000m", "memory": "1Gi"},
                    },
                }]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            }],
        },
    })
}
