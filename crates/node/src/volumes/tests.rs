//! The volumes of a pod from the first set-up to the tear-down, on real mounts.

use std::fs::{self, Permissions};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const GROUP: u32 = 4242;

/// A node's data directory with one claim in it, and what the API says of that.
struct Node {
    data: PathBuf,
    /// Where the claim is and how it is shown: `local` or `hostPath`.
    kind: &'static str,
    _directory: TempDir,
}

impl Node {
    fn new(name: &str, kind: &'static str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join(name);
        fs::create_dir_all(data.join("volumes/claim/part")).expect("made");
        fs::write(data.join("volumes/claim/part/data"), "d").expect("written");
        Self { data, kind, _directory: directory }
    }

    fn claim_dir(&self) -> PathBuf {
        self.data.join("volumes/claim")
    }

    fn pod_dir(&self, pod: &Pod) -> PathBuf {
        self.data.join("pods").join(pod.metadata.uid.as_deref().expect("given"))
    }

    fn set_up(&self, pod: &Pod) -> Paths {
        set_up(pod, &self.pod_dir(pod), &PodFacts::default(), self).expect("set up")
    }

    fn tear_down(&self, pod: &Pod) {
        tear_down(pod.metadata.uid.as_deref().expect("given"), &self.pod_dir(pod)).expect("torn down");
    }
}

impl Sources for Node {
    fn config_map(&self, _: &str) -> Option<Arc<ConfigMap>> {
        None
    }

    fn secret(&self, _: &str) -> Option<Arc<Secret>> {
        Some(Arc::new(made(json!({"metadata": {"name": "keys"}, "data": {"key": "aw=="}}))))
    }

    fn services(&self) -> Vec<Arc<Service>> {
        Vec::new()
    }

    fn allocatable(&self, _: &str) -> Option<Amount> {
        None
    }
}

impl VolumeSources for Node {
    fn claim(&self, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        Some(Arc::new(made(json!({"metadata": {"name": name, "uid": "claim"}, "spec": {"volumeName": "pv"}}))))
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        let mut spec = json!({"claimRef": {"uid": "claim"}});
        spec[self.kind] = json!({"path": self.claim_dir()});
        Some(Arc::new(made(json!({"metadata": {"name": name}, "spec": spec}))))
    }
}

fn made<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("well formed")
}

/// A pod of the group with these volumes besides its claim `data`.
fn pod(name: &str, volumes: Value) -> Pod {
    let mut all = vec![json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}})];
    all.extend(volumes.as_array().into_iter().flatten().cloned());
    made(json!({
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}")},
        "spec": {"containers": [], "securityContext": {"fsGroup": GROUP}, "volumes": all},
    }))
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::metadata(path).expect("there");
    (meta.gid(), meta.permissions().mode() & 0o7777)
}

#[test]
fn a_claims_data_outlives_its_pod_whatever_the_data_directory_is_called() {
    let node = Node::new("tab\tline\nback\\slash blank", "local");
    let pod = pod("web-0", json!([{"name": "keys", "secret": {"secretName": "keys"}}]));
    let paths = node.set_up(&pod);
    let mount = made(json!({"name": "data", "mountPath": "/data", "subPath": "part"}));
    let shown = show(&paths["data"].path, &node.pod_dir(&pod), "main", 0, &mount, "part").expect("shown");
    assert_eq!(fs::read_to_string(shown.join("data")).expect("the same file"), "d");
    node.tear_down(&pod);
    assert_eq!(mounts::below(&node.data).expect("read"), [] as [&Path; 0]);
    assert_eq!(fs::read_to_string(node.claim_dir().join("part/data")).expect("still there"), "d");
    assert!(!node.claim_dir().with_extension("users").exists(), "the claim is free again");
    let left: Vec<_> =
        fs::read_dir(node.pod_dir(&pod)).expect("there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["claims"]);
}

#[test]
fn an_agent_that_comes_back_leaves_what_processes_have_made_of_their_volumes() {
    let node = Node::new("data", "local");
    let pod = pod("web-0", json!([{"name": "scratch", "emptyDir": {}}]));
    let paths = node.set_up(&pod);
    let file = node.claim_dir().join("part/data");
    assert_eq!(owner(&paths["scratch"].path), (GROUP, 0o2777));
    assert_eq!(owner(&file).0, GROUP);
    for (path, mode) in [(&paths["scratch"].path, 0o700), (&file, 0o600)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }
    node.set_up(&pod);
    assert_eq!((owner(&paths["scratch"].path).1, owner(&file).1), (0o700, 0o600));
    node.tear_down(&pod);
}

#[test]
fn memory_that_the_machine_forgot_is_prepared_again() {
    let node = Node::new("data", "local");
    let pod = pod("web-0", json!([{"name": "scratch", "emptyDir": {"medium": "Memory"}}]));
    let paths = node.set_up(&pod);
    rustix::mount::unmount(&paths["scratch"].path, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    node.set_up(&pod);
    assert_eq!(owner(&paths["scratch"].path), (GROUP, 0o2777));
    node.tear_down(&pod);
}

#[test]
fn a_volume_that_others_use_or_an_administrator_shows_keeps_its_group() {
    let node = Node::new("data", "local");
    let mut first = pod("reader", Value::Null);
    first.spec.get_or_insert_default().security_context = None;
    node.set_up(&first);
    let own = owner(&node.claim_dir());
    let second = pod("web-0", Value::Null);
    node.set_up(&second);
    assert_eq!(owner(&node.claim_dir()), own);
    node.tear_down(&first);
    node.tear_down(&second);

    let node = Node::new("data", "hostPath");
    let own = owner(&node.claim_dir());
    node.set_up(&second);
    assert_eq!(owner(&node.claim_dir()), own);
    node.tear_down(&second);
}

#[test]
fn a_group_may_read_a_secret_but_not_write_it() {
    let node = Node::new("data", "local");
    let pod = pod("web-0", json!([{"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}}]));
    let paths = node.set_up(&pod);
    assert!(paths["keys"].read_only && !paths["data"].read_only);
    let key = paths["keys"].path.join("key");
    assert_eq!((owner(&key), fs::read(&key).expect("there")), ((GROUP, 0o440), b"k".to_vec()));
    let before = fs::read_link(paths["keys"].path.join("..data")).expect("a link");
    refresh(&pod, &node.pod_dir(&pod), &PodFacts::default(), &node).expect("up to date");
    assert_eq!(fs::read_link(paths["keys"].path.join("..data")).expect("a link"), before, "nothing was rewritten");
    node.tear_down(&pod);
}
