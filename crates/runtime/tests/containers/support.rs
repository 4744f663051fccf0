//! A place to run real containers in, which checks that nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use stead_runtime::*;
use tokio::sync::broadcast;

/// How long anything that should happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Programs of the image.
const PROGRAMS: [&str; 24] = [
    "sh", "echo", "sleep", "cat", "mount", "unshare", "id", "ls", "mkdir", "touch", "hostname", "kill", "dd", "tail",
    "env", "tty", "readlink", "true", "false", "mknod", "pwd", "yes", "head", "stty",
];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A data directory, an image and a supervisor.
pub(crate) struct Node {
    pub(crate) runtime: SupervisorRuntime,
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: String,
    /// Removed last.
    _temporary: tempfile::TempDir,
}

impl Node {
    /// Makes one with its own cgroup parent.
    pub(crate) async fn new() -> Result<Rc<Self>> {
        ensure!(rustix::process::geteuid().is_root(), "containers need root");
        let temporary = tempfile::tempdir()?;
        // Longer than a socket address, as data directories may be.
        let dir = temporary.path().join("a-data-directory-with-a-long-name".repeat(3));
        make_image(&dir.join("layer"))?;
        let runtime = SupervisorRuntime::connect_or_start(&dir.join("runtime")).await?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("stead-test-{}-{number}", std::process::id());
        Ok(Rc::new(Self { runtime, dir, cgroup, _temporary: temporary }))
    }

    /// A sandbox in this node's cgroup.
    pub(crate) fn sandbox(&self, name: &str) -> SandboxSpec {
        SandboxSpec {
            id: SandboxId(format!("uid-{name}")),
            namespace: "default".into(),
            name: name.into(),
            hostname: name.into(),
            host_network: false,
            sysctls: BTreeMap::new(),
            cgroup: format!("{}/pod{name}", self.cgroup),
            resources: Resources::default(),
        }
    }

    /// A container that runs a shell script.
    pub(crate) fn container(&self, sandbox: &SandboxSpec, name: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            id: ContainerId(format!("{}-{name}", sandbox.name)),
            sandbox: sandbox.id.clone(),
            name: name.into(),
            attempt: 0,
            image: "busybox".into(),
            image_id: "busybox@sha256:0".into(),
            rootfs: RootFs { layers: vec![self.dir.join("layer")], readonly: false },
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
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
            log_path: self.dir.join(format!("logs/{}-{name}/0.log", sandbox.name)),
            annotations: BTreeMap::from([("key".into(), "value".into())]),
        }
    }

    /// Makes the sandbox `name`.
    pub(crate) async fn make_sandbox(&self, name: &str) -> Result<SandboxSpec> {
        let spec = self.sandbox(name);
        self.runtime.create_sandbox(spec.clone()).await?;
        Ok(spec)
    }

    /// Runs a script to its end in a new sandbox: its end and the content of its log's lines.
    pub(crate) async fn run(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> Result<(i32, String)> {
        let sandbox = self.make_sandbox(name).await?;
        let mut spec = self.container(&sandbox, "main", script);
        change(&mut spec);
        let mut exits = self.runtime.exits();
        self.runtime.start_container(spec.clone(), None).await?;
        let (code, _) = exit_of(&mut exits, &spec.id).await?;
        Ok((code, log_of(&spec)?))
    }

    /// Starts a container that sleeps.
    pub(crate) async fn sleeper(&self, sandbox: &SandboxSpec, name: &str) -> Result<(ContainerSpec, i32)> {
        let spec = self.container(sandbox, name, "exec sleep 1000");
        let info = self.runtime.start_container(spec.clone(), None).await?;
        Ok((spec, pid_of(&info)?))
    }

    /// Runs a command in a container: exit code and what it wrote.
    pub(crate) async fn exec(&self, id: &ContainerId, args: &[&str]) -> Result<(i32, String)> {
        let (mut reader, writer) = std::io::pipe()?;
        let stdio = ExecStdio { stdin: None, stdout: Some(writer.try_clone()?.into()), stderr: Some(writer.into()) };
        let spec = ExecSpec { args: args.iter().map(ToString::to_string).collect(), tty: false };
        let handle = self.runtime.exec(id, spec, stdio).await?;
        let code = tokio::time::timeout(PATIENCE, handle.exit).await??;
        let mut output = String::new();
        std::io::Read::read_to_string(&mut reader, &mut output)?;
        Ok((code, output))
    }

    /// Removes everything through the runtime, then checks that nothing is left.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let inventory = self.runtime.list().await?;
        for container in &inventory.containers {
            self.runtime.remove_container(&container.spec.id).await?;
        }
        for sandbox in &inventory.sandboxes {
            self.runtime.remove_sandbox(&sandbox.spec.id).await?;
        }
        let supervisor = self.runtime.supervisor_pid().await?;
        self.runtime.shutdown_supervisor().await?;
        wait_for_end(supervisor).await?;
        self.check_nothing_left()
    }

    fn check_nothing_left(&self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let dir = self.dir.to_string_lossy();
        let left: Vec<_> = mounts.lines().filter(|line| line.contains(&*dir)).collect();
        ensure!(left.is_empty(), "mounts left: {left:#?}");
        for part in ["containers", "sandboxes"] {
            let left: Vec<_> = fs::read_dir(self.dir.join("runtime").join(part))?.collect();
            ensure!(left.is_empty(), "files left: {left:#?}");
        }
        let left: Vec<_> = commands().filter(|command| command.contains(&*dir)).collect();
        ensure!(left.is_empty(), "processes left: {left:#?}");
        for parent in cgroup_directories(&self.cgroup) {
            // Fails when a pod's group is still below it.
            fs::remove_dir(&parent).with_context(|| format!("groups left below {}", parent.display()))?;
        }
        Ok(())
    }
}

/// The command lines of all processes.
fn commands() -> impl Iterator<Item = String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Where a group is in every hierarchy, as far as it exists.
pub(crate) fn cgroup_directories(path: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let paths = groups.filter_map(|line| line.split(' ').nth(4)).map(|mount| Path::new(mount).join(path));
    paths.filter(|path| path.is_dir()).collect()
}

/// The exit of one container: code and whether for memory.
pub(crate) async fn exit_of(exits: &mut broadcast::Receiver<ContainerInfo>, id: &ContainerId) -> Result<(i32, bool)> {
    let wait = async {
        loop {
            let info = exits.recv().await?;
            if let ContainerState::Exited { code, oom_killed, finished_at } = info.state
                && info.spec.id == *id
            {
                ensure!(finished_at >= info.started_at, "ended before it began");
                return Ok((code, oom_killed));
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("{} does not end", id.0))?
}

/// The content of a log without times and tags.
pub(crate) fn log_of(spec: &ContainerSpec) -> Result<String> {
    let text = fs::read_to_string(&spec.log_path)?;
    let content = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or("?"));
    Ok(content.collect::<Vec<_>>().join("\n"))
}

/// The process of a running container.
pub(crate) fn pid_of(info: &ContainerInfo) -> Result<i32> {
    match info.state {
        ContainerState::Running { pid } => Ok(pid),
        ContainerState::Exited { .. } => bail!("{} has ended", info.spec.id.0),
    }
}

/// Waits until a process is gone, however its parent treats it.
pub(crate) async fn wait_for_end(pid: i32) -> Result<()> {
    let Some(number) = rustix::process::Pid::from_raw(pid) else { bail!("no process") };
    let process = match rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        process => process?,
    };
    tokio::task::spawn_blocking(move || {
        let mut fds = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        ensure!(rustix::event::poll(&mut fds, Some(&limit))? == 1, "process {pid} does not end");
        Ok(())
    })
    .await?
}

/// Kills a process that this test started.
pub(crate) fn kill(pid: i32) -> Result<()> {
    signal(pid, rustix::process::Signal::KILL)
}

/// Signals a process that this test started.
pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).context("no process")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Builds the image's only layer.
fn make_image(layer: &Path) -> Result<()> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.context("install the package busybox-static")?;
    for dir in ["bin", "etc", "tmp", "dev", "proc", "sys"] {
        fs::create_dir_all(layer.join(dir))?;
    }
    fs::copy(busybox, layer.join("bin/busybox"))?;
    for program in PROGRAMS {
        symlink("busybox", layer.join("bin").join(program))?;
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::set_permissions(layer.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(())
}
