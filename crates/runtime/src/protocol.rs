//! The words on the supervisor's socket and between the supervisor and its workers.
//!
//! A supervisor outlives upgrades of the server, so both sides may be of different versions: bodies are
//! JSON, in which an unknown field is ignored and a new one has a default, and the first exchange on a
//! connection is [`Request::Hello`].

use serde::{Deserialize, Serialize};

use crate::types::*;

/// Version of this protocol. Raised when an old peer would misunderstand, not when a field is added.
pub(crate) const VERSION: u32 = 1;

/// From a client to the supervisor. The descriptors of [`Request::Exec`] travel with the frame, and what
/// [`Request::StartContainer`] is to hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Opens a connection.
    Hello {
        /// [`VERSION`] of the client.
        version: u32,
    },
    CreateSandbox(Box<SandboxSpec>),
    RemoveSandbox(SandboxId),
    StartContainer(Box<ContainerSpec>),
    KillContainer {
        id: ContainerId,
        signal: i32,
    },
    RemoveContainer(ContainerId),
    /// Runs a process; its end is told by [`Message::ExecExited`] with the request's number.
    Exec {
        id: ContainerId,
        spec: ExecSpec,
        stdio: StdioSlots,
    },
    /// Kills the process an earlier [`Request::Exec`] of this connection started.
    KillExec {
        /// The request's number.
        exec: u64,
    },
    List,
    /// Ends the supervisor, refused while it knows a container or sandbox.
    Shutdown,
}

/// A request and the number its answer carries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) request: Request,
}

/// From the supervisor to a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The answer to a call.
    Answer { number: u64, answer: Answer },
    /// A container has ended.
    Exited(Box<ContainerInfo>),
    /// A process of an exec has ended.
    ExecExited { exec: u64, code: i32 },
}

/// How a call went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To [`Request::Hello`].
    Hello {
        version: u32,
        pid: i32,
    },
    Done,
    Sandbox(Box<Sandbox>),
    Container(Box<ContainerInfo>),
    Inventory(Inventory),
    Failed(RuntimeError),
}

/// Which of the three standard descriptors a frame carries, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StdioSlots {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// What a worker process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order<J> {
    /// The file it holds a lock of while it works.
    pub(crate) lock: std::path::PathBuf,
    pub(crate) job: J,
}

/// What a worker process is to do: one job, then it ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Makes namespaces, shared memory and cgroup of a sandbox in `dir`.
    CreateSandbox { dir: std::path::PathBuf, spec: SandboxSpec },
    /// Undoes it.
    RemoveSandbox { dir: std::path::PathBuf, spec: SandboxSpec },
    /// Creates and starts a container in `dir`.
    Start { dir: std::path::PathBuf, spec: Box<ContainerSpec>, sandbox: SandboxSpec, sandbox_dir: std::path::PathBuf },
    /// Runs a process in the container of `dir`; descriptors travel with the frame.
    Exec { dir: std::path::PathBuf, container: Box<ContainerSpec>, spec: ExecSpec, stdio: StdioSlots },
    /// Unmounts and deletes what a container leaves in `dir`, and its cgroups.
    Remove { dir: std::path::PathBuf, cgroups: Vec<std::path::PathBuf> },
}

/// A worker's one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Nothing more to say.
    Done,
    /// A process was executed. The terminal's outer end travels with the frame where one was asked for.
    Started {
        /// Its process id on the node.
        pid: i32,
    },
    Failed(RuntimeError),
}
