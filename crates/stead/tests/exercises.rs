//! The lesson's exercises: three inference replicas with a model cache each, updated from the highest
//! down; one replica's pod and claim deleted, which come back fresh while the others stay.

use std::time::Duration;

use stead_testkit::{Cluster, PodWatch, Registry, busybox, example};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(40);
const SERVE: &str = "trap 'kill $!; exit 0' TERM; httpd -f -p 8000 -h /models & wait $!";

#[test]
fn the_exercises_go_as_the_lesson_expects() {
    let mut cluster = Cluster::prepare(env!("CARGO_BIN_EXE_stead"));
    let registry = Registry::beside(&mut cluster);
    for version in ["v1", "v2"] {
        let mut image = busybox();
        image.file("version", 0o644, version.as_bytes()).command(&["/bin/sh", "-c", SERVE]);
        registry.push("inference/server", version, image);
    }
    for file in ["inference-service.yaml", "inference-statefulset.yaml"] {
        cluster.kubectl(&["apply", "-f", &example(&format!("inference/{file}")).display().to_string()]);
    }
    cluster.rolled_out("statefulset/inference", STEP_MAX);
    for ordinal in 0..3 {
        let pod = format!("inference-{ordinal}");
        assert_eq!(cluster.exec(&pod, "cat /models/model"), format!("model fetched by {pod}"), "a cache of its own");
    }

    updates_go_from_the_highest_down(&cluster);
    one_replica_is_reset(&cluster);
    drop(registry);
}

fn updates_go_from_the_highest_down(cluster: &Cluster) {
    let pods = PodWatch::start(cluster, "app=inference");
    cluster.kubectl(&["set", "image", "statefulset/inference", "server=inference/server:v2"]);
    cluster.rolled_out("statefulset/inference", STEP_MAX);
    let fresh: Vec<String> = pods.incarnations().into_iter().skip(3).collect();
    assert_eq!(fresh, ["inference-2", "inference-1", "inference-0"]);
    for ordinal in 0..3 {
        let pod = format!("inference-{ordinal}");
        assert_eq!(cluster.exec(&pod, "cat /version /models/model"), format!("v2model fetched by {pod}"));
    }
}

fn one_replica_is_reset(cluster: &Cluster) {
    let uid = |what: &str| cluster.field(what, "/metadata/uid");
    let others = || -> Vec<String> {
        let names =
            ["pod/inference-0", "pod/inference-2", "pvc/model-cache-inference-0", "pvc/model-cache-inference-2"];
        names.iter().map(|name| uid(name)).collect()
    };
    cluster.exec("inference-1", "echo corrupt > /models/model");
    let (pod, claim, kept) = (uid("pod/inference-1"), uid("pvc/model-cache-inference-1"), others());

    cluster.kubectl(&["delete", "pvc", "model-cache-inference-1", "--wait=false"]);
    cluster.kubectl(&["delete", "pod", "inference-1"]);
    cluster.rolled_out("statefulset/inference", STEP_MAX);

    assert_ne!(uid("pod/inference-1"), pod);
    assert_ne!(uid("pvc/model-cache-inference-1"), claim, "the claim is a new one");
    assert_eq!(cluster.exec("inference-1", "cat /models/model"), "model fetched by inference-1", "and so is its data");
    assert_eq!(others(), kept, "the others are untouched");
}
