//! Giving a volume to the pod's `fsGroup` (contract `pods.md` 5.10).

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::{VolumeError, io, set_mode};

/// What directories and files of the volume allow their group, at least.
const DIRECTORY: u32 = 0o2770;
const FILE: u32 = 0o660;

/// Gives the volume to the pod's group, if it has one; symbolic links are not followed. With the policy
/// `OnRootMismatch` a volume whose root is as it should be is left alone, however large it is.
pub(super) fn apply(pod: &Pod, root: &Path) -> Result<(), VolumeError> {
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let Some(gid) = security.and_then(|security| security.fs_group).and_then(|gid| u32::try_from(gid).ok()) else {
        return Ok(());
    };
    let only_on_mismatch = security.and_then(|security| security.fs_group_change_policy.as_deref());
    let found = std::fs::metadata(root).map_err(io(format!("look at {}", root.display())))?;
    if only_on_mismatch == Some("OnRootMismatch") && is_given(&found, gid) {
        return Ok(());
    }
    // The root comes last: a run that was cut short is not taken for a whole one.
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let action = || format!("set group of {}", path.display());
        let meta = std::fs::symlink_metadata(&path).map_err(io(action()))?;
        if meta.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(io(action()))? {
                waiting.push(entry.map_err(io(action()))?.path());
            }
        }
        if path != root {
            give(&path, &meta, gid)?;
        }
    }
    give(root, &found, gid)
}

fn is_given(root: &Metadata, gid: u32) -> bool {
    root.gid() == gid && root.permissions().mode() & DIRECTORY == DIRECTORY
}

fn give(path: &Path, meta: &Metadata, gid: u32) -> Result<(), VolumeError> {
    std::os::unix::fs::lchown(path, None, Some(gid)).map_err(io(format!("set group of {}", path.display())))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let added = if meta.is_dir() { DIRECTORY } else { FILE };
    set_mode(path, meta.permissions().mode() & 0o7777 | added)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec};

    use super::*;

    fn pod(gid: u32, policy: &str) -> Pod {
        let security = PodSecurityContext {
            fs_group: Some(gid.into()),
            fs_group_change_policy: Some(policy.to_owned()),
            ..PodSecurityContext::default()
        };
        Pod { spec: Some(PodSpec { security_context: Some(security), ..PodSpec::default() }), ..Pod::default() }
    }

    #[test]
    fn a_volume_is_given_to_the_group_and_then_left_alone_where_the_pod_asks_for_that() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (root, file) = (dir.path().join("claim"), dir.path().join("claim/data"));
        std::fs::create_dir(&root).expect("made");
        std::fs::write(&file, "x").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
        // A group that the test may give to, root or not.
        let own = std::fs::metadata(&root).expect("there").gid();
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        apply(&pod(own, "OnRootMismatch"), &root).expect("given");
        assert_eq!((mode(&root) & DIRECTORY, mode(&file)), (DIRECTORY, 0o660));

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
        apply(&pod(own, "OnRootMismatch"), &root).expect("left alone");
        assert_eq!(mode(&file), 0o600);
        apply(&pod(own, "Always"), &root).expect("given");
        assert_eq!(mode(&file), 0o660);
    }
}
