//! Starting a container, and a further process in one, through libcontainer.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;

use super::launcher::Launcher;
use super::{create_error, diagnostics, facts, rootfs};
use crate::cgroup::{Cgroups, Level};
use crate::layout::{OCI_ID, OCI_STATE, container_cgroup, short_path};
use crate::protocol::StdioSlots;
use crate::types::{ContainerSpec, ExecSpec, RuntimeError, SandboxSpec, Seccomp};

/// The OCI specification's file in a container's directory, which is its bundle.
const CONFIG: &str = "config.json";
/// Where libcontainer hands over a new terminal, in a container's directory.
const CONSOLE_SOCKET: &str = "console.sock";

/// A container that runs.
pub(super) struct Started {
    /// Its first process, on the node.
    pub(super) pid: i32,
    /// The outer end of its terminal, if it was to have one.
    pub(super) terminal: Option<OwnedFd>,
}

/// Standard descriptors for a process; what is none is `/dev/null`.
#[derive(Default)]
pub(super) struct Stdio([Option<OwnedFd>; 3]);

impl Stdio {
    /// Takes a frame's descriptors in the order the slots say.
    pub(super) fn from_frame(slots: StdioSlots, fds: Vec<OwnedFd>) -> Self {
        let mut fds = fds.into_iter();
        Self([slots.stdin, slots.stdout, slots.stderr].map(|given| if given { fds.next() } else { None }))
    }

    /// The container's own: named pipes in its directory. Both ends at once, so that the container never
    /// writes into a pipe nobody reads: without a supervisor it waits when the pipe is full.
    fn of_container(dir: &Path, spec: &ContainerSpec) -> io::Result<Self> {
        let open = |name: &str| OpenOptions::new().read(true).write(true).open(dir.join(name)).map(OwnedFd::from);
        Ok(Self([spec.stdin.then(|| open("stdin")).transpose()?, Some(open("stdout")?), Some(open("stderr")?)]))
    }

    fn give_to(self, builder: ContainerBuilder) -> io::Result<ContainerBuilder> {
        let [stdin, stdout, stderr] = self.0;
        let or_null = |fd: Option<OwnedFd>| match fd {
            Some(fd) => Ok(fd),
            None => OpenOptions::new().read(true).write(true).open("/dev/null").map(OwnedFd::from),
        };
        Ok(builder.with_stdin(or_null(stdin)?).with_stdout(or_null(stdout)?).with_stderr(or_null(stderr)?))
    }
}

/// Makes and starts a container; returns once its program has been executed. On failure the caller
/// removes what is left.
pub(super) fn start(
    dir: &Path,
    spec: &ContainerSpec,
    sandbox: &SandboxSpec,
    sandbox_dir: &Path,
) -> Result<Started, RuntimeError> {
    let oci = prepare(dir, spec, sandbox, sandbox_dir)?;
    oci.save(dir.join(CONFIG)).map_err(|e| RuntimeError::Create(e.to_string()))?;
    shed_inheritance(spec)?;

    let (causes, writer) = diagnostics::open().map_err(create_error("failed to open the cause pipe"))?;
    let launcher = launcher(spec, false, writer.reporter())?;
    let console = spec.tty.then(|| UnixListener::bind(short_path(&File::open(dir)?, CONSOLE_SOCKET))).transpose();
    let console = console.map_err(create_error("failed to make the console socket"))?;
    let result = create_and_run(dir, spec, launcher);
    let terminal = match (&result, console) {
        (Ok(_), Some(listener)) => {
            Some(receive_terminal(&listener).map_err(create_error("failed to get the terminal"))?)
        }
        _ => None,
    };
    let (reason, logged) = causes.read(writer);
    match (result, reason) {
        (Ok(pid), None) => Ok(Started { pid, terminal }),
        (_, Some(reason)) => Err(RuntimeError::Start(reason)),
        (Err(e), None) => Err(RuntimeError::Create(describe(&e, &logged))),
    }
}

/// Everything that comes before libcontainer: cgroup, root file system, specification.
fn prepare(dir: &Path, spec: &ContainerSpec, sandbox: &SandboxSpec, sandbox_dir: &Path) -> Result<Spec, RuntimeError> {
    let cgroups = Cgroups::detect().map_err(|e| RuntimeError::Create(e.to_string()))?;
    let cgroup = container_cgroup(&sandbox.cgroup, &spec.id);
    let level = if spec.privileged { Level::PrivilegedContainer } else { Level::Container };
    cgroups.create(&cgroup, level, &spec.resources).map_err(|e| RuntimeError::Create(e.to_string()))?;
    let root = rootfs::mount(dir, spec)?;
    rootfs::refuse_links(&root)?;
    rootfs::make_working_directory(&root, spec)?;
    let facts = facts::gather(spec, sandbox, sandbox_dir, root, &cgroups, cgroup)?;
    crate::spec::build(spec, &facts).map_err(|e| RuntimeError::Create(e.to_string()))
}

fn create_and_run(dir: &Path, spec: &ContainerSpec, launcher: Launcher) -> Result<i32, LibcontainerError> {
    let state = dir.join(OCI_STATE);
    fs::create_dir_all(&state).map_err(LibcontainerError::OtherIO)?;
    let mut builder =
        ContainerBuilder::new(OCI_ID.into(), SyscallType::default()).with_root_path(state)?.with_executor(launcher);
    if spec.tty {
        builder = builder.with_console_socket(Some(dir.join(CONSOLE_SOCKET)));
    } else {
        let stdio = Stdio::of_container(dir, spec).map_err(LibcontainerError::OtherIO)?;
        builder = stdio.give_to(builder).map_err(LibcontainerError::OtherIO)?;
    }
    let mut container: Container = builder.as_init(dir).with_systemd(false).with_detach(true).build()?;
    container.start()?;
    container.pid().map(|pid| pid.as_raw()).ok_or_else(|| LibcontainerError::Other("container has no process".into()))
}

/// Runs a further process in the container of `dir`; returns once it has been executed.
pub(super) fn exec(dir: &Path, container: &ContainerSpec, spec: &ExecSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
    if spec.args.is_empty() {
        return Err(RuntimeError::Start("no command specified".into()));
    }
    let process = process_file(dir, spec)?;
    shed_inheritance(container)?;
    let (causes, writer) = diagnostics::open().map_err(create_error("failed to open the cause pipe"))?;
    let launcher = launcher(container, spec.tty, writer.reporter())?;
    let run = || -> Result<i32, LibcontainerError> {
        let builder = ContainerBuilder::new(OCI_ID.into(), SyscallType::default())
            .with_root_path(dir.join(OCI_STATE))?
            .with_executor(launcher);
        let builder = stdio.give_to(builder).map_err(LibcontainerError::OtherIO)?;
        let tenant = builder.as_tenant().with_process(Some(&process)).with_detach(true);
        tenant.build().map(|pid| pid.as_raw())
    };
    let result = run();
    if let Err(e) = fs::remove_file(&process) {
        diagnostics::complain(&format!("failed to delete {}: {e}", process.display()));
    }
    let (reason, logged) = causes.read(writer);
    match (result, reason) {
        (Ok(pid), None) => Ok(pid),
        (_, Some(reason)) => Err(RuntimeError::Start(reason)),
        (Err(e), None) => Err(RuntimeError::Start(describe(&e, &logged))),
    }
}

/// Writes the process of an exec: the container's own with other arguments. It never asks libcontainer
/// for a terminal: the caller brings one.
fn process_file(dir: &Path, spec: &ExecSpec) -> Result<PathBuf, RuntimeError> {
    let failed = |e: &dyn std::error::Error| RuntimeError::Other(format!("failed to prepare the exec: {e}"));
    let oci = Spec::load(dir.join(CONFIG)).map_err(|e| failed(&e))?;
    let mut process = oci.process().clone().ok_or_else(|| RuntimeError::Other("container has no process".into()))?;
    process.set_args(Some(spec.args.clone())).set_terminal(Some(false));
    if let Some(env) = process.env_mut()
        && spec.tty
        && !env.iter().any(|entry| entry.starts_with("TERM="))
    {
        env.push("TERM=xterm".into());
    }
    let path = dir.join(format!("exec-{}.json", std::process::id()));
    let file = File::create(&path).map_err(|e| failed(&e))?;
    serde_json::to_writer(file, &process).map_err(|e| failed(&e))?;
    Ok(path)
}

fn launcher(
    spec: &ContainerSpec,
    controlling_terminal: bool,
    reporter: diagnostics::Reporter,
) -> Result<Launcher, RuntimeError> {
    let available = rustix::thread::capabilities(None).map_err(|e| create_error("capabilities")(e.into()))?.permitted;
    let caps = crate::caps::of(spec, available).map_err(|e| RuntimeError::Create(e.to_string()))?;
    let seccomp = match spec.seccomp {
        Seccomp::RuntimeDefault if !spec.privileged => {
            Some(crate::seccomp::default_profile(caps).map_err(|e| RuntimeError::Create(e.to_string()))?)
        }
        Seccomp::RuntimeDefault | Seccomp::Unconfined => None,
    };
    Ok(Launcher { caps, seccomp, controlling_terminal, reporter })
}

/// What the container must not inherit from the supervisor: its groups, and its place in the memory
/// killer's order. Lowering the latter needs a privilege the node may lack; the container then keeps ours.
fn shed_inheritance(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    nix::unistd::setgroups(&[]).map_err(|e| create_error("failed to clear groups")(e.into()))?;
    if let Err(e) = fs::write("/proc/self/oom_score_adj", spec.oom_score_adj.to_string())
        && e.kind() != io::ErrorKind::PermissionDenied
    {
        return Err(create_error("failed to set oom_score_adj")(e));
    }
    Ok(())
}

fn receive_terminal(listener: &UnixListener) -> io::Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (stream, _) = listener.accept()?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    rustix::net::recvmsg(&stream, &mut [io::IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message
            && let Some(fd) = fds.next()
        {
            return Ok(fd);
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// libcontainer's error with the causes it only logged.
fn describe(error: &LibcontainerError, logged: &str) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to create container: ").unwrap_or(&text);
    if logged.is_empty() { text.to_owned() } else { format!("{text}: {logged}") }
}
