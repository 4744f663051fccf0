//! Reads from the machine what a container's OCI specification depends on.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use super::sandbox;
use crate::cgroup::Cgroups;
use crate::layout::SHM;
use crate::spec::{CgroupView, Facts};
use crate::types::{ContainerSpec, RuntimeError, SandboxSpec};

/// Entries of /dev that are mounts of their own, not devices to hand on.
const DEVICE_DIRECTORIES_SKIPPED: [&str; 4] = ["pts", "shm", "mqueue", "fd"];

/// Gathers the facts for one container.
pub(super) fn gather(
    spec: &ContainerSpec,
    sandbox_spec: &SandboxSpec,
    sandbox_dir: &Path,
    root: PathBuf,
    cgroups: &Cgroups,
    cgroup: PathBuf,
) -> Result<Facts, RuntimeError> {
    let devices = if spec.privileged { node_devices() } else { Ok(Vec::new()) };
    Ok(Facts {
        namespaces: sandbox::namespaces(sandbox_spec, sandbox_dir),
        shm: sandbox_dir.join(SHM),
        cgroup_view: view(cgroups, &cgroup),
        cgroup,
        thermal_throttle: thermal_throttle(),
        devices: devices.map_err(|e| RuntimeError::Create(format!("failed to list devices: {e}")))?,
        root,
    })
}

fn view(cgroups: &Cgroups, cgroup: &Path) -> CgroupView {
    match cgroups {
        Cgroups::Unified(_) => CgroupView::Namespaced,
        Cgroups::Legacy(hierarchies) => {
            let names = hierarchies.iter().map(|h| h.controllers.join(","));
            CgroupView::Bound(names.zip(cgroups.directories(cgroup)).collect())
        }
    }
}

/// Existing `thermal_throttle` directories; they count throttling and so tell one tenant of another.
fn thermal_throttle() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path().join("thermal_throttle"));
    paths.filter(|path| path.is_dir()).map(|path| path.to_string_lossy().into_owned()).collect()
}

fn node_devices() -> Result<Vec<LinuxDevice>, OciSpecError> {
    let mut devices = Vec::new();
    collect_devices(Path::new("/dev"), &mut devices)?;
    Ok(devices)
}

fn collect_devices(dir: &Path, devices: &mut Vec<LinuxDevice>) -> Result<(), OciSpecError> {
    for entry in fs::read_dir(dir)?.filter_map(Result::ok) {
        let (path, Ok(kind), Ok(metadata)) = (entry.path(), entry.file_type(), entry.metadata()) else { continue };
        let skipped = path.file_name().is_some_and(|n| DEVICE_DIRECTORIES_SKIPPED.iter().any(|s| n == *s));
        if kind.is_dir() && !skipped {
            collect_devices(&path, devices)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            let number = metadata.rdev();
            devices.push(
                LinuxDeviceBuilder::default()
                    .path(path)
                    .typ(if kind.is_char_device() { LinuxDeviceType::C } else { LinuxDeviceType::B })
                    .major(i64::from(rustix::fs::major(number)))
                    .minor(i64::from(rustix::fs::minor(number)))
                    .file_mode(metadata.mode() & 0o7777)
                    .uid(metadata.uid())
                    .gid(metadata.gid())
                    .build()?,
            );
        }
    }
    Ok(())
}
