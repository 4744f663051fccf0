//! What a StatefulSet can be asked beyond Kubernetes (`docs/beyond.md`), with kubectl and `stead`, on
//! real containers: explain, pause and resume, reserved ordinals, a deadline with rollback, the reset of
//! one replica, claims that grow, the leader last.

use std::time::Duration;

use stead_testkit::{Cluster, Registry, busybox, eventually};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(60);
const ALL: [&str; 3] = ["web-0", "web-1", "web-2"];
const SERVE: &str = "trap 'kill $!; exit 0' TERM; httpd -f -p 8000 -h / & wait $!";
const NEVER_SERVE: &str = "trap 'kill $!; exit 0' TERM; sleep 3600 & wait $!";

const SET: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8000}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 3
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: demo/web:v1
        readinessProbe: {httpGet: {path: /version, port: 8000}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
";

#[test]
fn a_set_does_what_it_is_asked_beyond_kubernetes() {
    let mut cluster = Cluster::prepare(env!("CARGO_BIN_EXE_stead"));
    let registry = Registry::beside(&mut cluster);
    for (version, command) in [("v1", SERVE), ("v2", SERVE), ("broken", NEVER_SERVE)] {
        let mut image = busybox();
        image.file("version", 0o644, version.as_bytes()).command(&["/bin/sh", "-c", command]);
        registry.push("demo/web", version, image);
    }
    cluster.apply(SET);
    cluster.rolled_out("statefulset/web", STEP_MAX);
    cluster.wait_for("sts/web", "condition=Available", STEP_MAX);

    it_says_what_it_does(&cluster);
    it_can_be_paused(&cluster);
    a_chosen_replica_is_removed(&cluster);
    a_broken_update_is_taken_back(&cluster);
    one_replica_is_reset(&cluster);
    claims_grow(&cluster);
    the_leader_is_updated_last(&cluster);
    drop(registry);
}

/// A `stead` verb as a person would type it, with the cluster's kubeconfig.
fn stead(cluster: &Cluster, args: &[&str]) -> String {
    let kubeconfig = cluster.data_dir().join("kubeconfig").display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--kubeconfig", &kubeconfig]).collect();
    cluster.stead(&args)
}

fn image(cluster: &Cluster, pod: &str) -> String {
    cluster.field(&format!("pod/{pod}"), "/spec/containers/0/image")
}

fn uid(cluster: &Cluster, what: &str) -> String {
    cluster.field(what, "/metadata/uid")
}

/// Ready pods as `web-0=UID`, lowest ordinal first.
fn ready(cluster: &Cluster) -> Vec<String> {
    let is_ready =
        r#"{range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name}={.metadata.uid} {end}"#;
    let told = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", &format!("jsonpath={is_ready}")]);
    told.split_whitespace().map(str::to_owned).collect()
}

/// Waits until exactly these pods are there and Ready, `pod` with another UID than `old`.
fn replaced(cluster: &Cluster, pods: &[&str], pod: &str, old: &str) {
    let old = format!("{pod}={old}");
    eventually(&format!("{pod} is back"), STEP_MAX, || {
        let ready = ready(cluster);
        let names: Vec<&str> = ready.iter().filter_map(|line| line.split('=').next()).collect();
        (names == pods && !ready.contains(&old)).then_some(())
    });
}

fn it_says_what_it_does(cluster: &Cluster) {
    let told = stead(cluster, &["explain", "sts/web"]);
    assert!(told.contains("next: nothing") && told.contains("waits because: nothing is waited for"), "{told}");
    assert!(told.contains("2: available") && told.contains("data-web-2"), "{told}");
}

fn it_can_be_paused(cluster: &Cluster) {
    stead(cluster, &["rollout", "pause", "sts/web"]);
    cluster.kubectl(&["set", "image", "statefulset/web", "web=demo/web:v2"]);
    cluster.wait_for("sts/web", "jsonpath={.status.observedGeneration}=2", STEP_MAX);
    let old = uid(cluster, "pod/web-2");
    cluster.kubectl(&["delete", "pod", "web-2"]);
    replaced(cluster, &ALL, "web-2", &old);
    assert_eq!(image(cluster, "web-2"), "demo/web:v1", "it came back as it was");
    assert!(stead(cluster, &["explain", "sts/web"]).contains("Progressing=Unknown Paused"));
    stead(cluster, &["rollout", "resume", "sts/web"]);
    cluster.rolled_out("statefulset/web", STEP_MAX);
    assert_eq!(cluster.exec("web-0", "cat /version"), "v2");
}

fn a_chosen_replica_is_removed(cluster: &Cluster) {
    let kept = [uid(cluster, "pod/web-0"), uid(cluster, "pod/web-2")];
    let leave_out = r#"{"metadata":{"annotations":{"stead.dev/reserve-ordinals":"1"}},"spec":{"replicas":2}}"#;
    let gone = uid(cluster, "pod/web-1");
    cluster.kubectl(&["patch", "sts", "web", "--type=merge", "-p", leave_out]);
    replaced(cluster, &["web-0", "web-2"], "web-1", &gone);
    assert_eq!([uid(cluster, "pod/web-0"), uid(cluster, "pod/web-2")], kept);
    cluster.kubectl(&["annotate", "sts", "web", "stead.dev/reserve-ordinals-"]);
    cluster.kubectl(&["scale", "sts", "web", "--replicas=3"]);
    replaced(cluster, &ALL, "web-1", &gone);
}

fn a_broken_update_is_taken_back(cluster: &Cluster) {
    let deadline = "stead.dev/progress-deadline-seconds=5";
    cluster.kubectl(&["annotate", "sts", "web", deadline, "stead.dev/auto-rollback=true"]);
    cluster.kubectl(&["set", "image", "statefulset/web", "web=demo/web:broken"]);
    cluster.wait_for("sts/web", "jsonpath={.spec.template.spec.containers[0].image}=demo/web:v2", STEP_MAX);
    cluster.rolled_out("statefulset/web", STEP_MAX);
    eventually("the broken replica is back at the former version", STEP_MAX, || {
        (ready(cluster).len() == 3).then_some(())
    });
    assert_eq!(image(cluster, "web-2"), "demo/web:v2");
    let events = cluster.kubectl(&["get", "events", "--field-selector=reason=RolledBack"]);
    assert!(events.contains("went back from revision"), "{events}");
    cluster.kubectl(&["annotate", "sts", "web", "stead.dev/progress-deadline-seconds-", "stead.dev/auto-rollback-"]);
}

fn one_replica_is_reset(cluster: &Cluster) {
    for pod in ["web-0", "web-1"] {
        cluster.exec(pod, "echo precious > /data/file");
    }
    let others = || ["pod/web-0", "pod/web-2", "pvc/data-web-0", "pvc/data-web-2"].map(|what| uid(cluster, what));
    let (pod, claim, kept) = (uid(cluster, "pod/web-1"), uid(cluster, "pvc/data-web-1"), others());
    let told = stead(cluster, &["reset", "sts/web", "--ordinal", "1"]);
    assert!(told.contains("web-1 will be stopped and made anew with data-web-1 (generation 1)"), "{told}");
    replaced(cluster, &ALL, "web-1", &pod);
    assert_ne!(uid(cluster, "pvc/data-web-1"), claim);
    assert_eq!(cluster.exec("web-1", "ls /data"), "", "its data are gone");
    assert_eq!(cluster.exec("web-0", "cat /data/file"), "precious");
    assert_eq!(others(), kept, "the others are untouched");
    let refused = cluster.kubectl_refused(&["rollout", "pause", "sts/web"]);
    assert!(refused.contains("pausing is not supported"), "kubectl itself cannot pause: {refused}");
}

fn claims_grow(cluster: &Cluster) {
    let larger =
        r#"[{"op":"replace","path":"/spec/volumeClaimTemplates/0/spec/resources/requests/storage","value":"32Mi"}]"#;
    let pods = || ["web-0", "web-1", "web-2"].map(|pod| uid(cluster, &format!("pod/{pod}")));
    let before = pods();
    cluster.kubectl(&["patch", "sts", "web", "--type=json", "-p", larger]);
    for claim in ["data-web-0", "data-web-1", "data-web-2"] {
        cluster.wait_for(&format!("pvc/{claim}"), "jsonpath={.status.capacity.storage}=32Mi", STEP_MAX);
    }
    assert_eq!(pods(), before, "no pod has to be restarted for it");
}

fn the_leader_is_updated_last(cluster: &Cluster) {
    let images = || {
        let each = "jsonpath={range .items[*]}{.metadata.name} runs {.spec.containers[0].image}, {end}";
        cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", each])
    };
    cluster.kubectl(&["annotate", "sts", "web", "stead.dev/update-order-label=role=leader"]);
    cluster.kubectl(&["label", "pod", "web-2", "role=leader"]);
    // Whose turn comes first shows in who is taken by an update that gets no further.
    cluster.kubectl(&["set", "image", "statefulset/web", "web=demo/web:broken"]);
    eventually("an update has begun", STEP_MAX, || images().contains("broken").then_some(()));
    assert_eq!(images(), "web-0 runs demo/web:v2, web-1 runs demo/web:broken, web-2 runs demo/web:v2, ");
    cluster.kubectl(&["set", "image", "statefulset/web", "web=demo/web:v1"]);
    cluster.rolled_out("statefulset/web", STEP_MAX);
    assert_eq!(images(), "web-0 runs demo/web:v1, web-1 runs demo/web:v1, web-2 runs demo/web:v1, ");
}
