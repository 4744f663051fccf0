//! A node's machine: what really runs on it. Processes, sandboxes, volume locks and the agent's records are
//! here and outlive the agent; a power failure takes the processes, not the disk.
//!
//! How an image behaves is in its name: `…:bad` dies soon after each start, `…:mute` runs and never becomes
//! ready, `…:absent` cannot be pulled, anything else works.

mod dirs;
mod life;
mod supervised;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use stead_client::ObjectKey;
use stead_plan::pod::InstanceState;
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use super::entropy::Dice;
use super::observer::{Observer, Process};
use super::time::WallClock;
pub(crate) use dirs::SimDirs;
use life::Life;
use supervised::Unsupervised;

const SIGKILLED: i32 = 137;
/// Changes of processes that wait for an agent; one that misses some looks at everything.
const CHANGES_MAX: usize = 256;

/// What a process has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    ToEnd,
    Killed,
}

/// An incarnation of a container.
struct Container {
    uid: String,
    name: String,
    attempt: u32,
    image: String,
    started_at: Timestamp,
    state: InstanceState,
    ready: bool,
    told: watch::Sender<Told>,
    _life: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    containers: BTreeMap<String, Container>,
    sandboxes: BTreeMap<String, IpAddr>,
    /// Holder (name and UID of a pod) of each claim UID.
    locks: BTreeMap<String, (ObjectKey, String)>,
    records: BTreeMap<String, Arc<Pod>>,
    dirs: BTreeSet<String>,
    images: BTreeSet<String>,
    /// None while a supervisor runs.
    unsupervised: Option<Unsupervised>,
    /// Addresses given so far; none is given twice, so that an address names one pod.
    addresses: u16,
    powered: bool,
}

/// The machine. Clones are the same.
#[derive(Clone)]
pub(crate) struct Machine {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    subnet: u8,
    wall: WallClock,
    dice: Dice,
    observer: Observer,
    state: Mutex<State>,
    /// Pod UIDs of which a process changed.
    changes: broadcast::Sender<String>,
}

impl Machine {
    /// A machine that is powered on and empty.
    pub(crate) fn new(name: &str, subnet: u8, wall: WallClock, dice: Dice, observer: Observer) -> Self {
        let state = State { powered: true, ..State::default() };
        let inner = Inner {
            name: name.to_owned(),
            subnet,
            wall,
            dice,
            observer,
            state: Mutex::new(state),
            changes: broadcast::Sender::new(CHANGES_MAX),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether its agent says that it can be asked to make ready for replacements. The last one is as those of
    /// Kubernetes and does not.
    pub(crate) fn prepares(&self) -> bool {
        self.inner.name != "n3"
    }

    /// Its clock.
    pub(crate) fn wall(&self) -> &WallClock {
        &self.inner.wall
    }

    /// Its own randomness.
    pub(crate) fn dice(&self) -> &Dice {
        &self.inner.dice
    }

    /// Its address.
    pub(crate) fn ip(&self) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, self.inner.subnet).into()
    }

    /// Whether it is on.
    pub(crate) fn powered(&self) -> bool {
        self.lock().powered
    }

    /// Tells of pods whose processes changed.
    pub(crate) fn changes(&self) -> broadcast::Receiver<String> {
        self.inner.changes.subscribe()
    }

    /// Cuts the power: every process is gone, the disk stays.
    pub(crate) fn power_off(&self) {
        let mut state = self.lock();
        state.powered = false;
        state.sandboxes.clear();
        state.unsupervised = None;
        let containers = std::mem::take(&mut state.containers);
        drop(state);
        for (id, container) in containers {
            if container.state == InstanceState::Running {
                self.inner.observer.ended(&id, SIGKILLED);
            }
        }
    }

    /// Turns it on again.
    pub(crate) fn power_on(&self) {
        self.lock().powered = true;
    }

    /// Records a pod the agent has taken on.
    pub(crate) fn record(&self, pod: &Arc<Pod>) {
        self.lock().records.insert(pod.metadata.uid.clone().unwrap_or_default(), Arc::clone(pod));
    }

    /// The pods on record.
    pub(crate) fn records(&self) -> Vec<Arc<Pod>> {
        self.lock().records.values().cloned().collect()
    }

    /// Whether anything of the pod is left: a power failure leaves the locks of its claims.
    pub(crate) fn holds(&self, uid: &str) -> bool {
        let state = self.lock();
        let runs = state.containers.values().any(|container| container.uid == uid);
        runs || state.sandboxes.contains_key(uid) || state.locks.values().any(|(_, holder)| holder == uid)
    }

    /// Nothing of the pod is to be remembered.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().records.remove(uid);
    }

    /// The pod's address.
    pub(crate) fn sandbox(&self, uid: &str) -> Option<IpAddr> {
        self.lock().sandboxes.get(uid).copied()
    }

    /// Makes the pod's sandbox, if there is none.
    pub(crate) fn make_sandbox(&self, uid: &str) -> IpAddr {
        let mut state = self.lock();
        if let Some(ip) = state.sandboxes.get(uid) {
            return *ip;
        }
        state.addresses += 1;
        let [high, low] = state.addresses.to_be_bytes();
        let ip = IpAddr::from(Ipv4Addr::new(10, 240 + self.inner.subnet, high, low));
        state.sandboxes.insert(uid.to_owned(), ip);
        ip
    }

    /// Locks a claim for a pod; a pod of the same name but another UID may hold it.
    pub(crate) fn lock_claim(&self, claim: &str, key: &ObjectKey, uid: &str) -> Result<(), String> {
        let mut state = self.lock();
        if !state.dirs.contains(claim) {
            return Err(format!("the directory of claim {claim} is not there"));
        }
        match state.locks.get(claim) {
            Some((holder, other)) if holder == key && other != uid => Err(format!("the volume is held by pod {other}")),
            Some(_) | None => {
                state.locks.insert(claim.to_owned(), (key.clone(), uid.to_owned()));
                Ok(())
            }
        }
    }

    /// Takes a claim from its holder, which no agent does. Planted, to see whether anybody notices.
    pub(crate) fn steal(&self, claim: &str, key: &ObjectKey) -> bool {
        let mut state = self.lock();
        let here = state.dirs.contains(claim);
        if here {
            state.locks.insert(claim.to_owned(), (key.clone(), key.name.clone()));
        }
        here
    }

    /// Removes everything of the pod but its record.
    pub(crate) fn tear_down(&self, uid: &str) {
        let mut state = self.lock();
        state.containers.retain(|_, container| container.uid != uid);
        state.sandboxes.remove(uid);
        state.locks.retain(|_, (_, holder)| holder != uid);
    }

    /// Whether the image is here.
    pub(crate) fn has_image(&self, image: &str) -> bool {
        self.lock().images.contains(image)
    }

    /// An image has arrived.
    pub(crate) fn keep_image(&self, image: &str) {
        self.lock().images.insert(image.to_owned());
    }

    /// Whether a probe of the incarnation would succeed.
    pub(crate) fn is_ready(&self, id: &str) -> bool {
        self.lock().containers.get(id).is_some_and(|container| container.ready)
    }

    /// Removes a dead incarnation.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().containers.remove(id);
    }

    /// Starts an incarnation; again is fine.
    pub(crate) fn start(&self, pod: &ObjectKey, uid: &str, name: &str, attempt: u32, image: &str) {
        let id = format!("{uid}_{name}_{attempt}");
        let mut state = self.lock();
        if !state.powered || state.unsupervised.is_some() || state.containers.contains_key(&id) {
            return;
        }
        let claims = state.locks.iter().filter(|(_, (_, holder))| holder == uid).map(|(claim, _)| claim.clone());
        let process = Process {
            node: self.inner.name.clone(),
            pod: (pod.namespace.clone(), pod.name.clone()),
            uid: uid.to_owned(),
            claims: claims.collect(),
        };
        let told = watch::Sender::new(Told::Nothing);
        let life = Life { machine: self.clone(), id: id.clone(), uid: uid.to_owned(), image: image.to_owned() };
        let container = Container {
            uid: uid.to_owned(),
            name: name.to_owned(),
            attempt,
            image: image.to_owned(),
            started_at: self.inner.wall.now(),
            state: InstanceState::Running,
            ready: false,
            _life: AbortOnDropHandle::new(tokio::spawn(life.live(told.subscribe()))),
            told,
        };
        state.containers.insert(id.clone(), container);
        drop(state);
        self.inner.observer.started(&id, process);
    }

    /// Kills a process at random, as memory pressure does.
    pub(crate) fn kill_one(&self) {
        let running: Vec<String> = {
            let state = self.lock();
            let running = state.containers.iter().filter(|(_, container)| container.state == InstanceState::Running);
            running.map(|(id, _)| id.clone()).collect()
        };
        if let Some(id) = self.inner.dice.pick(&running) {
            self.say(id, Told::Killed);
        }
    }

    fn say(&self, id: &str, told: Told) {
        if let Some(container) = self.lock().containers.get(id) {
            container.told.send_if_modified(|known| {
                let more = told > *known;
                *known = told.max(*known);
                more
            });
        }
    }

    fn set_ready(&self, id: &str, uid: &str) {
        if let Some(container) = self.lock().containers.get_mut(id) {
            container.ready = true;
        }
        self.changed(uid);
    }

    fn end(&self, id: &str, uid: &str, code: i32) {
        let finished_at = self.inner.wall.now();
        if let Some(container) = self.lock().containers.get_mut(id) {
            container.state = InstanceState::Exited { code, oom_killed: false, finished_at, message: String::new() };
            container.ready = false;
        }
        self.inner.observer.ended(id, code);
        let seen = self.lock().unsupervised.is_none();
        if seen {
            self.changed(uid);
        }
    }

    fn changed(&self, uid: &str) {
        // Refused only when no agent listens: the next one looks at everything.
        let _listeners = self.inner.changes.send(uid.to_owned()).is_ok();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
