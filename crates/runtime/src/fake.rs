//! A [`Runtime`] without containers, for tests of what stands above: what is asked of it is remembered,
//! what happens to containers is the test's to say.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{broadcast, oneshot};

use crate::types::*;
use crate::{ExecHandle, ExecStdio, Runtime};

/// Exits a receiver may be behind.
const EXITS_MAX: usize = 1024;
/// Exit code of a process told to end, plus this, when it does not handle the signal.
const SIGNAL_BASE: i32 = 128;

/// What was asked of a [`FakeRuntime`], in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FakeCall {
    /// A sandbox was made.
    CreateSandbox(SandboxId),
    /// A sandbox was removed.
    RemoveSandbox(SandboxId),
    /// A container was started, or would have been.
    StartContainer(ContainerId),
    /// A container was signalled.
    KillContainer(ContainerId, i32),
    /// A container was removed.
    RemoveContainer(ContainerId),
    /// A command was run in a container.
    Exec(ContainerId, Vec<String>),
}

/// What an exec does: its exit code and standard output.
pub type ExecScript = dyn Fn(&ContainerId, &ExecSpec) -> Result<(i32, Vec<u8>), RuntimeError> + Send + Sync;

/// An in-memory runtime. Clones are the same one. Containers run until they are ended with
/// [`FakeRuntime::exit`] or by a signal that they do not ignore.
#[derive(Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    exits: broadcast::Sender<ContainerInfo>,
    exec_script: Arc<Mutex<Arc<ExecScript>>>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    containers: BTreeMap<ContainerId, ContainerInfo>,
    calls: Vec<FakeCall>,
    /// Errors for the next starts of containers by name.
    start_errors: HashMap<String, VecDeque<RuntimeError>>,
    /// Containers, by name, that go on when told to end with anything but SIGKILL.
    stubborn: Vec<String>,
    last_pid: i32,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

impl FakeRuntime {
    /// A runtime without containers whose times come from `clock`.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            state: Arc::default(),
            exits: broadcast::Sender::new(EXITS_MAX),
            exec_script: Arc::new(Mutex::new(Arc::new(|_, _| Ok((0, Vec::new()))))),
            clock: Arc::new(clock),
        }
    }

    /// Everything asked so far.
    pub fn calls(&self) -> Vec<FakeCall> {
        self.state().calls.clone()
    }

    /// Ends a running container. False if there is none.
    pub fn exit(&self, id: &ContainerId, code: i32) -> bool {
        self.end(id, code, false)
    }

    /// Ends a running container the way the kernel does when memory runs out. False if there is none.
    pub fn exit_out_of_memory(&self, id: &ContainerId) -> bool {
        self.end(id, SIGNAL_BASE + libc::SIGKILL, true)
    }

    /// Makes the next start of a container of this name fail; several queue up.
    pub fn fail_start(&self, container_name: &str, error: RuntimeError) {
        self.state().start_errors.entry(container_name.to_owned()).or_default().push_back(error);
    }

    /// Makes containers of this name go on when told to end with anything but SIGKILL.
    pub fn ignore_signals(&self, container_name: &str) {
        self.state().stubborn.push(container_name.to_owned());
    }

    /// What commands in containers do from now on. Without it they succeed silently.
    pub fn on_exec(
        &self,
        script: impl Fn(&ContainerId, &ExecSpec) -> Result<(i32, Vec<u8>), RuntimeError> + Send + Sync + 'static,
    ) {
        *self.exec_script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// The container of this name that was started last, running or not.
    pub fn container_named(&self, container_name: &str) -> Option<ContainerInfo> {
        let state = self.state();
        let named = state.containers.values().filter(|c| c.spec.name == container_name);
        named.max_by_key(|c| (c.started_at, c.spec.attempt)).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, id: &ContainerId, code: i32, oom_killed: bool) -> bool {
        let finished_at = (self.clock)();
        let info = {
            let mut state = self.state();
            let Some(info) = state.containers.get_mut(id) else { return false };
            if !matches!(info.state, ContainerState::Running { .. }) {
                return false;
            }
            info.state = ContainerState::Exited { code, oom_killed, finished_at };
            info.clone()
        };
        // Nobody listening is fine.
        self.exits.send(info).ok();
        true
    }
}

impl Runtime for FakeRuntime {
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let created_at = (self.clock)();
        let mut state = self.state();
        state.calls.push(FakeCall::CreateSandbox(spec.id.clone()));
        let netns = (!spec.host_network).then(|| format!("/fake/sandboxes/{}/net", spec.id.0).into());
        let sandbox = Sandbox { netns, created_at, spec };
        Ok(state.sandboxes.entry(sandbox.spec.id.clone()).or_insert(sandbox).clone())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.calls.push(FakeCall::RemoveSandbox(id.clone()));
        let lives = |c: &&ContainerInfo| c.spec.sandbox == *id && matches!(c.state, ContainerState::Running { .. });
        if let Some(container) = state.containers.values().find(lives) {
            return Err(RuntimeError::Other(format!("container {} of the sandbox lives", container.spec.id.0)));
        }
        state.sandboxes.remove(id);
        Ok(())
    }

    async fn start_container(
        &self,
        spec: ContainerSpec,
        _held: Option<OwnedFd>,
    ) -> Result<ContainerInfo, RuntimeError> {
        let started_at = (self.clock)();
        let mut state = self.state();
        state.calls.push(FakeCall::StartContainer(spec.id.clone()));
        if !state.sandboxes.contains_key(&spec.sandbox) {
            return Err(RuntimeError::NotFound(format!("sandbox {}", spec.sandbox.0)));
        }
        if let Some(error) = state.start_errors.get_mut(&spec.name).and_then(VecDeque::pop_front) {
            return Err(error);
        }
        if state.containers.contains_key(&spec.id) {
            return Err(RuntimeError::Create(format!("container {} exists already", spec.id.0)));
        }
        state.last_pid += 1;
        let info = ContainerInfo { started_at, state: ContainerState::Running { pid: state.last_pid }, spec };
        state.containers.insert(info.spec.id.clone(), info.clone());
        Ok(info)
    }

    async fn kill_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let ends = {
            let mut state = self.state();
            state.calls.push(FakeCall::KillContainer(id.clone(), signal));
            let stubborn = |c: &ContainerInfo| state.stubborn.contains(&c.spec.name);
            signal == libc::SIGKILL || !state.containers.get(id).is_some_and(stubborn)
        };
        if ends {
            self.end(id, SIGNAL_BASE + signal, false);
        }
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.state().calls.push(FakeCall::RemoveContainer(id.clone()));
        self.end(id, SIGNAL_BASE + libc::SIGKILL, false);
        self.state().containers.remove(id);
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec, stdio: ExecStdio) -> Result<ExecHandle, RuntimeError> {
        {
            let mut state = self.state();
            state.calls.push(FakeCall::Exec(id.clone(), spec.args.clone()));
            let running = |c: &ContainerInfo| matches!(c.state, ContainerState::Running { .. });
            if !state.containers.get(id).is_some_and(running) {
                return Err(RuntimeError::NotFound(format!("running container {}", id.0)));
            }
        }
        let script = Arc::clone(&self.exec_script.lock().unwrap_or_else(PoisonError::into_inner));
        let (code, output) = script(id, &spec)?;
        if let Some(stdout) = stdio.stdout {
            let written = std::fs::File::from(stdout).write_all(&output);
            written.map_err(|e| RuntimeError::Other(format!("output not taken: {e}")))?;
        }
        let (sender, exit) = oneshot::channel();
        // The receiver is in hand: it takes the code.
        sender.send(code).ok();
        Ok(ExecHandle { exit })
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        let state = self.state();
        Ok(Inventory {
            sandboxes: state.sandboxes.values().cloned().collect(),
            containers: state.containers.values().cloned().collect(),
        })
    }

    fn exits(&self) -> broadcast::Receiver<ContainerInfo> {
        self.exits.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{container_spec, sandbox_spec};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn containers_run_until_they_are_ended() {
        block_on(async {
            let fake = FakeRuntime::default();
            let mut exits = fake.exits();
            let spec = container_spec("c");
            assert!(matches!(fake.start_container(spec.clone(), None).await, Err(RuntimeError::NotFound(_))));
            fake.create_sandbox(sandbox_spec()).await.unwrap();
            fake.fail_start("c", RuntimeError::Start("no".into()));
            assert_eq!(fake.start_container(spec.clone(), None).await, Err(RuntimeError::Start("no".into())));
            fake.start_container(spec.clone(), None).await.unwrap();
            assert!(fake.remove_sandbox(&spec.sandbox).await.is_err());

            fake.ignore_signals("c");
            fake.kill_container(&spec.id, libc::SIGTERM).await.unwrap();
            assert!(exits.try_recv().is_err());
            fake.kill_container(&spec.id, libc::SIGKILL).await.unwrap();
            let ended = exits.recv().await.unwrap();
            assert!(matches!(ended.state, ContainerState::Exited { code: 137, oom_killed: false, .. }));
            assert!(!fake.exit(&spec.id, 0));
            fake.remove_container(&spec.id).await.unwrap();
            fake.remove_sandbox(&spec.sandbox).await.unwrap();
            assert_eq!(fake.list().await, Ok(Inventory::default()));
        });
    }
}
