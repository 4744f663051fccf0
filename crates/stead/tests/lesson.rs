//! The lesson, end to end: its own files and its own commands, in its order, on real containers.

use std::collections::BTreeSet;
use std::time::Duration;

use stead_testkit::{Cluster, Lesson, PodWatch, Table, eventually};

/// Longest wait for one step of the lesson.
const STEP_MAX: Duration = Duration::from_secs(30);
const RUNNING: [[&str; 4]; 3] =
    [["qdrant-0", "1/1", "Running", "0"], ["qdrant-1", "1/1", "Running", "0"], ["qdrant-2", "1/1", "Running", "0"]];

#[test]
fn the_lesson_runs_as_it_is_printed() {
    let lesson = Lesson::start(env!("CARGO_BIN_EXE_stead"));
    let cluster = lesson.cluster();
    a_headless_service(cluster);
    let pods = PodWatch::start(cluster, "app=qdrant");
    replicas_come_up_in_order(cluster, &pods);
    names_resolve_inside_pods(cluster);
    every_replica_has_its_claim(cluster);
    scaling_goes_by_ordinal_and_keeps_data(cluster);
    updates_stop_at_the_partition(cluster);
    raising_the_partition_reverts(cluster);
    a_broken_image_is_rolled_back(cluster);
    a_deleted_pod_returns_as_itself(cluster);
    pods.assert_ordered();
}

/// "Stable Network Identity".
fn a_headless_service(cluster: &Cluster) {
    assert_eq!(cluster.shell("kubectl apply -f qdrant-service.yaml"), "service/qdrant-service created\n");
    let services = Table::parse(&cluster.shell("kubectl get service qdrant-service"));
    assert_eq!(services.header(), ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    let columns = ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)"];
    assert_eq!(services.select(&columns), [["qdrant-service", "ClusterIP", "None", "<none>", "6333/TCP"]]);
}

/// "Creating a StatefulSet".
fn replicas_come_up_in_order(cluster: &Cluster, pods: &PodWatch) {
    assert_eq!(cluster.shell("kubectl apply -f qdrant-statefulset.yaml"), "statefulset.apps/qdrant created\n");
    let sets = Table::parse(&cluster.shell("kubectl get statefulsets"));
    assert_eq!(sets.header(), ["NAME", "READY", "AGE"]);
    assert_eq!(sets.select(&["NAME"]), [["qdrant"]]);
    cluster.rolled_out("statefulset/qdrant", STEP_MAX);
    let sets = Table::parse(&cluster.shell("kubectl get statefulsets"));
    assert_eq!(sets.select(&["NAME", "READY"]), [["qdrant", "3/3"]]);
    assert_eq!(pod_rows(cluster), RUNNING);
    assert_eq!(pods.incarnations(), ["qdrant-0", "qdrant-1", "qdrant-2"]);
    pods.assert_ordered();
}

/// "Stable Pod DNS".
fn names_resolve_inside_pods(cluster: &Cluster) {
    let name = "qdrant-0.qdrant-service.default.svc.cluster.local";
    let answer = cluster.exec("qdrant-1", &format!("nslookup {name}"));
    let address = pod_ip(cluster, "qdrant-0");
    assert!(address.starts_with("10.244."), "{address}");
    assert!(answer.contains("Server:\t\t10.96.0.10\n"), "{answer}");
    assert!(answer.contains(&format!("Name:\t{name}\nAddress: {address}")), "{answer}");
    assert_eq!(cluster.exec("qdrant-0", "hostname"), "qdrant-0");
    // The Service's own name stands for all of them, and the search path makes short names do.
    let all = cluster.exec("qdrant-2", "nslookup qdrant-service.default.svc.cluster.local");
    for pod in ["qdrant-0", "qdrant-1", "qdrant-2"] {
        assert!(all.contains(&format!("Address: {}", pod_ip(cluster, pod))), "{pod}: {all}");
        cluster.exec(pod, "hostname > /qdrant/storage/shard");
        assert_eq!(cluster.exec("qdrant-0", &format!("wget -qO- http://{pod}.qdrant-service:6333/shard")), pod);
    }
}

/// "Persistent Storage Per Pod".
fn every_replica_has_its_claim(cluster: &Cluster) {
    let claims = Table::parse(&cluster.shell("kubectl get pvc"));
    assert_eq!(claims.header()[..5], ["NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES"]);
    assert_eq!(
        claims.select(&["NAME", "STATUS", "CAPACITY", "ACCESS MODES"]),
        [0, 1, 2].map(|n| [format!("qdrant-data-qdrant-{n}"), "Bound".into(), "10Gi".into(), "RWO".into()])
    );
    let volumes: BTreeSet<_> = claims.select(&["VOLUME"]).concat().into_iter().collect();
    assert_eq!(volumes.len(), 3, "every claim has a volume of its own");
    assert!(volumes.iter().all(|volume| volume.starts_with("pvc-")), "{volumes:?}");
}

/// "Ordered Scaling".
fn scaling_goes_by_ordinal_and_keeps_data(cluster: &Cluster) {
    let (zero, one) = (uid(cluster, "pod/qdrant-0"), uid(cluster, "pod/qdrant-1"));
    let claim = uid(cluster, "pvc/qdrant-data-qdrant-2");
    let scaled = cluster.shell("kubectl scale statefulset qdrant --replicas=2");
    assert_eq!(scaled, "statefulset.apps/qdrant scaled\n");
    cluster.wait_for("pod/qdrant-2", "delete", STEP_MAX);
    assert_eq!(pod_rows(cluster), RUNNING[..2]);
    assert_eq!(uid(cluster, "pvc/qdrant-data-qdrant-2"), claim, "the claim stays");

    cluster.shell("kubectl scale statefulset qdrant --replicas=3");
    cluster.rolled_out("statefulset/qdrant", STEP_MAX);
    assert_eq!(pod_rows(cluster), RUNNING);
    assert_eq!(cluster.exec("qdrant-2", "cat /qdrant/storage/shard"), "qdrant-2");
    assert_eq!(cluster.exec("qdrant-2", "wc -l < /qdrant/storage/starts"), "2");
    assert_eq!(uid(cluster, "pvc/qdrant-data-qdrant-2"), claim);
    assert_eq!((uid(cluster, "pod/qdrant-0"), uid(cluster, "pod/qdrant-1")), (zero, one), "the others are untouched");
}

/// "Rolling Updates".
fn updates_stop_at_the_partition(cluster: &Cluster) {
    let zero = uid(cluster, "pod/qdrant-0");
    cluster.shell(
        r#"kubectl patch statefulset qdrant -p '{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":1}}}}'"#,
    );
    let pods = PodWatch::start(cluster, "app=qdrant");
    eventually("the watch shows all pods", STEP_MAX, || (pods.incarnations().len() == 3).then_some(()));
    let set_image = "kubectl set image statefulset/qdrant qdrant=qdrant/qdrant:v1.7.0 --record";
    assert!(cluster.shell(set_image).contains("statefulset.apps/qdrant image updated"));
    let status = cluster.rolled_out("statefulset/qdrant", STEP_MAX);
    assert!(status.ends_with("partitioned roll out complete: 2 new pods have been updated...\n"), "{status}");
    assert_eq!(pods.incarnations()[3..], ["qdrant-2", "qdrant-1"], "from the highest ordinal down");
    assert_eq!(versions(cluster), ["latest", "v1.7.0", "v1.7.0"]);
    assert_eq!(uid(cluster, "pod/qdrant-0"), zero, "the pod below the partition is untouched");
    assert_eq!(pod_rows(cluster), RUNNING);

    let history = cluster.shell("kubectl rollout history statefulset/qdrant");
    assert!(
        history.starts_with("statefulset.apps/qdrant \nREVISION  CHANGE-CAUSE\n1         <none>\n2         "),
        "{history}"
    );
    let cause = "set image statefulset/qdrant qdrant=qdrant/qdrant:v1.7.0 --record=true";
    assert!(history.contains(cause), "{history}");
    let second = cluster.shell("kubectl rollout history statefulset/qdrant --revision=2");
    assert!(second.contains("qdrant/qdrant:v1.7.0"), "{second}");
}

/// "You can rollback the partition and Pod 1 reverts immediately without touching Pod 0."
fn raising_the_partition_reverts(cluster: &Cluster) {
    let (zero, two) = (uid(cluster, "pod/qdrant-0"), uid(cluster, "pod/qdrant-2"));
    set_partition(cluster, 2);
    until_versions(cluster, ["latest", "latest", "v1.7.0"]);
    assert_eq!(uid(cluster, "pod/qdrant-0"), zero);
    assert_eq!(uid(cluster, "pod/qdrant-2"), two, "still at or above the partition");
    set_partition(cluster, 3);
    until_versions(cluster, ["latest", "latest", "latest"]);
    assert_eq!(uid(cluster, "pod/qdrant-0"), zero);
    set_partition(cluster, 0);
    until_versions(cluster, ["v1.7.0", "v1.7.0", "v1.7.0"]);
    assert_eq!(shards(cluster), ["qdrant-0", "qdrant-1", "qdrant-2"]);
}

/// A broken image stops at the highest ordinal and is taken back without deleting a pod by hand
/// (kubernetes#67250 is the opposite).
fn a_broken_image_is_rolled_back(cluster: &Cluster) {
    let (zero, one) = (uid(cluster, "pod/qdrant-0"), uid(cluster, "pod/qdrant-1"));
    for (image, reason) in [("qdrant/qdrant:broken", "CrashLoopBackOff"), ("qdrant/qdrant:absent", "ImagePullBackOff")]
    {
        cluster.kubectl(&["set", "image", "statefulset/qdrant", &format!("qdrant={image}")]);
        eventually(&format!("qdrant-2 is in {reason}"), STEP_MAX, || {
            pod_rows(cluster).last().is_some_and(|pod| pod[0] == "qdrant-2" && pod[2] == reason).then_some(())
        });
        cluster.shell("kubectl rollout undo statefulset/qdrant");
        cluster.rolled_out("statefulset/qdrant", STEP_MAX);
        assert_eq!(versions(cluster), ["v1.7.0", "v1.7.0", "v1.7.0"]);
    }
    assert_eq!((uid(cluster, "pod/qdrant-0"), uid(cluster, "pod/qdrant-1")), (zero, one), "never reached");
    assert_eq!(shards(cluster), ["qdrant-0", "qdrant-1", "qdrant-2"]);
}

/// "When Pod 1 crashes and restarts, Kubernetes automatically reconnects it."
fn a_deleted_pod_returns_as_itself(cluster: &Cluster) {
    let (pod, claim) = (uid(cluster, "pod/qdrant-1"), uid(cluster, "pvc/qdrant-data-qdrant-1"));
    let address = pod_ip(cluster, "qdrant-1");
    cluster.kubectl(&["delete", "pod", "qdrant-1"]);
    cluster.rolled_out("statefulset/qdrant", STEP_MAX);
    assert_ne!(uid(cluster, "pod/qdrant-1"), pod);
    assert_eq!(uid(cluster, "pvc/qdrant-data-qdrant-1"), claim);
    assert_eq!(cluster.exec("qdrant-1", "cat /qdrant/storage/shard"), "qdrant-1");
    let fresh = pod_ip(cluster, "qdrant-1");
    assert_ne!(fresh, address, "a fresh address");
    let answer = cluster.exec("qdrant-0", "nslookup qdrant-1.qdrant-service.default.svc.cluster.local");
    assert!(
        answer.contains(&format!("Address: {fresh}")) && !answer.contains(&format!("Address: {address}\n")),
        "{answer}"
    );
    assert_eq!(cluster.exec("qdrant-0", "wget -qO- http://qdrant-1.qdrant-service:6333/shard"), "qdrant-1");
}

fn set_partition(cluster: &Cluster, partition: u32) {
    let patch = format!(r#"{{"spec":{{"updateStrategy":{{"rollingUpdate":{{"partition":{partition}}}}}}}}}"#);
    cluster.kubectl(&["patch", "statefulset", "qdrant", "-p", &patch]);
}

/// Waits until the three replicas are Ready at these versions of the image.
fn until_versions(cluster: &Cluster, expected: [&str; 3]) {
    eventually(&format!("replicas are at {expected:?}"), STEP_MAX, || {
        let template = r"{range .items[*]}{.spec.containers[0].image} {.status.containerStatuses[0].ready}{'\n'}{end}";
        let seen = cluster.kubectl(&["get", "pods", "-l", "app=qdrant", "-o", &format!("jsonpath={template}")]);
        let wanted = expected.map(|version| format!("qdrant/qdrant:{version} true"));
        (seen.lines().collect::<Vec<_>>() == wanted).then_some(())
    });
    assert_eq!(versions(cluster), expected);
}

/// What each replica's image says of itself.
fn versions(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|n| cluster.exec(&format!("qdrant-{n}"), "cat /qdrant/version"))
}

/// What each replica finds in its storage.
fn shards(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|n| cluster.exec(&format!("qdrant-{n}"), "cat /qdrant/storage/shard"))
}

fn pod_rows(cluster: &Cluster) -> Vec<Vec<String>> {
    let pods = cluster.table(&["get", "pods"]);
    assert_eq!(pods.header(), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    let rows = pods.select(&["NAME", "READY", "STATUS", "RESTARTS"]);
    rows.into_iter().map(|row| row.into_iter().map(str::to_owned).collect()).collect()
}

fn uid(cluster: &Cluster, what: &str) -> String {
    cluster.field(what, "/metadata/uid")
}

fn pod_ip(cluster: &Cluster, pod: &str) -> String {
    cluster.field(&format!("pod/{pod}"), "/status/podIP")
}
