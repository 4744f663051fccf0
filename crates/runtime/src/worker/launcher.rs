//! The last steps before a container's program: runs inside the container, between libcontainer's work
//! and `execve`.
//!
//! libcontainer is told to leave capabilities alone, because the order matters and only this order
//! works: a seccomp filter without no_new_privs needs CAP_SYS_ADMIN to install, so the filter comes
//! first, then capabilities are dropped, then the program. Nothing of the image has run before.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::sock_filter;

use super::diagnostics::Reporter;
use crate::spec::DEFAULT_PATH;

/// Executes a container's program.
#[derive(Clone, Debug)]
pub(super) struct Launcher {
    /// Capabilities the program may hold.
    pub(super) caps: CapabilitySet,
    /// Compiled filter; none for an unconfined container.
    pub(super) seccomp: Option<Vec<sock_filter>>,
    /// Make standard input the controlling terminal.
    pub(super) controlling_terminal: bool,
    /// Where a failure is told.
    pub(super) reporter: Reporter,
}

impl Executor for Launcher {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        find_program(spec).map(drop).map_err(|reason| {
            self.reporter.report(&reason);
            ExecutorValidationError::ArgValidationError(reason)
        })
    }

    /// Nothing: the environment goes to `execve` as the specification has it, in order.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let reason = self.launch(spec);
        self.reporter.report(&reason);
        Err(ExecutorError::Other(reason))
    }
}

impl Launcher {
    /// Becomes the program; returns only the reason why not.
    fn launch(&self, spec: &Spec) -> String {
        let (program, args, env) = match find_program(spec).and_then(|program| prepare(spec, &program)) {
            Ok(prepared) => prepared,
            Err(reason) => return reason,
        };
        if let Err(e) = self.confine() {
            return format!("failed to confine the process: {e}");
        }
        match nix::unistd::execve(&program, &args, &env) {
            Ok(never) => match never {},
            Err(e) => format!("exec {:?}: {}", program.to_string_lossy(), e.desc().to_lowercase()),
        }
    }

    fn confine(&self) -> io::Result<()> {
        if self.controlling_terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        restore_signals()?;
        let available = rustix::thread::capabilities(None)?.permitted;
        if let Some(filter) = &self.seccomp {
            install_filter(filter)?;
        }
        rustix::thread::clear_ambient_capability_set()?;
        for cap in available.difference(self.caps).iter() {
            rustix::thread::remove_capability_from_bounding_set(cap)?;
        }
        let sets = CapabilitySets { effective: self.caps, permitted: self.caps, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)?;
        Ok(())
    }
}

/// Path, arguments and environment in the form `execve` takes.
type Prepared = (CString, Vec<CString>, Vec<CString>);

fn prepare(spec: &Spec, program: &Path) -> Result<Prepared, String> {
    let c_string = |text: &str| CString::new(text).map_err(|_| format!("{text:?} has a zero byte"));
    let strings = |list: &[String]| list.iter().map(|s| c_string(s)).collect::<Result<Vec<_>, _>>();
    Ok((c_string(&program.to_string_lossy())?, strings(arguments(spec))?, strings(environment(spec))?))
}

fn arguments(spec: &Spec) -> &[String] {
    spec.process().as_ref().and_then(|p| p.args().as_deref()).unwrap_or_default()
}

fn environment(spec: &Spec) -> &[String] {
    spec.process().as_ref().and_then(|p| p.env().as_deref()).unwrap_or_default()
}

/// The file to execute, looked for like a shell does, or why there is none in the words pods' statuses
/// have.
fn find_program(spec: &Spec) -> Result<PathBuf, String> {
    let name = arguments(spec).first().filter(|name| !name.is_empty()).ok_or("no command specified")?;
    if name.contains('/') {
        return match check_program(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            Err(e) => Err(format!("exec: {name:?}: {e}")),
        };
    }
    let path = environment(spec).iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let candidates = path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name));
    let mut denied = false;
    for candidate in candidates {
        match check_program(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) => denied |= e.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let reason = if denied { "permission denied" } else { "executable file not found in $PATH" };
    Err(format!("exec: {name:?}: {reason}"))
}

fn check_program(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"))
    } else if metadata.permissions().mode() & 0o111 == 0 {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "permission denied"))
    } else {
        Ok(())
    }
}

/// Rust programs ignore SIGPIPE, and `execve` would hand that on.
fn restore_signals() -> io::Result<()> {
    // SAFETY: restoring the default disposition installs no handler.
    #[allow(unsafe_code)]
    unsafe { nix::sys::signal::signal(nix::sys::signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) }?;
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// Installs a filter without no_new_privs, unlike `seccompiler::apply_filter`: whether set-user-ID
/// programs work is the pod's decision.
fn install_filter(filter: &[sock_filter]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        filter: *const sock_filter,
    }
    let program = Program { length: filter.len() as libc::c_ushort, filter: filter.as_ptr() };
    // SAFETY: the kernel copies the instructions, which outlive the call, and keeps no pointer.
    #[allow(unsafe_code)]
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
