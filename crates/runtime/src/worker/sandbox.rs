//! A sandbox's namespaces, shared memory and pod cgroup. No process holds the namespaces: bind mounts
//! of their files do.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::mount::{MountFlags, UnmountFlags};

use super::create_error;
use crate::cgroup::{Cgroups, Level};
use crate::layout::SHM;
use crate::spec::SandboxNamespaces;
use crate::types::{RuntimeError, SandboxSpec};

/// Size of a pod's shared memory, as mount option; what every engine gives.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";

/// The namespace files of a sandbox that is in `dir`.
pub(super) fn namespaces(spec: &SandboxSpec, dir: &Path) -> SandboxNamespaces {
    let own = |name| (!spec.host_network).then(|| dir.join(name));
    SandboxNamespaces { network: own("net"), uts: own("uts"), ipc: Some(dir.join("ipc")) }
}

/// Makes everything of a sandbox in `dir`, which exists. On failure the caller removes.
pub(super) fn create(dir: &Path, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    let cgroups = Cgroups::detect().map_err(|e| RuntimeError::Other(e.to_string()))?;
    cgroups
        .create(Path::new(&spec.cgroup), Level::Pod, &spec.resources)
        .map_err(|e| RuntimeError::Other(e.to_string()))?;

    let shm = dir.join(SHM);
    fs::create_dir_all(&shm).map_err(create_error("failed to make the shared memory directory"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("shm", &shm, "tmpfs", flags, SHM_OPTIONS)
        .map_err(|e| create_error("failed to mount shared memory")(e.into()))?;

    let (flags, names) = if spec.host_network {
        (CloneFlags::CLONE_NEWIPC, &["ipc"][..])
    } else {
        let flags = CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
        // The one every sandbox has comes last: where it is, the others are.
        (flags, &["net", "uts", "ipc"][..])
    };
    nix::sched::unshare(flags).map_err(|e| create_error("failed to make namespaces")(e.into()))?;
    if !spec.host_network {
        rustix::system::sethostname(spec.hostname.as_bytes())
            .map_err(|e| create_error("failed to set the host name")(e.into()))?;
    }
    for (name, value) in &spec.sysctls {
        if !is_namespaced(name, spec.host_network) {
            return Err(RuntimeError::Create(format!("sysctl {name:?} is not the sandbox's own")));
        }
        set_sysctl(name, value)?;
    }
    for name in names {
        pin(name, &dir.join(name)).map_err(create_error("failed to pin a namespace"))?;
    }
    Ok(())
}

/// Keeps this process's namespace alive on a file.
fn pin(name: &str, on: &Path) -> io::Result<()> {
    let file = File::create(on)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    rustix::mount::mount_bind(format!("/proc/self/ns/{name}"), on)?;
    Ok(())
}

/// Whether a kernel parameter belongs to the sandbox's namespaces; any other is the whole node's, and so
/// are those of the network where the sandbox uses the node's.
fn is_namespaced(name: &str, host_network: bool) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) && !name.contains("..");
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    plain && (starts(&["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."]) || (!host_network && starts(&["net."])))
}

/// Sets a kernel parameter of the namespaces this process is in.
fn set_sysctl(name: &str, value: &str) -> Result<(), RuntimeError> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::write(path, value).map_err(|e| RuntimeError::Create(format!("failed to set sysctl {name}: {e}")))
}

/// Undoes [`create`], also a partial one.
pub(super) fn remove(dir: &Path, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    // In the opposite order of making: a sandbox that is half gone must not look whole.
    for name in ["ipc", "uts", "net", SHM] {
        super::remove::unmount(&dir.join(name), UnmountFlags::DETACH)?;
    }
    let cgroups = Cgroups::detect().map_err(|e| RuntimeError::Other(e.to_string()))?;
    cgroups.remove(Path::new(&spec.cgroup)).map_err(|e| RuntimeError::Other(e.to_string()))?;
    super::remove::directory(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sandboxes_own_parameters_may_be_set() {
        for name in
            ["net.core.somaxconn", "net.ipv4.conf.eth0/1.forwarding", "kernel.shm_rmid_forced", "fs.mqueue.msg_max"]
        {
            assert!(is_namespaced(name, false), "{name}");
        }
        assert!(!is_namespaced("net.core.somaxconn", true));
        assert!(is_namespaced("kernel.sem", true));
        for name in ["vm.swappiness", "kernel.core_pattern", "net./../../x", "net.a\nb", ""] {
            assert!(!is_namespaced(name, false), "{name:?}");
        }
    }
}
