//! The agent's side of the supervisor: [`SupervisorRuntime`].

mod connection;
mod launch;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, broadcast, oneshot};

use crate::protocol::{Answer, Request, StdioSlots};
use crate::types::*;
use crate::{ExecHandle, ExecStdio, Runtime};
use connection::Connection;

pub use launch::Launch;

/// Exits a receiver may be behind before it is told that it lags.
const EXITS_MAX: usize = 1024;
/// First and longest pause between attempts to get a lost supervisor back.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// A [`Runtime`] whose containers are children of the supervisor process of a directory.
///
/// A connection that is lost is made anew, with a new supervisor if the old one is gone. A start or an exec
/// that was under way then fails with [`RuntimeError::Unreachable`]: a start that the supervisor did not
/// survive has left nothing, one that it did is in the list. Other calls are made again. After that every
/// known exit is told again, so [`Runtime::exits`] tells each at least once.
#[derive(Clone, Debug)]
pub struct SupervisorRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    launch: Launch,
    exits: broadcast::Sender<ContainerInfo>,
    connection: Mutex<Option<Arc<Connection>>>,
    /// The supervisor was asked to end: it is not to be started again.
    closed: AtomicBool,
}

impl SupervisorRuntime {
    /// Connects to the supervisor of `dir` (`DATA/runtime`), starting one from the running program when
    /// none answers.
    pub async fn connect_or_start(dir: &Path) -> Result<Self, RuntimeError> {
        Self::connect_or_start_with(dir, Launch::default()).await
    }

    /// The same with another program.
    pub async fn connect_or_start_with(dir: &Path, launch: Launch) -> Result<Self, RuntimeError> {
        let inner = Arc::new(Inner {
            dir: dir.to_path_buf(),
            launch,
            exits: broadcast::Sender::new(EXITS_MAX),
            connection: Mutex::new(None),
            closed: AtomicBool::new(false),
        });
        inner.connection().await?;
        Ok(Self { inner })
    }

    /// Ends the supervisor. Refused while it knows a container or a sandbox; afterwards every call fails.
    pub async fn shutdown_supervisor(&self) -> Result<(), RuntimeError> {
        let connection = self.inner.connection().await?;
        self.inner.closed.store(true, Ordering::SeqCst);
        let ended = connection.closed();
        match connection.call(Request::Shutdown, Vec::new()).await {
            // The end may overtake the answer.
            Ok(_) | Err(RuntimeError::Unreachable(_)) => {
                ended.await;
                Ok(())
            }
            Err(e) => {
                self.inner.closed.store(false, Ordering::SeqCst);
                Err(e)
            }
        }
    }

    /// Process id of the supervisor.
    pub async fn supervisor_pid(&self) -> Result<i32, RuntimeError> {
        Ok(self.inner.connection().await?.supervisor_pid)
    }

    async fn call(&self, request: Request) -> Result<Answer, RuntimeError> {
        self.inner.connection().await?.call(request, Vec::new()).await
    }

    /// A call whose second making changes nothing: made again once if the supervisor was lost over it.
    async fn call_repeatable(&self, request: Request) -> Result<Answer, RuntimeError> {
        match self.call(request.clone()).await {
            Err(RuntimeError::Unreachable(_)) => self.call(request).await,
            result => result,
        }
    }

    async fn call_done(&self, request: Request) -> Result<(), RuntimeError> {
        match self.call_repeatable(request).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

impl Inner {
    /// The connection there is, or a new one.
    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, RuntimeError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(RuntimeError::Unreachable("it was shut down".into()));
        }
        let reached = launch::reach(&self.dir, &self.launch).await;
        let socket = reached.map_err(|e| RuntimeError::Unreachable(e.to_string()))?;
        let connection = Connection::open(socket, self.exits.clone()).await?;
        let again = current.replace(Arc::clone(&connection)).is_some();
        if again {
            retell(&connection, &self.exits).await?;
        }
        tokio::spawn(restore(connection.closed(), Arc::downgrade(self)));
        Ok(connection)
    }
}

/// Tells every exit there is, for those that happened while nobody was connected.
async fn retell(connection: &Connection, exits: &broadcast::Sender<ContainerInfo>) -> Result<(), RuntimeError> {
    let Answer::Inventory(inventory) = connection.call(Request::List, Vec::new()).await? else { return Ok(()) };
    let ended = inventory.containers.into_iter().filter(|c| matches!(c.state, ContainerState::Exited { .. }));
    for container in ended {
        // Nobody listening is fine.
        exits.send(container).ok();
    }
    Ok(())
}

/// Gets the supervisor back when it is lost: containers want a parent, and exits want to be told, also
/// while nobody calls.
///
/// Boxed because the connection it makes has such a task of its own.
fn restore(
    lost: impl Future<Output = ()> + Send + 'static,
    client: Weak<Inner>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        lost.await;
        let mut pause = RETRY_FIRST;
        while let Some(client) = client.upgrade() {
            if client.closed.load(Ordering::SeqCst) {
                return;
            }
            match client.connection().await {
                Ok(_) => return,
                Err(e) => tracing::warn!(%e, "supervisor lost"),
            }
            drop(client);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    })
}

impl Runtime for SupervisorRuntime {
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        match self.call_repeatable(Request::CreateSandbox(Box::new(spec))).await? {
            Answer::Sandbox(sandbox) => Ok(*sandbox),
            other => Err(unexpected(&other)),
        }
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.call_done(Request::RemoveSandbox(id.clone())).await
    }

    async fn start_container(&self, spec: ContainerSpec, held: Option<OwnedFd>) -> Result<ContainerInfo, RuntimeError> {
        let connection = self.inner.connection().await?;
        match connection.call(Request::StartContainer(Box::new(spec)), Vec::from_iter(held)).await? {
            Answer::Container(container) => Ok(*container),
            other => Err(unexpected(&other)),
        }
    }

    async fn kill_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.call_done(Request::KillContainer { id: id.clone(), signal }).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.call_done(Request::RemoveContainer(id.clone())).await
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec, stdio: ExecStdio) -> Result<ExecHandle, RuntimeError> {
        let connection = self.inner.connection().await?;
        let slots =
            StdioSlots { stdin: stdio.stdin.is_some(), stdout: stdio.stdout.is_some(), stderr: stdio.stderr.is_some() };
        let fds = [stdio.stdin, stdio.stdout, stdio.stderr].into_iter().flatten().collect();
        let request = Request::Exec { id: id.clone(), spec, stdio: slots };
        let (sender, started) = oneshot::channel();
        // A task of its own sees it through: whoever asked may give up before the process has started.
        tokio::spawn(run_exec(connection, request, fds, sender));
        started.await.unwrap_or_else(|_| Err(RuntimeError::Unreachable("the client is shutting down".into())))
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        match self.call_repeatable(Request::List).await? {
            Answer::Inventory(inventory) => Ok(inventory),
            other => Err(unexpected(&other)),
        }
    }

    fn exits(&self) -> broadcast::Receiver<ContainerInfo> {
        self.inner.exits.subscribe()
    }
}

/// Starts an exec and hands its handle on. Nobody who takes it is the same as a handle that is dropped.
async fn run_exec(
    connection: Arc<Connection>,
    request: Request,
    fds: Vec<OwnedFd>,
    started: oneshot::Sender<Result<ExecHandle, RuntimeError>>,
) {
    match connection.exec(request, fds).await {
        Ok((number, ended)) => {
            let (exit_sender, exit) = oneshot::channel();
            started.send(Ok(ExecHandle { exit })).ok();
            follow_exec(connection, number, ended, exit_sender).await;
        }
        Err(e) => {
            started.send(Err(e)).ok();
        }
    }
}

/// Hands an exec's exit code on; kills the process when nobody waits for it any more.
async fn follow_exec(
    connection: Arc<Connection>,
    number: u64,
    ended: oneshot::Receiver<i32>,
    mut exit: oneshot::Sender<i32>,
) {
    let code = tokio::select! {
        code = ended => code,
        () = exit.closed() => {
            if let Err(e) = connection.call(Request::KillExec { exec: number }, Vec::new()).await {
                tracing::warn!(%e, "failed to kill an abandoned exec");
            }
            return;
        }
    };
    // A lost connection leaves the code unknown: dropping the sender says so.
    if let Ok(code) = code {
        exit.send(code).ok();
    }
}

fn unexpected(answer: &Answer) -> RuntimeError {
    RuntimeError::Other(format!("supervisor gave an answer to another question: {answer:?}"))
}
