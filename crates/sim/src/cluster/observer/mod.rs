//! Sees every durable write, every watch event and every process that starts or ends, and asserts the
//! invariants on them. It knows what was asked for and by whom, and never influences what happens.
//!
//! Where a rule binds a controller that can only act on what it has seen, it asks whether *some* real state
//! that the controller can have been looking at ([`sights`]) allowed the action.

mod answers;
mod claims;
mod deeds;
mod facts;
mod log;
mod names;
mod pictures;
mod processes;
mod revisions;
mod selection;
mod sets;
mod shown;
mod sights;
mod status;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use stead_store::Limits;
use stead_store::simulated::Committed;
use tokio::time::Instant;

use super::story::Story;
pub(crate) use facts::image;
use facts::{PodFact, SetFact};
use log::Log;
use pictures::Pictures;
pub(crate) use processes::Process;
use sights::Sights;
pub(crate) use tap::Tap;

/// How long names may lag, and for how long states are remembered that somebody may act on: stalls,
/// partitions and back-offs together stay below it.
const WINDOW: Duration = Duration::from_secs(120);

/// Namespace and name.
pub(crate) type Name = (String, String);

/// Who carries out what controllers decide.
pub(crate) const CONTROLLERS: &str = "controllers";

#[derive(Default)]
struct State {
    log: Log,
    /// Watches that are open.
    open: tap::Open,
    sights: Sights,
    sets: BTreeMap<Name, SetFact>,
    pods: BTreeMap<Name, PodFact>,
    /// Every ControllerRevision.
    revisions: BTreeMap<Name, facts::RevisionFact>,
    /// When each ControllerRevision of a name was last removed.
    removed: BTreeMap<Name, Instant>,
    claims: BTreeMap<Name, claims::ClaimFact>,
    /// Sets that were ever asked to take claims along.
    takes_claims: BTreeSet<Name>,
    /// Pods that were ever asked to be made anew with their claims.
    resets: BTreeSet<Name>,
    pictures: Pictures,
    /// When a pod UID was last seen to become Ready or to cease to be.
    last_ready: BTreeMap<String, Instant>,
    /// Whose address each is or was.
    homes: BTreeMap<IpAddr, names::Home>,
    /// Services that name pods whether they are ready or not.
    publishing: BTreeSet<Name>,
    /// Nodes, and since when one is gone.
    nodes: BTreeMap<String, Option<Instant>>,
    /// Nodes that can be asked to make ready for a replacement, and since when.
    preparing: BTreeMap<String, Instant>,
    processes: BTreeMap<String, Process>,
    /// Pods for whose processes somebody answers: deleted by force, or with the object of their node.
    forced: BTreeSet<String>,
    /// Whether a wall clock was ever wrong: times in objects then prove nothing.
    clocks_stepped: bool,
}

/// What is done at a write: which one, and what.
type Trap = (Box<dyn Fn(&Committed) -> bool + Send>, Box<dyn FnOnce() + Send>);

/// See the module. Clones share everything.
#[derive(Clone)]
pub(crate) struct Observer {
    state: Arc<Mutex<State>>,
    traps: Arc<Mutex<Vec<Trap>>>,
    story: Story,
}

impl Observer {
    /// An observer that reports to `story`.
    pub(crate) fn new(story: Story) -> Self {
        Self { state: Arc::default(), traps: Arc::default(), story }
    }

    /// Calls `action` once, at the first write that `matches`.
    pub(crate) fn set_trap(&self, matches: Box<dyn Fn(&Committed) -> bool + Send>, action: Box<dyn FnOnce() + Send>) {
        self.traps.lock().unwrap_or_else(PoisonError::into_inner).push((matches, action));
    }

    fn spring_traps(&self, change: &Committed) {
        let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        let (sprung, left): (Vec<Trap>, Vec<Trap>) = traps.drain(..).partition(|(matches, _)| matches(change));
        *traps = left;
        drop(traps);
        sprung.into_iter().for_each(|(_, action)| action());
    }

    /// A wall clock is about to be set.
    pub(crate) fn clocks_stepped(&self) {
        self.lock().clocks_stepped = true;
    }

    /// Somebody is about to delete this pod by force and answers for the consequences.
    pub(crate) fn forced(&self, uid: &str) {
        self.lock().forced.insert(uid.to_owned());
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> u64 {
        u64::try_from(self.lock().log.writes()).unwrap_or(u64::MAX)
    }

    /// A server starts whose history begins at `revision`.
    pub(crate) fn server_started(&self, revision: u64, limits: Limits) {
        self.lock().log.begins(revision, limits);
    }

    /// Controllers start that know nothing.
    pub(crate) fn controllers_started(&self) {
        let mut state = self.lock();
        let shown = state.log.shown();
        state.sights.started(shown);
    }

    /// What open watches have not shown of what was written up to `revision`, as text. At rest, a moment after
    /// that, it is nothing.
    pub(crate) fn unshown(&self, revision: u64) -> Vec<String> {
        let mut state = self.lock();
        let State { log, open, .. } = &mut *state;
        open.unshown(log, revision)
    }

    /// Writes after `revision` by others than those who keep leases and let old events go, as text.
    pub(crate) fn unrest(&self, revision: u64) -> Vec<String> {
        let state = self.lock();
        let tables = state.log.tables().filter(|(table, _)| !table.starts_with("leases"));
        let late = tables.flat_map(|(table, lines)| {
            // Events leave by themselves when their time is over.
            let late = lines.after(revision).iter().filter(move |line| !(line.event.deleted && table == "events"));
            late.map(move |line| (line.revision(), table, line))
        });
        let mut late: Vec<_> = late.collect();
        late.sort_by_key(|(revision, ..)| *revision);
        late.iter()
            .map(|(revision, table, line)| {
                format!("{revision} {} writes {table} {}/{}", line.writer, line.name().0, line.name().1)
            })
            .collect()
    }

    /// A write has just become durable.
    pub(crate) fn committed(&self, change: &Committed) {
        let entry = &change.event.after;
        let name = (entry.key.namespace.to_string(), entry.key.name.to_string());
        let resource = &*entry.key.resource.0;
        let mut state = self.lock();
        let newest = state.log.newest();
        if entry.revision.0 <= newest {
            self.story.violated("I4", format!("revision {} comes after {newest}", entry.revision));
        }
        state.log.push(change);
        let plural = resource.rsplit('/').next().unwrap_or_default();
        match plural.split('.').next().unwrap_or_default() {
            "pods" => self.pod(&mut state, change, name, &decode::<Pod>(&entry.bytes)),
            "statefulsets" => self.set(&mut state, change, name, &decode::<StatefulSet>(&entry.bytes)),
            "controllerrevisions" => {
                self.revision(&mut state, change, name, &decode::<ControllerRevision>(&entry.bytes));
            }
            "persistentvolumeclaims" => {
                self.claim(&mut state, change, name, &decode::<PersistentVolumeClaim>(&entry.bytes));
            }
            "services" => self.service(&mut state, name, &decode::<Service>(&entry.bytes)),
            "nodes" => node(&mut state, change, name.1),
            "endpointslices" if !change.event.deleted => {
                self.slice(&state, &name, &decode::<EndpointSlice>(&entry.bytes));
            }
            _ => {}
        }
        drop(state);
        self.spring_traps(change);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn node(state: &mut State, change: &Committed, name: String) {
    let prepares = stead_plan::statefulset::prepares(&decode::<Node>(&change.event.after.bytes));
    if prepares && !change.event.deleted {
        state.preparing.entry(name.clone()).or_insert_with(Instant::now);
    } else {
        state.preparing.remove(&name);
    }
    state.nodes.insert(name, change.event.deleted.then(Instant::now));
}

fn decode<K: serde::de::DeserializeOwned>(bytes: &[u8]) -> K {
    serde_json::from_slice(bytes).expect("invariant: the API server stores what it can decode")
}
