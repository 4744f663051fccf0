//! A runtime that watches over what is asked of it, that can be lost like a supervisor can, and that takes its
//! time or panics when told to.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stead_net::{FakeNetwork, NetError, Network, PodAddress, PodKey};
use stead_runtime::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExecHandle, ExecSpec, ExecStdio, FakeRuntime, Inventory,
    Runtime, RuntimeError, Sandbox, SandboxId, SandboxSpec,
};
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, broadcast};

/// Clones are the same runtime.
#[derive(Clone)]
pub(crate) struct Watched {
    /// Where a start goes on that an agent asked for before it was killed.
    process: Handle,
    pub(crate) fake: FakeRuntime,
    unreachable: Arc<AtomicBool>,
    forgotten: Arc<Mutex<BTreeSet<ContainerId>>>,
    /// What the next list leaves out.
    late: Arc<Mutex<BTreeSet<ContainerId>>>,
    /// Calls that panic, once each.
    stumbles: Arc<Mutex<BTreeSet<&'static str>>>,
    starts: Arc<RwLock<()>>,
    starts_asked: Arc<AtomicUsize>,
}

impl Watched {
    /// One that lives as long as the test.
    pub(crate) fn new() -> Self {
        Self {
            process: Handle::current(),
            fake: FakeRuntime::default(),
            unreachable: Arc::default(),
            forgotten: Arc::default(),
            late: Arc::default(),
            stumbles: Arc::default(),
            starts: Arc::default(),
            starts_asked: Arc::default(),
        }
    }

    /// From now on every call fails, or works again.
    pub(crate) fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Ordering::SeqCst);
    }

    /// Loses sight of a container: it is listed no more and its end is never told.
    pub(crate) fn lose_sight_of(&self, id: &ContainerId) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
    }

    /// Leaves a container out of the next list, as if its start were carried out only after that.
    pub(crate) fn show_late(&self, id: &ContainerId) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
    }

    /// Makes the next call of this name panic.
    pub(crate) fn panic_once(&self, call: &'static str) {
        self.stumbles.lock().unwrap_or_else(PoisonError::into_inner).insert(call);
    }

    /// Lets no container start until the answer is dropped.
    pub(crate) async fn hold_starts(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.starts).write_owned().await
    }

    /// How many starts were asked for.
    pub(crate) fn starts_asked(&self) -> usize {
        self.starts_asked.load(Ordering::SeqCst)
    }

    fn stumble(&self, call: &'static str) {
        let stumbles = self.stumbles.lock().unwrap_or_else(PoisonError::into_inner).remove(call);
        assert!(!stumbles, "{call} panics as it was told to");
    }

    fn sees(&self, id: &ContainerId) -> bool {
        !self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn reach(&self) -> Result<(), RuntimeError> {
        match self.unreachable.load(Ordering::SeqCst) {
            true => Err(RuntimeError::Unreachable("it was killed".to_owned())),
            false => Ok(()),
        }
    }

    /// I1: of each pod name, containers of one UID at most run.
    pub(crate) async fn assert_no_identity_twice(&self) {
        let Inventory { sandboxes, containers } = self.fake.list().await.expect("a fake answers");
        let mut live = BTreeSet::new();
        for container in containers.iter().filter(|container| runs(container) && self.sees(&container.spec.id)) {
            let sandbox = sandboxes.iter().find(|sandbox| sandbox.spec.id == container.spec.sandbox);
            let spec = &sandbox.expect("a running container has a sandbox").spec;
            live.insert((spec.namespace.clone(), spec.name.clone(), spec.id.0.clone()));
        }
        let names: BTreeSet<_> = live.iter().map(|(namespace, name, _)| (namespace, name)).collect();
        assert_eq!(names.len(), live.len(), "an identity runs twice: {live:?}");
    }
}

pub(crate) fn runs(container: &ContainerInfo) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

impl Runtime for Watched {
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        self.reach()?;
        self.fake.create_sandbox(spec).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.reach()?;
        self.stumble("remove_sandbox");
        self.fake.remove_sandbox(id).await
    }

    async fn start_container(&self, spec: ContainerSpec, held: Option<OwnedFd>) -> Result<ContainerInfo, RuntimeError> {
        self.reach()?;
        self.stumble("start_container");
        self.starts_asked.fetch_add(1, Ordering::SeqCst);
        let supervisor = self.clone();
        let start = self.process.spawn(async move {
            let _open = supervisor.starts.read().await;
            let started = supervisor.fake.start_container(spec, held).await;
            supervisor.assert_no_identity_twice().await;
            started
        });
        start.await.expect("a start does not panic")
    }

    async fn kill_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.reach()?;
        self.stumble("kill_container");
        if self.sees(id) { self.fake.kill_container(id, signal).await } else { Ok(()) }
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.reach()?;
        self.fake.remove_container(id).await
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec, stdio: ExecStdio) -> Result<ExecHandle, RuntimeError> {
        self.reach()?;
        self.fake.exec(id, spec, stdio).await
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        self.reach()?;
        let mut inventory = self.fake.list().await?;
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        inventory.containers.retain(|container| self.sees(&container.spec.id) && !late.contains(&container.spec.id));
        Ok(inventory)
    }

    fn exits(&self) -> broadcast::Receiver<ContainerInfo> {
        self.fake.exits()
    }
}

/// A network that outlives the agent.
#[derive(Clone, Default)]
pub(crate) struct Shared(pub(crate) Arc<FakeNetwork>);

impl Network for Shared {
    async fn attach(&self, pod: &PodKey, netns: &std::path::Path) -> Result<PodAddress, NetError> {
        self.0.attach(pod, netns).await
    }

    async fn detach(&self, pod: &PodKey) -> Result<(), NetError> {
        self.0.detach(pod).await
    }

    fn addresses(&self) -> Vec<(PodKey, PodAddress)> {
        self.0.addresses()
    }
}
