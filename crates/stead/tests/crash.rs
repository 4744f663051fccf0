//! `stead up` killed with SIGKILL while the lesson runs, and started again, and so the supervisor: the pods'
//! processes never notice, and nothing that was acknowledged is lost.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use stead_testkit::{Cluster, Lesson, PodChange, PodWatch, State, eventually, pod_processes};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(30);
/// Writes sent while the server is killed, and how many of them it answers first.
const WRITES: usize = 200;
const WRITES_BEFORE_KILL: usize = 60;

/// Whether a change is the one that is waited for.
type Reached<'a> = &'a dyn Fn(&PodChange) -> bool;

#[test]
fn pods_and_acknowledged_writes_outlive_a_killed_server() {
    let mut lesson = Lesson::start(env!("CARGO_BIN_EXE_stead"));
    lesson.apply();
    for pod in ["qdrant-0", "qdrant-1", "qdrant-2"] {
        lesson.cluster().exec(pod, "hostname > /qdrant/storage/shard");
    }
    let before = State::of(lesson.cluster());
    for round in 0..3 {
        let acknowledged = kill_while_writing(lesson.cluster_mut(), round);
        lesson.cluster_mut().up();
        let names = lesson.cluster().kubectl(&["get", "configmaps", "-o", "name"]);
        let found: BTreeSet<&str> = names.lines().collect();
        let lost: Vec<_> = acknowledged.iter().filter(|name| !found.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        lesson.cluster().wait_for("node/stead-test", "condition=Ready", STEP_MAX);
        assert_eq!(State::of(lesson.cluster()), before, "round {round}");
    }
    // What was taken back is also looked after: a write through the whole of it still works.
    lesson.cluster().kubectl(&["delete", "pod", "qdrant-1"]);
    lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
    let after = State::of(lesson.cluster());
    assert_ne!(after.pods["qdrant-1"], before.pods["qdrant-1"]);
    assert_eq!(after.pods["qdrant-0"], before.pods["qdrant-0"]);
    assert_eq!(after.pods["qdrant-2"], before.pods["qdrant-2"]);
    assert_eq!((after.claims, after.revisions), (before.claims, before.revisions));
    assert_eq!(starts(lesson.cluster()), [1, 2, 1]);
}

#[test]
fn a_roll_out_goes_on_where_it_was_killed() {
    let mut lesson = Lesson::start(env!("CARGO_BIN_EXE_stead"));
    let pods = PodWatch::start(lesson.cluster(), "app=qdrant");
    lesson.cluster().shell("kubectl apply -f qdrant-service.yaml -f qdrant-statefulset.yaml");
    pods.wait_for("qdrant-1 is created", STEP_MAX, |pod| pod.name == "qdrant-1");
    restart(&mut lesson);
    lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
    let created = State::of(lesson.cluster());
    assert_eq!(starts(lesson.cluster()), [1, 1, 1], "no replica was started twice");
    assert_eq!((created.claims.len(), created.revisions.len()), (3, 1));

    lesson.cluster().shell("kubectl set image statefulset/qdrant qdrant=qdrant/qdrant:v1.7.0");
    let old = |pod: &PodChange| created.pods[&pod.name].uid == pod.uid;
    let moments: [(&str, Reached); 5] = [
        ("qdrant-2 ends", &|pod| pod.name == "qdrant-2" && (pod.terminating || !old(pod))),
        ("qdrant-2 is back", &|pod| pod.name == "qdrant-2" && !old(pod)),
        ("qdrant-1 ends", &|pod| pod.name == "qdrant-1" && (pod.terminating || !old(pod))),
        ("qdrant-1 is back", &|pod| pod.name == "qdrant-1" && !old(pod)),
        ("qdrant-0 ends", &|pod| pod.name == "qdrant-0" && (pod.terminating || !old(pod))),
    ];
    for (moment, reached) in moments {
        let pods = PodWatch::start(lesson.cluster(), "app=qdrant");
        pods.wait_for(moment, STEP_MAX, reached);
        let zero = pod_processes(&created.pods["qdrant-0"].uid);
        restart(&mut lesson);
        if !moment.starts_with("qdrant-0") {
            assert_eq!(zero, created.pods["qdrant-0"].processes, "qdrant-0 runs on when killed as {moment}");
        }
    }
    lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
    let after = State::of(lesson.cluster());
    assert_eq!(after.claims, created.claims, "the same claims");
    assert_eq!(after.revisions.len(), 2, "one revision per template: {:?}", after.revisions);
    assert_eq!(starts(lesson.cluster()), [2, 2, 2], "every replica was replaced once");
    for (name, pod) in &after.pods {
        assert_eq!((pod.image.as_str(), pod.restarts), ("qdrant/qdrant:v1.7.0", 0), "{name}");
    }
}

#[test]
fn pods_outlive_a_killed_supervisor_and_the_next_one_looks_after_them() {
    let mut lesson = Lesson::start(env!("CARGO_BIN_EXE_stead"));
    lesson.apply();
    let before = State::of(lesson.cluster());
    for nth in 0..3 {
        let untouched = State::of(lesson.cluster());
        lesson.cluster().kill_supervisor();
        if nth == 2 {
            // The server may be gone as well.
            restart(&mut lesson);
            lesson.cluster().wait_for("node/stead-test", "condition=Ready", STEP_MAX);
        }
        assert_eq!(State::of(lesson.cluster()), untouched, "round {nth}");
        let replaced = format!("qdrant-{nth}");
        lesson.cluster().kubectl(&["delete", "pod", &replaced]);
        lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
        let after = State::of(lesson.cluster());
        for (name, pod) in &untouched.pods {
            assert_eq!(after.pods[name] == *pod, *name != replaced, "{name} in round {nth}");
        }
    }
    assert_eq!(State::of(lesson.cluster()).claims, before.claims);
    assert_eq!(starts(lesson.cluster()), [2, 2, 2], "each was replaced once and never restarted");
}

/// How often the container of each replica was started on its claim.
fn starts(cluster: &Cluster) -> [u32; 3] {
    let count = |pod: &str| cluster.exec(pod, "wc -l < /qdrant/storage/starts").parse().expect("a number");
    ["qdrant-0", "qdrant-1", "qdrant-2"].map(count)
}

fn restart(lesson: &mut Lesson) {
    lesson.cluster_mut().kill_server();
    lesson.cluster_mut().up();
}

/// Sends a stream of writes and kills the server in the middle of it; gives the names it acknowledged.
fn kill_while_writing(cluster: &mut Cluster, round: u32) -> Vec<String> {
    let object = |n| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: write-{round}-{n}\n");
    let file = cluster.scratch().join("writes.yaml");
    std::fs::write(&file, (0..WRITES).map(object).collect::<String>()).expect("a file can be written");
    let mut writer = cluster
        .kubectl_command(&["create", "-f", &file.display().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl can be run");
    let answers = BufReader::new(writer.stdout.take().expect("stdout is piped"));
    let mut acknowledged = Vec::new();
    for line in answers.lines().map_while(Result::ok) {
        acknowledged.extend(line.strip_suffix(" created").map(str::to_owned));
        if acknowledged.len() == WRITES_BEFORE_KILL {
            cluster.kill_server();
        }
    }
    let ended = eventually("kubectl ends", STEP_MAX, || writer.try_wait().expect("kubectl can be waited for"));
    assert!(!ended.success() && acknowledged.len() >= WRITES_BEFORE_KILL, "the server was killed in between");
    acknowledged
}
