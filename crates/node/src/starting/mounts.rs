//! What is mounted into a container: its volumes, and the files that every container gets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use stead_runtime::{BindMount, Propagation};

use super::{StartError, io_error};
use crate::env;
use crate::volumes::{self, Paths};

const TERMINATION_PATH_DEFAULT: &str = "/dev/termination-log";

/// The container's volume mounts, in the order declared. Blocking.
pub(super) fn of_volumes(
    container: &Container,
    paths: &Paths,
    env: &[(String, String)],
    pod_dir: &Path,
) -> Result<Vec<BindMount>, StartError> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let Some(place) = paths.get(&mount.name) else { continue };
        let sub_path = sub_path(mount, env)?;
        mounts.push(BindMount {
            source: volumes::show(&place.path, pod_dir, &container.name, index, mount, &sub_path)?,
            destination: PathBuf::from(&mount.mount_path),
            readonly: place.read_only || mount.read_only.unwrap_or(false),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(mounts)
}

/// The part of the volume that is shown; empty for the whole (contract `pods.md` 4.11).
fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<String, StartError> {
    let Some(template) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let missing = std::cell::RefCell::new(None);
    let value = env::expand(template, |name| {
        let value = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        if value.as_deref().is_none_or(str::is_empty) {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        value
    });
    missing.into_inner().map_or(Ok(value), |name| Err(StartError::SubPath(name)))
}

/// Adds `/etc/hosts`, `/etc/resolv.conf` and the termination log, unless the container mounts its
/// own; gives the path of the termination log on the node. Blocking.
pub(super) fn add_managed_files(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    pod_dir: &Path,
    mounts: &mut Vec<BindMount>,
) -> Result<PathBuf, StartError> {
    let dir = pod_dir.join("containers").join(&container.name);
    std::fs::create_dir_all(&dir).map_err(io_error(&dir))?;
    let log = dir.join(format!("{attempt}.termination"));
    std::fs::write(&log, []).map_err(io_error(&log))?;
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o666)).map_err(io_error(&log))?;
    let log_path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let mut managed = vec![
        (pod_dir.join("resolv.conf"), PathBuf::from("/etc/resolv.conf")),
        (log.clone(), PathBuf::from(log_path.unwrap_or(TERMINATION_PATH_DEFAULT))),
    ];
    if !host_network || pod_dir.join("etc-hosts").exists() {
        managed.push((pod_dir.join("etc-hosts"), PathBuf::from("/etc/hosts")));
    }
    for (source, destination) in managed {
        if !mounts.iter().any(|mount| mount.destination == destination) {
            mounts.push(BindMount { source, destination, readonly: false, propagation: Propagation::Private });
        }
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_is_made_from_the_environment_and_from_nothing_that_is_missing() {
        let env = [("POD_NAME".to_owned(), "web-0".to_owned()), ("EMPTY".to_owned(), String::new())];
        let of = |text: &str| {
            let mount = VolumeMount { sub_path_expr: Some(text.to_owned()), ..VolumeMount::default() };
            sub_path(&mount, &env).map_err(|error| error.to_string())
        };
        assert_eq!(of("data/$(POD_NAME)"), Ok("data/web-0".to_owned()));
        assert_eq!(of("$(NODE)/x"), Err("missing value for NODE".to_owned()));
        assert_eq!(of("$(EMPTY)"), Err("missing value for EMPTY".to_owned()));
    }
}
