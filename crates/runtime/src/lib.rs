//! Containers: the supervisor process and its protocol, OCI specs, cgroups and logs.
//!
//! libcontainer forks with raw `clone3`, so it is only ever called from a small single-threaded
//! process, never from the agent. That process, the supervisor, is the parent and subreaper of
//! every container, owns their stdio, writes their logs, records exit codes durably and keeps
//! running when the agent is killed or upgraded. The agent talks to it through [`Runtime`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod caps;
mod cgroup;
mod client;
mod fake;
mod frame;
mod layout;
mod logs;
mod protocol;
mod seccomp;
mod spec;
mod stderr_log;
pub mod supervisor;
#[cfg(test)]
mod testing;
pub mod types;
pub mod worker;

use std::future::Future;
use std::os::fd::OwnedFd;

pub use client::{Launch, SupervisorRuntime};
pub use fake::{ExecScript, FakeCall, FakeRuntime};
pub use spec::DEFAULT_PATH;
pub use types::*;

/// All that the node agent asks of containers. Implemented by the supervisor's client and by a fake.
pub trait Runtime: Send + Sync + 'static {
    /// Makes the namespaces a pod's containers share (network, IPC, UTS) and holds them open without
    /// a process. Doing it again for an existing sandbox gives the same one.
    fn create_sandbox(&self, spec: SandboxSpec) -> impl Future<Output = Result<Sandbox, RuntimeError>> + Send;

    /// Releases a sandbox's namespaces and its pod cgroup. Fails while a container of it lives; an
    /// unknown id is success.
    fn remove_sandbox(&self, id: &SandboxId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Creates and starts a container; returns once its process has been executed. `held` is kept open until the
    /// container is listed or has failed to start, though the caller be gone by then: what is locked by it stays locked.
    fn start_container(
        &self,
        spec: ContainerSpec,
        held: Option<OwnedFd>,
    ) -> impl Future<Output = Result<ContainerInfo, RuntimeError>> + Send;

    /// Sends a signal to the container's first process. A container that is gone is success.
    fn kill_container(&self, id: &ContainerId, signal: i32) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Kills every process left in the container's cgroup (SIGKILL), unmounts its root, forgets it.
    /// Its log stays. An unknown id is success.
    fn remove_container(&self, id: &ContainerId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Runs a process inside a running container. The caller passes its ends of stdio. Dropping the
    /// handle kills the process.
    fn exec(
        &self,
        id: &ContainerId,
        spec: ExecSpec,
        stdio: ExecStdio,
    ) -> impl Future<Output = Result<ExecHandle, RuntimeError>> + Send;

    /// Every sandbox and container known, also those started before the agent was.
    fn list(&self) -> impl Future<Output = Result<Inventory, RuntimeError>> + Send;

    /// Exits from now on. A receiver that lags is told so and must [`Runtime::list`] again.
    fn exits(&self) -> tokio::sync::broadcast::Receiver<ContainerInfo>;
}

/// Stdio of an exec; what is none is `/dev/null`.
#[derive(Debug, Default)]
pub struct ExecStdio {
    /// Read end of the process's standard input, or the terminal's inner end when `tty`.
    pub stdin: Option<OwnedFd>,
    /// Write end of standard output.
    pub stdout: Option<OwnedFd>,
    /// Write end of standard error.
    pub stderr: Option<OwnedFd>,
}

/// A running exec.
#[derive(Debug)]
pub struct ExecHandle {
    /// Gives the exit code (128 + signal for a signal death) when the process ends; an error when the
    /// supervisor was lost before. Dropping it kills the process.
    pub exit: tokio::sync::oneshot::Receiver<i32>,
}
