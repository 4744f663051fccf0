//! Nothing is left behind after `down`: no process, mount, link, rule, namespace or cgroup. The data
//! stays, and `up` brings everything back with it; `down --purge` takes the data too.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use stead_testkit::{Leftovers, Lesson, eventually, run};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(40);
/// What shows a network namespace to be as new: links, addresses, routes, policy rules, packet rules.
/// Loopback is up in both: a namespace without it is of no use to whoever holds it.
const NETWORK: &str =
    "ip link set lo up; ip -brief link; ip -brief address; ip route show table all; ip rule; nft list ruleset";

#[test]
fn down_leaves_nothing_but_data() {
    let mut lesson = Lesson::start(env!("CARGO_BIN_EXE_stead"));
    lesson.apply();
    // Not pulled again at every start, as `latest` is: the registry ends with the namespace it is in.
    let policy =
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"qdrant","imagePullPolicy":"IfNotPresent"}]}}}}"#;
    lesson.cluster().kubectl(&["patch", "statefulset", "qdrant", "-p", policy]);
    lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
    for pod in PODS {
        lesson.cluster().exec(pod, "hostname > /qdrant/storage/shard");
    }
    let root = lesson.cluster().cgroup_root();
    let found = Leftovers::of(&lesson.cluster().data_dir(), &root);
    assert!(found.processes.len() >= 5, "server, supervisor and three pods: {found:?}");
    assert!(!found.mounts.is_empty() && !found.cgroups.is_empty(), "{found:?}");
    // Held open, the namespace can be looked at after it has lost its name.
    let netns = File::open(lesson.cluster().netns()).expect("the cluster has a network namespace");
    let used = network_of(&netns);
    assert!(used.contains("stead0"), "{used}");

    lesson.stop_registry();
    lesson.cluster_mut().down();
    assert_eq!(Leftovers::of(&lesson.cluster().data_dir(), &root), Leftovers::default());
    assert_eq!(network_of(&netns), run(Command::new("unshare").args(["--net", "sh", "-c", NETWORK])), "as new");
    assert!(!lesson.cluster().netns().exists());

    // The images are on the node: no registry is needed to come back.
    lesson.cluster_mut().up();
    for pod in PODS {
        // The API shows what was until the agent has started the containers again.
        eventually(&format!("{pod} runs again"), STEP_MAX, || {
            let tried = lesson.cluster().kubectl_command(&["exec", pod, "--", "true"]).output();
            tried.ok().filter(|output| output.status.success()).map(drop)
        });
    }
    lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
    for pod in PODS {
        lesson.cluster().wait_for(&format!("pod/{pod}"), "condition=Ready", STEP_MAX);
        assert_eq!(lesson.cluster().exec(pod, "cat /qdrant/storage/shard"), pod);
        assert_eq!(
            lesson.cluster().exec(pod, "wc -l < /qdrant/storage/starts"),
            "3",
            "started for the patch and once more"
        );
    }

    let data = lesson.cluster().data_dir();
    lesson.cluster_mut().purge();
    assert_eq!(Leftovers::of(&data, &root), Leftovers::default());
    assert!(!data.exists(), "the data is gone");
}

const PODS: [&str; 3] = ["qdrant-0", "qdrant-1", "qdrant-2"];

fn network_of(netns: &File) -> String {
    let path = format!("--net=/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
    run(Command::new("nsenter").args([&path, "sh", "-c", NETWORK]))
}
