//! The agent as a process of its own, with tasks and watches of its own: once it is killed nothing of it goes on.

use std::sync::Arc;

use kube::{Api, Client};
use serde::de::DeserializeOwned;
use stead_client::{Cache, ListScope};
use stead_image::ImageStore;
use stead_node::{Agent, AgentConfig, AgentParts, NodeCaches};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::runtime::{Shared, Watched};
use crate::world::PATIENCE;

/// What an agent finds around it, and leaves behind.
pub(crate) struct Machine {
    pub(crate) client: Client,
    pub(crate) runtime: Watched,
    pub(crate) network: Shared,
    pub(crate) images: Arc<ImageStore>,
}

/// An agent at work; dropping it kills it.
pub(crate) struct Process {
    agent: Agent<Watched, Shared>,
    _tasks: Tasks,
}

impl Process {
    pub(crate) async fn start(config: AgentConfig, machine: Machine) -> Self {
        let tasks = Tasks::new();
        let agent = tasks.spawn(async move {
            let Machine { client, runtime, network, images } = machine;
            let parts = AgentParts { config, caches: caches(&client), client, runtime, network, images };
            Agent::start(parts, CancellationToken::new()).await.expect("an agent")
        });
        Self { agent: agent.await.expect("it does not panic"), _tasks: tasks }
    }

    pub(crate) fn agent(&self) -> Agent<Watched, Shared> {
        self.agent.clone()
    }
}

/// Where everything runs that a process does.
struct Tasks(Option<Runtime>);

impl Tasks {
    fn new() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")))
    }

    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
        self.0.as_ref().expect("it is there until it is dropped").spawn(task)
    }
}

impl Drop for Tasks {
    /// Tasks end where they wait; a thread ends with what it has begun, as a system call would.
    fn drop(&mut self) {
        let tasks = self.0.take().expect("it is there until it is dropped");
        tokio::task::block_in_place(|| tasks.shutdown_timeout(PATIENCE));
    }
}

fn caches(client: &Client) -> NodeCaches {
    fn all<K>(client: &Client) -> Cache<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        Cache::start(Api::all(client.clone()), ListScope::default())
    }
    NodeCaches {
        pods: all(client),
        claims: all(client),
        volumes: all(client),
        services: all(client),
        nodes: all(client),
    }
}
