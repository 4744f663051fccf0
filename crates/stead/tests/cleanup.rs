//! Nothing is left behind after `down`: no process, mount, link, rule, namespace or cgroup. The data
//! stays, and `up` brings everything back with it; `down --purge` takes the data too.

use std::time::Duration;

use stead_testkit::{Leftovers, Lesson, Netns, eventually, example};

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(40);

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
    let netns = Netns::of(lesson.cluster());
    let used = netns.content();
    assert!(used.contains("stead0"), "{used}");

    lesson.stop_registry();
    lesson.cluster_mut().down();
    assert_eq!(Leftovers::of(&lesson.cluster().data_dir(), &root), Leftovers::default());
    netns.assert_as_new();
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

    // What came back is also looked after: it can be taken away, and made again on the same claims.
    lesson.cluster().kubectl(&["delete", "statefulset", "qdrant"]);
    for pod in PODS {
        lesson.cluster().wait_for(&format!("pod/{pod}"), "delete", STEP_MAX);
    }
    let manifest = std::fs::read_to_string(example("qdrant/qdrant-statefulset.yaml")).expect("the lesson's file");
    let image = "image: qdrant/qdrant:latest";
    lesson.cluster().apply(&manifest.replace(image, &format!("{image}\n        imagePullPolicy: IfNotPresent")));
    lesson.cluster().rolled_out("statefulset/qdrant", STEP_MAX);
    for pod in PODS {
        assert_eq!(lesson.cluster().exec(pod, "cat /qdrant/storage/shard"), pod);
    }

    let data = lesson.cluster().data_dir();
    lesson.cluster_mut().purge();
    assert_eq!(Leftovers::of(&data, &root), Leftovers::default());
    assert!(!data.exists(), "the data is gone");
}

const PODS: [&str; 3] = ["qdrant-0", "qdrant-1", "qdrant-2"];
