//! Specifications for this crate's unit tests, with nothing surprising in them.

use std::path::PathBuf;

use crate::types::*;

/// A plain container `name` in sandbox `pod-1`.
pub(crate) fn container_spec(name: &str) -> ContainerSpec {
    ContainerSpec {
        id: ContainerId(format!("id-{name}")),
        sandbox: SandboxId("pod-1".into()),
        name: name.into(),
        attempt: 0,
        image: "image".into(),
        image_id: "image-id".into(),
        rootfs: RootFs { layers: vec![PathBuf::from("/layers/0")], readonly: false },
        args: vec!["/bin/true".into()],
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        user: User::default(),
        mounts: Vec::new(),
        resources: Resources::default(),
        oom_score_adj: 0,
        privileged: false,
        capabilities_add: Vec::new(),
        capabilities_drop: Vec::new(),
        no_new_privileges: false,
        seccomp: Seccomp::RuntimeDefault,
        host_pid: false,
        tty: false,
        stdin: false,
        log_path: PathBuf::from("/logs/0.log"),
        annotations: Default::default(),
    }
}

/// The sandbox of [`container_spec`].
pub(crate) fn sandbox_spec() -> SandboxSpec {
    SandboxSpec {
        id: SandboxId("pod-1".into()),
        namespace: "default".into(),
        name: "pod".into(),
        hostname: "pod".into(),
        host_network: false,
        sysctls: Default::default(),
        cgroup: "kubepods/podpod-1".into(),
        resources: Resources::default(),
    }
}
