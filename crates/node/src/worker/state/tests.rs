//! What repeated news and a worker that begins again leave of its state.

use serde_json::json;
use stead_image::{ImageConfig, ImageId};

use super::*;
use crate::spec::{Parts, container_spec};

/// A pod with one container, and how that stands.
fn pod_and_container(state: ContainerState) -> (Arc<Pod>, ContainerInfo) {
    let pod = json!({"metadata": {"name": "web-0", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let config = ImageConfig { entrypoint: vec!["/bin/web".to_owned()], ..ImageConfig::default() };
    let image = Image {
        reference: "web:1".to_owned(),
        name: "web:1".parse().expect("a name"),
        id: ImageId("sha256:0".to_owned()),
        digest: None,
        size_bytes: 0,
        layers: Vec::new(),
        config,
    };
    let spec = container_spec(Parts {
        pod: &pod,
        container: declared(&pod)[0].spec,
        attempt: 0,
        image: &image,
        env: Vec::new(),
        hostname: "web-0",
        mounts: Vec::new(),
        log_path: "0.log".into(),
        node_memory_bytes: 1 << 30,
        annotations: BTreeMap::new(),
    });
    let info = ContainerInfo { spec: spec.expect("a spec"), started_at: Timestamp::UNIX_EPOCH, state };
    (Arc::new(pod), info)
}

fn of(pod: &Arc<Pod>) -> State {
    State::new(pod, Path::new("/nonexistent"), &Inventory::default(), Timestamp::UNIX_EPOCH)
}

#[test]
fn an_end_that_is_told_again_leaves_the_pull_for_the_next_start_alone() {
    let ended = ContainerState::Exited { code: 1, oom_killed: false, finished_at: Timestamp::UNIX_EPOCH };
    let (pod, ended) = pod_and_container(ended);
    let mut state = of(&pod);
    state.put_container(ContainerInfo { state: ContainerState::Running { pid: 1 }, ..ended.clone() });
    state.images.insert("c".to_owned(), ImageState::Pulled);
    state.put_container(ended.clone());
    assert_eq!(state.images.get("c"), None, "the next start asks anew");
    state.images.insert("c".to_owned(), ImageState::Pulling { before: None });
    state.put_container(ended.clone());
    assert_eq!(state.images.get("c"), Some(&ImageState::Pulling { before: None }));
    state.put_container(ContainerInfo { state: ContainerState::Running { pid: 1 }, ..ended });
    assert!(!state.runs("c"), "an end is never taken back");
}

#[test]
fn a_worker_whose_tasks_were_ended_waits_for_none_of_them() {
    let (pod, _) = pod_and_container(ContainerState::Running { pid: 1 });
    let mut state = of(&pod);
    state.images.insert("c".to_owned(), ImageState::Pulling { before: None });
    state.images.insert("d".to_owned(), ImageState::Pulled);
    state.hooks.insert("u-c-0".to_owned(), HookRun::over(Hook::Running));
    state.hooks.insert("u-d-0".to_owned(), HookRun::over(Hook::Done));
    state.end_tasks();
    assert_eq!(Vec::from_iter(state.images), [("d".to_owned(), ImageState::Pulled)]);
    assert_eq!(Vec::from_iter(state.hooks.into_keys()), ["u-d-0"], "what was through stays so");
}
