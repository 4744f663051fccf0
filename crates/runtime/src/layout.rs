//! Where the runtime keeps its files below `DATA/runtime`. Names only.

use std::path::{Path, PathBuf};

use crate::types::{ContainerId, RuntimeError, SandboxId};

/// The socket, relative to the directory: its absolute path may be longer than an address allows.
pub(crate) const SOCKET: &str = "supervisor.sock";
/// Held (flock) by the supervisor while it lives.
pub(crate) const LOCK: &str = "supervisor.lock";
/// Held (fcntl, shared) by each worker while it works: not inherited by what it starts, gone when it is.
pub(crate) const WORKERS_LOCK: &str = "workers.lock";
/// Held (flock) by a client while it starts a supervisor.
pub(crate) const START_LOCK: &str = "start.lock";
/// What the supervisor has to say.
pub(crate) const LOG: &str = "supervisor.log";
/// A container's or sandbox's record, in its directory.
pub(crate) const RECORD: &str = "record.json";
/// A container's root file system, in its directory.
pub(crate) const ROOT: &str = "root";
/// libcontainer's own state, in a container's directory.
pub(crate) const OCI_STATE: &str = "oci";
/// The name libcontainer knows a container by, below [`OCI_STATE`]: ours may hold any character.
pub(crate) const OCI_ID: &str = "container";
/// Shared memory of a sandbox, in its directory.
pub(crate) const SHM: &str = "shm";
/// Longest identifier, in bytes: it names a directory.
const ID_BYTES_MAX: usize = 200;

/// A path to `name` in an open directory that fits a socket address however deep the directory lies.
pub(crate) fn short_path(dir: &std::fs::File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(dir)))
}

/// The directories of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    /// All containers.
    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// All sandboxes.
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// One container. Refuses an identifier that is no plain file name.
    pub(crate) fn container(&self, id: &ContainerId) -> Result<PathBuf, RuntimeError> {
        Ok(self.containers().join(file_name(&id.0)?))
    }

    /// One sandbox. Refuses an identifier that is no plain file name.
    pub(crate) fn sandbox(&self, id: &SandboxId) -> Result<PathBuf, RuntimeError> {
        Ok(self.sandboxes().join(file_name(&id.0)?))
    }
}

/// The path of a container's cgroup below each hierarchy's root: under its pod's.
pub(crate) fn container_cgroup(pod: &str, id: &ContainerId) -> PathBuf {
    Path::new(pod).join(&id.0)
}

fn file_name(id: &str) -> Result<&str, RuntimeError> {
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain && !id.is_empty() && !id.starts_with('.') && id.len() <= ID_BYTES_MAX {
        Ok(id)
    } else {
        Err(RuntimeError::Create(format!("invalid identifier {id:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_stay_inside_their_directory() {
        let layout = Layout { root: "/r".into() };
        assert_eq!(layout.container(&ContainerId("a1-b.c".into())), Ok("/r/containers/a1-b.c".into()));
        for bad in ["", ".", "..", "../x", "a/b", "a\0b", ".hidden"] {
            assert!(layout.container(&ContainerId(bad.into())).is_err(), "{bad:?}");
        }
    }
}
