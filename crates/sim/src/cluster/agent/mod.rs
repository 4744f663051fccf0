//! A simulated node agent. It follows the API and the machine as the real one does and asks the same
//! planner, `plan::pod`, what to do; but it works on a [`Machine`] instead of files, threads and a
//! supervisor, which is what makes it deterministic. `stead_node::Agent` itself is not simulated.

mod object;
mod preparing;
mod report;
mod worker;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use stead_client::{Cache, Change, ListScope, ObjectKey};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use super::link::Link;
use super::machine::Machine;
use worker::Worker;

/// Tasks of one process: all end when it is killed. Clones share them.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn kill(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

struct Inner {
    machine: Machine,
    client: Client,
    pods: Cache<Pod>,
    tasks: Tasks,
    workers: Mutex<BTreeMap<String, Arc<Worker>>>,
}

/// A running agent process.
pub(crate) struct Agent {
    inner: Arc<Inner>,
    link: Link,
}

impl Agent {
    /// Starts the process on `machine`, with `link` to the server.
    pub(crate) fn start(machine: &Machine, link: Link) -> Self {
        let client = link.client();
        let scope = ListScope { fields: Some(format!("spec.nodeName={}", machine.name())), ..ListScope::default() };
        let pods = Cache::start(Api::all(client.clone()), scope);
        let (machine, workers) = (machine.clone(), Mutex::default());
        let inner = Arc::new(Inner { machine, client, pods, tasks: Tasks::default(), workers });
        inner.tasks.spawn(object::keep_registered(inner.machine.clone(), inner.client.clone()));
        inner.tasks.spawn(follow(Arc::clone(&inner)));
        Self { inner, link }
    }

    /// The link it uses.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Kills the process where it stands. What runs on the machine goes on.
    pub(crate) fn kill(self) {
        self.link.kill();
        self.inner.tasks.kill();
    }
}

/// Takes back what runs, then follows the API and the processes.
async fn follow(inner: Arc<Inner>) {
    let mut changes = inner.machine.changes();
    inner.pods.synced().await;
    for record in inner.machine.records() {
        let current = inner.pods.get_key(&ObjectKey::of(record.as_ref())).and_then(|pod| pod.metadata.uid.clone());
        if current != record.metadata.uid {
            inner.worker(&record).gone();
        }
    }
    let followed = Arc::downgrade(&inner);
    inner.pods.on_change(move |change| {
        let Some(inner) = followed.upgrade() else { return };
        match change {
            Change::Applied { new, .. } => inner.worker(&new).see(&new),
            Change::Deleted { old } => inner.gone(&old),
        }
    });
    loop {
        match changes.recv().await {
            Ok(uid) => {
                // A probe takes its time to notice.
                tokio::time::sleep(inner.machine.dice().ms(0, 200)).await;
                inner.lock().get(&uid).into_iter().for_each(|worker| worker.wake());
            }
            Err(RecvError::Lagged(_)) => inner.lock().values().for_each(|worker| worker.wake()),
            Err(RecvError::Closed) => return,
        }
    }
}

impl Inner {
    /// The worker of a pod, started if need be. A name has one worker at work: a new one waits until nothing
    /// of the earlier UID is left.
    fn worker(self: &Arc<Self>, pod: &Arc<Pod>) -> Arc<Worker> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut workers = self.lock();
        if let Some(worker) = workers.get(&uid) {
            return Arc::clone(worker);
        }
        let worker = Arc::new(Worker::new(pod, &self.machine));
        let earlier: Vec<Arc<Worker>> = workers.values().filter(|other| other.key == worker.key).cloned().collect();
        workers.insert(uid, Arc::clone(&worker));
        drop(workers);
        let (inner, task) = (Arc::clone(self), Arc::clone(&worker));
        self.tasks.spawn(async move {
            for other in earlier {
                other.finished().await;
            }
            worker::run(&inner, &task).await;
            inner.lock().remove(&task.uid);
        });
        worker
    }

    fn gone(&self, pod: &Pod) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.lock().get(uid).into_iter().for_each(|worker| worker.gone());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
