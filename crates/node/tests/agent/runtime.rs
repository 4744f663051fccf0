//! A runtime that watches over what is asked of it, and that can be lost like a supervisor can.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stead_net::{FakeNetwork, NetError, Network, PodAddress, PodKey};
use stead_runtime::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExecHandle, ExecSpec, ExecStdio, FakeRuntime, Inventory,
    Runtime, RuntimeError, Sandbox, SandboxId, SandboxSpec,
};
use tokio::sync::broadcast;

/// Clones are the same runtime.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    pub(crate) fake: FakeRuntime,
    unreachable: Arc<AtomicBool>,
    forgotten: Arc<Mutex<BTreeSet<ContainerId>>>,
}

impl Watched {
    /// From now on every call fails, or works again.
    pub(crate) fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Ordering::SeqCst);
    }

    /// Loses sight of a container: it is listed no more and its end is never told.
    pub(crate) fn lose_sight_of(&self, id: &ContainerId) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
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
        self.fake.remove_sandbox(id).await
    }

    async fn start_container(&self, spec: ContainerSpec) -> Result<ContainerInfo, RuntimeError> {
        self.reach()?;
        let started = self.fake.start_container(spec).await;
        self.assert_no_identity_twice().await;
        started
    }

    async fn kill_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.reach()?;
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
        inventory.containers.retain(|container| self.sees(&container.spec.id));
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
