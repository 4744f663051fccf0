//! From a container's specification to the OCI one libcontainer runs. Pure: what must be read from the
//! machine comes in as [`Facts`].
//!
//! Three things are deliberately absent from the result. Limits: the cgroup is made and limited before
//! (`cgroup`). Capabilities and seccomp: the launcher applies both itself, in the order the kernel wants
//! them (`worker::launcher`). `oom_score_adj`: libcontainer gives up where the kernel refuses to lower it.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, MountBuilder, Process,
    RootBuilder, Spec, UserBuilder,
};

use crate::types::{ContainerSpec, Propagation};

/// Search path of a container whose environment has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hidden from containers (contract `pods.md` 6.7).
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Read-only for containers (contract `pods.md` 6.7).
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container's specification needs to know of the machine and its sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Mounted root file system.
    pub(crate) root: PathBuf,
    /// Namespace files to join; none where the node's is used.
    pub(crate) namespaces: SandboxNamespaces,
    /// Shared memory of the pod, mounted on the node.
    pub(crate) shm: PathBuf,
    /// Path of the container's cgroup below each hierarchy's root.
    pub(crate) cgroup: PathBuf,
    /// How the container sees its cgroup.
    pub(crate) cgroup_view: CgroupView,
    /// Existing `thermal_throttle` directories of the processors.
    pub(crate) thermal_throttle: Vec<String>,
    /// Every device of the node; used for privileged containers.
    pub(crate) devices: Vec<LinuxDevice>,
}

/// Files that hold a sandbox's namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct SandboxNamespaces {
    pub(crate) network: Option<PathBuf>,
    pub(crate) uts: Option<PathBuf>,
    pub(crate) ipc: Option<PathBuf>,
}

/// How a container sees control groups.
#[derive(Clone, Debug)]
pub(crate) enum CgroupView {
    /// Version 2: its own mount in its own cgroup namespace.
    Namespaced,
    /// Version 1: the container's directory of each hierarchy, by the hierarchy's name. libcontainer's
    /// own mounts would be writable, and the container could lift its limits.
    Bound(Vec<(String, PathBuf)>),
}

/// Builds the specification.
pub(crate) fn build(spec: &ContainerSpec, facts: &Facts) -> Result<Spec, OciSpecError> {
    let mut oci = Spec::default();
    oci.set_hostname(None)
        .set_root(Some(RootBuilder::default().path(&*facts.root).readonly(spec.rootfs.readonly).build()?))
        .set_mounts(Some(mounts(spec, facts)?))
        .set_process(Some(process(spec)?))
        .set_linux(Some(linux(spec, facts)?));
    Ok(oci)
}

fn process(spec: &ContainerSpec) -> Result<Process, OciSpecError> {
    let user = UserBuilder::default()
        .uid(spec.user.uid)
        .gid(spec.user.gid)
        .additional_gids(spec.user.additional_gids.clone())
        .build()?;
    let mut process = Process::default();
    process
        .set_terminal(Some(spec.tty))
        .set_user(user)
        .set_args(Some(spec.args.clone()))
        .set_env(Some(environment(spec)))
        .set_cwd(spec.cwd.clone())
        .set_capabilities(None)
        .set_rlimits(None)
        .set_no_new_privileges(spec.no_new_privileges.then_some(true));
    Ok(process)
}

/// The environment in order, with what every engine adds when it is missing. `HOME` is never missing or empty:
/// libcontainer would look the user up through the C library, which in a static binary loads whatever
/// `libnss` the image brings, with full privileges.
fn environment(spec: &ContainerSpec) -> Vec<String> {
    let has = |name: &str| spec.env.iter().any(|(key, value)| key == name && !(name == "HOME" && value.is_empty()));
    let mut env = Vec::with_capacity(spec.env.len() + 3);
    if !has("PATH") {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if spec.tty && !has("TERM") {
        env.push("TERM=xterm".into());
    }
    env.extend(
        spec.env.iter().filter(|(key, _)| key != "HOME" || has("HOME")).map(|(key, value)| format!("{key}={value}")),
    );
    if !has("HOME") {
        let home = spec.user.home.as_deref().filter(|home| !home.is_empty());
        env.push(format!("HOME={}", home.unwrap_or("/")));
    }
    env
}

fn linux(spec: &ContainerSpec, facts: &Facts) -> Result<Linux, OciSpecError> {
    let strings = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (masked, readonly) = if spec.privileged {
        (Vec::new(), Vec::new())
    } else {
        let mut masked = strings(&MASKED_PATHS);
        masked.extend(facts.thermal_throttle.iter().cloned());
        (masked, strings(&READONLY_PATHS))
    };
    let mut linux = Linux::default();
    linux
        .set_resources(None)
        .set_cgroups_path(Some(Path::new("/").join(&facts.cgroup)))
        .set_namespaces(Some(namespaces(spec, facts)?))
        .set_rootfs_propagation(Some(propagation(spec).into()))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(readonly))
        .set_devices(spec.privileged.then(|| facts.devices.clone()));
    Ok(linux)
}

/// libcontainer sets propagation for the whole of a container's mounts; the widest asked for wins.
fn propagation(spec: &ContainerSpec) -> &'static str {
    let asked = |p| spec.mounts.iter().any(|mount| mount.propagation == p);
    if asked(Propagation::Bidirectional) {
        "shared"
    } else if asked(Propagation::HostToContainer) {
        "slave"
    } else {
        "private"
    }
}

fn namespaces(spec: &ContainerSpec, facts: &Facts) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let own = |kind| LinuxNamespaceBuilder::default().typ(kind).build();
    let join = |kind, path: &Path| LinuxNamespaceBuilder::default().typ(kind).path(path).build();
    let mut namespaces = vec![own(LinuxNamespaceType::Mount)?];
    if !spec.host_pid {
        namespaces.push(own(LinuxNamespaceType::Pid)?);
    }
    if matches!(facts.cgroup_view, CgroupView::Namespaced) {
        namespaces.push(own(LinuxNamespaceType::Cgroup)?);
    }
    let shared = [
        (LinuxNamespaceType::Network, &facts.namespaces.network),
        (LinuxNamespaceType::Uts, &facts.namespaces.uts),
        (LinuxNamespaceType::Ipc, &facts.namespaces.ipc),
    ];
    for (kind, path) in shared {
        if let Some(path) = path {
            namespaces.push(join(kind, path)?);
        }
    }
    Ok(namespaces)
}

fn mounts(spec: &ContainerSpec, facts: &Facts) -> Result<Vec<Mount>, OciSpecError> {
    let system = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", Path::new("proc"), &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", Path::new("tmpfs"), &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "/dev/pts",
            "devpts",
            Path::new("devpts"),
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("/dev/mqueue", "mqueue", Path::new("mqueue"), &["nosuid", "noexec", "nodev"])?,
        mount("/dev/shm", "bind", &facts.shm, &["bind", "nosuid", "noexec", "nodev"])?,
        mount("/sys", "sysfs", Path::new("sysfs"), &["nosuid", "noexec", "nodev", system])?,
    ];
    mounts.extend(cgroup_mounts(facts, system)?);
    for volume in &spec.mounts {
        let access = if volume.readonly { "ro" } else { "rw" };
        mounts.push(
            MountBuilder::default()
                .destination(&*volume.destination)
                .typ("bind")
                .source(&*volume.source)
                .options(["rbind", access].map(str::to_owned).to_vec())
                .build()?,
        );
    }
    Ok(mounts)
}

fn cgroup_mounts(facts: &Facts, access: &str) -> Result<Vec<Mount>, OciSpecError> {
    const FLAGS: [&str; 3] = ["nosuid", "noexec", "nodev"];
    match &facts.cgroup_view {
        CgroupView::Namespaced => {
            let options = [&FLAGS[..], &["relatime", access]].concat();
            Ok(vec![mount("/sys/fs/cgroup", "cgroup", Path::new("cgroup"), &options)?])
        }
        CgroupView::Bound(hierarchies) => {
            let options = [&FLAGS[..], &["mode=755", "size=64k"]].concat();
            let mut mounts = vec![mount("/sys/fs/cgroup", "tmpfs", Path::new("tmpfs"), &options)?];
            for (name, source) in hierarchies {
                let options = [&FLAGS[..], &["bind", access]].concat();
                mounts.push(mount(&format!("/sys/fs/cgroup/{name}"), "bind", source, &options)?);
            }
            Ok(mounts)
        }
    }
}

fn mount(destination: &str, kind: &str, source: &Path, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(ToString::to_string).collect::<Vec<_>>())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::container_spec;
    use crate::types::BindMount;

    fn facts() -> Facts {
        Facts {
            root: "/r/root".into(),
            namespaces: SandboxNamespaces {
                network: Some("/s/net".into()),
                uts: Some("/s/uts".into()),
                ipc: Some("/s/ipc".into()),
            },
            shm: "/s/shm".into(),
            cgroup: "kubepods/pod1/c".into(),
            cgroup_view: CgroupView::Bound(vec![("memory".into(), "/sys/fs/cgroup/memory/kubepods/pod1/c".into())]),
            thermal_throttle: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
            devices: Vec::new(),
        }
    }

    fn find<'a>(oci: &'a Spec, destination: &str) -> &'a Mount {
        let mounts = oci.mounts().as_ref().unwrap();
        mounts.iter().find(|m| m.destination() == Path::new(destination)).unwrap()
    }

    fn options(oci: &Spec, destination: &str) -> Vec<String> {
        find(oci, destination).options().clone().unwrap()
    }

    #[test]
    fn a_plain_container_is_confined() {
        let oci = build(&container_spec("c"), &facts()).unwrap();
        let linux = oci.linux().as_ref().unwrap();
        let masked = linux.masked_paths().as_ref().unwrap();
        assert!(masked.contains(&"/proc/kcore".to_owned()));
        assert!(masked.contains(&"/sys/devices/system/cpu/cpu0/thermal_throttle".to_owned()));
        assert_eq!(linux.readonly_paths().as_ref().unwrap().len(), READONLY_PATHS.len());
        assert!(options(&oci, "/sys").contains(&"ro".to_owned()));
        assert!(options(&oci, "/sys/fs/cgroup/memory").contains(&"ro".to_owned()));
        assert_eq!(find(&oci, "/dev/shm").source().as_deref(), Some(Path::new("/s/shm")));
        assert_eq!(linux.cgroups_path().as_deref(), Some(Path::new("/kubepods/pod1/c")));
        // What the launcher and the cgroup module do must not be done twice.
        assert_eq!(linux.resources(), &None);
        let process = oci.process().as_ref().unwrap();
        assert_eq!((process.capabilities(), process.rlimits(), process.oom_score_adj()), (&None, &None, None));
        assert_eq!(process.no_new_privileges(), None);
    }

    #[test]
    fn a_privileged_container_is_not() {
        let mut spec = container_spec("c");
        spec.privileged = true;
        let oci = build(&spec, &facts()).unwrap();
        let linux = oci.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().as_deref(), Some(&[][..]));
        assert_eq!(linux.readonly_paths().as_deref(), Some(&[][..]));
        assert!(options(&oci, "/sys").contains(&"rw".to_owned()));
    }

    #[test]
    fn namespaces_are_the_sandboxes_or_the_containers_own_or_the_nodes() {
        let kinds = |spec: &ContainerSpec, facts: &Facts| -> Vec<(String, Option<PathBuf>)> {
            let oci = build(spec, facts).unwrap();
            let namespaces = oci.linux().as_ref().unwrap().namespaces().clone().unwrap();
            namespaces.iter().map(|n| (n.typ().to_string(), n.path().clone())).collect()
        };
        let names = |list: Vec<(String, Option<PathBuf>)>| list.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        let all = kinds(&container_spec("c"), &facts());
        assert_eq!(names(all.clone()), ["mnt", "pid", "net", "uts", "ipc"]);
        assert_eq!(all[2].1.as_deref(), Some(Path::new("/s/net")));
        let mut spec = container_spec("c");
        spec.host_pid = true;
        let mut on_the_node = facts();
        on_the_node.namespaces = SandboxNamespaces { ipc: Some("/s/ipc".into()), ..Default::default() };
        on_the_node.cgroup_view = CgroupView::Namespaced;
        assert_eq!(names(kinds(&spec, &on_the_node)), ["mnt", "cgroup", "ipc"]);
    }

    #[test]
    fn the_environment_keeps_its_order_and_always_has_a_home() {
        let mut spec = container_spec("c");
        spec.env = [("B", "2"), ("A", "1"), ("HOME", "")].map(|(k, v)| (k.into(), v.into())).to_vec();
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(environment(&spec), [path.as_str(), "B=2", "A=1", "HOME=/"]);
        spec.user.home = Some("/root".into());
        assert_eq!(environment(&spec), [path.as_str(), "B=2", "A=1", "HOME=/root"]);
        spec.env = [("HOME", "/x"), ("PATH", "/bin")].map(|(k, v)| (k.into(), v.into())).to_vec();
        assert_eq!(environment(&spec), ["HOME=/x", "PATH=/bin"]);
    }

    #[test]
    fn volumes_come_last_and_the_widest_propagation_wins() {
        let mut spec = container_spec("c");
        let volume = |destination: &str, readonly, propagation| BindMount {
            source: "/volume".into(),
            destination: destination.into(),
            readonly,
            propagation,
        };
        spec.mounts =
            vec![volume("/data", true, Propagation::Private), volume("/more", false, Propagation::HostToContainer)];
        let oci = build(&spec, &facts()).unwrap();
        assert_eq!(options(&oci, "/data"), ["rbind", "ro"]);
        assert_eq!(options(&oci, "/more"), ["rbind", "rw"]);
        assert_eq!(oci.mounts().as_ref().unwrap().last().unwrap().destination(), Path::new("/more"));
        assert_eq!(oci.linux().as_ref().unwrap().rootfs_propagation().as_deref(), Some("slave"));
        spec.mounts.clear();
        let oci = build(&spec, &facts()).unwrap();
        assert_eq!(oci.linux().as_ref().unwrap().rootfs_propagation().as_deref(), Some("private"));
    }
}
