//! A Deployment beside the lesson's StatefulSet, as the lesson's table compares them: random names,
//! all replicas at once.

use std::collections::BTreeSet;
use std::time::Duration;

use stead_testkit::{Cluster, Lesson, example};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(40);

#[test]
fn replicas_have_random_names_and_start_all_at_once() {
    let lesson = Lesson::start(env!("CARGO_BIN_EXE_stead"));
    let cluster = lesson.cluster();
    cluster.kubectl(&["apply", "-f", &example("web/web-deployment.yaml").display().to_string()]);
    cluster.rolled_out("deployment/web", STEP_MAX);

    let pods = pods(cluster);
    assert_eq!(pods.len(), 3);
    let hash = cluster.field("replicasets -l app=web", "/items/0/metadata/labels/pod-template-hash");
    for pod in &pods {
        let suffix = pod.strip_prefix(&format!("web-{hash}-")).unwrap_or_else(|| panic!("{pod} names its revision"));
        assert_eq!(suffix.len(), 5, "{pod} ends in a random suffix");
    }
    assert_started_together(cluster);

    // A replica that dies is replaced by one of another name.
    let victim = pods.first().expect("three pods").clone();
    cluster.kubectl(&["delete", "pod", &victim]);
    cluster.rolled_out("deployment/web", STEP_MAX);
    let after = self::pods(cluster);
    assert_eq!((after.len(), after.contains(&victim)), (3, false), "{after:?}");

    cluster.kubectl(&["scale", "deployment", "web", "--replicas=1"]);
    cluster.wait_for("deployment/web", "jsonpath={.status.replicas}=1", STEP_MAX);
    cluster.kubectl(&["set", "env", "deployment/web", "TRY=2"]);
    cluster.rolled_out("deployment/web", STEP_MAX);
    let history = cluster.kubectl(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    cluster.kubectl(&["rollout", "undo", "deployment/web"]);
    cluster.rolled_out("deployment/web", STEP_MAX);
    let back = cluster
        .field("replicasets -l app=web --sort-by=.status.replicas", "/items/1/metadata/labels/pod-template-hash");
    assert_eq!(back, hash, "the first revision's replica set is used again");
}

fn pods(cluster: &Cluster) -> BTreeSet<String> {
    let names =
        cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "name", "--field-selector=status.phase=Running"]);
    names.lines().filter_map(|line| line.strip_prefix("pod/")).map(str::to_owned).collect()
}

/// Every replica was created before any was Ready: none waited for another.
fn assert_started_together(cluster: &Cluster) {
    let events = cluster.get("events");
    let created =
        events["items"].as_array().expect("a list").iter().filter(|event| event["reason"] == "SuccessfulCreate");
    let by_set = created.filter(|event| event["involvedObject"]["kind"] == "ReplicaSet").count();
    assert_eq!(by_set, 3, "the replica set made three pods");
    let list = cluster.get("pods -l app=web");
    let times = |pointer: &str| -> BTreeSet<String> {
        let items = list["items"].as_array().expect("a list");
        items.iter().filter_map(|pod| pod.pointer(pointer)?.as_str().map(str::to_owned)).collect()
    };
    let created = times("/metadata/creationTimestamp");
    assert!(created.len() <= 2, "created within the same moment: {created:?}");
}
