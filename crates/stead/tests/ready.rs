//! A replica is made ready before an update stops it (`docs/beyond.md`), with kubectl on real containers:
//! the image first, then the hook.

use std::time::Duration;

use stead_testkit::{Cluster, busybox, eventually};

/// Longest wait for one step; a missing image or a failing hook is tried again within a minute.
const STEP_MAX: Duration = Duration::from_secs(100);
const SERVE: &str = "trap 'kill $!; exit 0' TERM; httpd -f -p 8000 -h / & wait $!";

const SET: &str = r"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: demo/web:v1
        imagePullPolicy: IfNotPresent
        readinessProbe: {httpGet: {path: /version, port: 8000}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
";

#[test]
fn replicas_are_made_ready_before_an_update_stops_them() {
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    import(&cluster, "v1");
    cluster.apply(SET);
    cluster.rolled_out("statefulset/web", STEP_MAX);

    the_image_has_to_be_there_first(&cluster);
    the_hook_runs_before_each_replica_goes(&cluster);
    without_being_asked_an_update_goes_on_as_in_kubernetes(&cluster);
    cluster.down();
}

/// Brings an image to the node, as somebody without a registry would.
fn import(cluster: &Cluster, version: &str) {
    let mut image = busybox();
    image.file("version", 0o644, version.as_bytes()).command(&["/bin/sh", "-c", SERVE]);
    let archive = cluster.scratch().join(format!("{version}.tar"));
    image.save(&format!("docker.io/demo/web:{version}"), &archive);
    cluster.stead(&["image", "import", &archive.display().to_string()]);
}

fn update_to(cluster: &Cluster, version: &str) {
    cluster.kubectl(&["set", "image", "statefulset/web", &format!("web=demo/web:{version}")]);
}

fn uid(cluster: &Cluster, pod: &str) -> String {
    cluster.field(&format!("pod/{pod}"), "/metadata/uid")
}

fn blocked(cluster: &Cluster) -> String {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Blocked")].reason}: {.status.conditions[?(@.type=="Blocked")].message}"#;
    cluster.kubectl(&["get", "sts", "web", "-o", path])
}

fn until_blocked(cluster: &Cluster, beginning: &str) {
    eventually(beginning, STEP_MAX, || blocked(cluster).starts_with(beginning).then_some(()));
}

fn the_image_has_to_be_there_first(cluster: &Cluster) {
    cluster.kubectl(&["annotate", "sts", "web", "stead.dev/image-prefetch=required"]);
    let before = uid(cluster, "web-1");
    update_to(cluster, "v2");
    until_blocked(cluster, "ImageMissing: web-1 stays until its node has the new image: ");
    assert_eq!(uid(cluster, "web-1"), before, "the old replica keeps running");
    assert_eq!(cluster.exec("web-1", "cat /version"), "v1");
    import(cluster, "v2");
    cluster.rolled_out("statefulset/web", STEP_MAX);
    assert_eq!([cluster.exec("web-0", "cat /version"), cluster.exec("web-1", "cat /version")], ["v2", "v2"]);
    assert!(blocked(cluster).starts_with("NothingBlocks"));
    cluster.kubectl(&["annotate", "sts", "web", "stead.dev/image-prefetch-"]);
}

fn the_hook_runs_before_each_replica_goes(cluster: &Cluster) {
    // Handing over works once somebody has made that possible.
    let hook = r#"stead.dev/prepare-hook={"exec":{"command":["/bin/sh","-c","test -e /data/may-go && hostname >> /data/handed-over"]}}"#;
    cluster.kubectl(&["annotate", "sts", "web", hook]);
    let before = uid(cluster, "web-1");
    import(cluster, "v3");
    update_to(cluster, "v3");
    until_blocked(cluster, "PrepareHookFailed: web-1 stays until its prepare hook succeeds: ");
    assert_eq!(uid(cluster, "web-1"), before, "a failing hook holds its replica");
    let events = cluster.kubectl(&["get", "events", "--field-selector=reason=FailedPrepareHook"]);
    assert!(events.contains("pod/web-1"), "{events}");
    for pod in ["web-0", "web-1"] {
        cluster.exec(pod, "touch /data/may-go");
    }
    cluster.rolled_out("statefulset/web", STEP_MAX);
    for pod in ["web-0", "web-1"] {
        assert_eq!(cluster.exec(pod, "cat /version"), "v3");
        assert_eq!(cluster.exec(pod, "cat /data/handed-over"), pod, "the hook ran once, in the old replica");
    }
    cluster.kubectl(&["annotate", "sts", "web", "stead.dev/prepare-hook-"]);
}

fn without_being_asked_an_update_goes_on_as_in_kubernetes(cluster: &Cluster) {
    let before = uid(cluster, "web-1");
    update_to(cluster, "nowhere");
    eventually("the new replica waits for its image", STEP_MAX, || {
        let path = "jsonpath={.metadata.uid} {.status.containerStatuses[0].state.waiting.reason}";
        let told = cluster.kubectl_command(&["get", "pod", "web-1", "-o", path]).output().expect("kubectl runs");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let waits = told.ends_with(" ErrImagePull") || told.ends_with(" ImagePullBackOff");
        (waits && !told.starts_with(&before)).then_some(())
    });
    assert_eq!(cluster.exec("web-0", "cat /version"), "v3", "the other one keeps running");
    // Putting the template back heals alone.
    update_to(cluster, "v3");
    cluster.rolled_out("statefulset/web", STEP_MAX);
    eventually("web-1 is back", STEP_MAX, || (cluster.field("sts/web", "/status/readyReplicas") == "2").then_some(()));
}
