//! What is refused, in the words Kubernetes uses, with nothing half done; and what `stead up` itself
//! refuses, in one line each.

use std::process::Command;

use stead_testkit::{Cluster, Leftovers, example};

#[test]
fn bad_manifests_are_refused_in_kubernetes_words() {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    let good = std::fs::read_to_string(example("qdrant/qdrant-statefulset.yaml")).expect("the lesson's file");
    let file = cluster.scratch().join("bad.yaml");
    let refused = |manifest: String| {
        std::fs::write(&file, manifest).expect("a manifest can be written");
        cluster.kubectl_refused(&["create", "-f", &file.display().to_string()])
    };
    let check = |manifest: String, expected: &str| {
        let answer = refused(manifest);
        assert!(answer.contains(expected), "expected {expected:?} in {answer}");
    };
    check(
        good.replace("apiVersion: apps/v1", "apiVersion: apps/v1beta1"),
        "no matches for kind \"StatefulSet\" in version \"apps/v1beta1\"",
    );
    check(
        good.replace("  replicas: 3", "  replicas: 3\n  replicaz: 3"),
        "strict decoding error: unknown field \"spec.replicaz\"",
    );
    check(
        good.replacen("app: qdrant", "app: other", 1),
        "spec.template.metadata.labels: Invalid value: {\"app\":\"qdrant\"}: `selector` does not match template `labels`",
    );
    check(
        good.replace("  name: qdrant\nspec", &format!("  name: {}\nspec", "q".repeat(64))),
        "metadata.name: Invalid value: ",
    );
    assert!(
        refused(good.replace("  name: qdrant\nspec", &format!("  name: {}\nspec", "q".repeat(64))))
            .contains("must be no more than 63 characters")
    );
    let nothing = cluster.kubectl(&["get", "statefulsets,pods,pvc", "-o", "name"]);
    assert_eq!(nothing, "", "nothing was made of it");

    std::fs::write(&file, &good).expect("a manifest can be written");
    cluster.kubectl(&["create", "-f", &file.display().to_string()]);
    std::fs::write(&file, good.replace("qdrant-service", "other-service")).expect("a manifest can be written");
    let answer = cluster.kubectl_refused(&["replace", "-f", &file.display().to_string()]);
    let expected = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
        'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    assert!(answer.contains(expected), "{answer}");
}

/// What `stead up` says, in one line, when it does not start.
fn up(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
    let output = command.args(["up", "--isolated"]).args(args).output().expect("stead can be run");
    assert!(!output.status.success(), "stead up {args:?} should have been refused");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

#[test]
fn a_damaged_log_is_refused_by_name_and_left_as_it_is() {
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    cluster.stop_server();
    let log = cluster.data_dir().join("store/log.redb");
    let sound = std::fs::read(&log).expect("the log");
    let mut flipped = sound.clone();
    flipped.iter_mut().step_by(4096).for_each(|byte| *byte ^= 0x40);
    let directory = cluster.data_dir().display().to_string();
    for damaged in [&flipped[..], &sound[..sound.len() / 2]] {
        std::fs::write(&log, damaged).expect("the log can be written");
        let answer = up(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
        assert!(answer.contains(&format!("data directory {directory}/store is damaged: log.redb: ")), "{answer}");
        assert_eq!(&std::fs::read(&log).expect("the log"), damaged, "nothing is touched");
    }
    std::fs::write(&log, &sound).expect("the log can be written");
    cluster.up();
    let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]);
    assert_eq!(nodes.trim(), "node/stead-test", "a copy of it brings all back");
}

#[test]
fn up_refuses_in_one_line_that_says_what_to_do() {
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_stead"));
    let used = cluster.data_dir().display().to_string();
    let answer = up(&["--listen", "127.0.0.1:0", "--data-dir", &used]);
    assert!(answer.contains("is in use by process") && answer.contains("--data-dir"), "{answer}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let other = cluster.scratch().join("other").display().to_string();
    let answer = up(&["--listen", &address, "--data-dir", &other]);
    assert!(answer.contains("is already in use") && answer.contains("--listen"), "{answer}");

    let answer = up(&["--listen", "127.0.0.1:0", "--data-dir", &other, "--pod-cidr", "10.0.0.0/33"]);
    assert!(answer.contains("--pod-cidr") && answer.contains("10.0.0.0/33"), "{answer}");

    let left = Leftovers::of(&cluster.scratch().join("other"), "no cgroup was ever named");
    assert_eq!(left, Leftovers::default(), "a refusal leaves nothing behind");

    let newer = cluster.scratch().join("newer");
    std::fs::create_dir(&newer).expect("a directory can be made");
    let record = r#"{"format": 1000, "what": "only a later version knows"}"#;
    std::fs::write(newer.join("cluster.json"), record).expect("a record can be written");
    let answer = up(&["--listen", "127.0.0.1:0", "--data-dir", &newer.display().to_string()]);
    assert!(answer.contains("written by a newer version (format 1000"), "{answer}");
    let left = std::fs::read_to_string(newer.join("cluster.json")).expect("the record is still there");
    assert_eq!(left, record, "nothing is touched");

    cluster.stop_server();
    let answer = up(&["--listen", "127.0.0.1:0", "--data-dir", &used, "--pod-cidr", "10.200.0.0/16"]);
    assert!(answer.contains("another --pod-cidr") && answer.contains("run `stead down` first"), "{answer}");
}
