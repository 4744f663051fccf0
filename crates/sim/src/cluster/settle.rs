//! The end of every simulation (I12): faults have stopped, nobody asks for anything any more; the desired
//! state must be reached in bounded time, and then no further write may happen but leases.

mod people;
mod placed;
mod problems;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use stead_store::Entry;

use super::users::NAMESPACE;
use super::world::World;
pub(crate) use problems::{Problem, unreached};

/// Longest way to the desired state: a few of the longest back-offs (five minutes each) in a row.
const REACHED_MAX: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_secs(1);
/// Nothing may be written for so long: longer than any retry.
const QUIET: Duration = Duration::from_secs(600);
/// What is durable is shown to every open watch that nothing delays within so long. At rest leases are still renewed,
/// perhaps at this very moment.
const SHOWN_MAX: Duration = Duration::from_secs(1);
/// What was still under way when the state was reached may take so many times [`QUIET`].
const QUIET_TRIES: u32 = 4;

/// What is durable, decoded.
pub(crate) struct View {
    entries: Vec<Arc<Entry>>,
}

impl View {
    pub(crate) fn of(world: &World) -> Self {
        Self { entries: world.disk().contents().0 }
    }

    /// Everything of one table in the users' namespace.
    fn all<K: DeserializeOwned>(&self, table: &str) -> Vec<K> {
        let own = self.entries.iter().filter(|entry| {
            let key = &entry.key;
            *key.namespace == *NAMESPACE && key.resource.0.split('.').next() == Some(table)
        });
        own.map(|entry| serde_json::from_slice(&entry.bytes).expect("invariant: what is stored can be decoded"))
            .collect()
    }

    pub(crate) fn sets(&self) -> Vec<StatefulSet> {
        self.all("statefulsets")
    }

    pub(crate) fn pods(&self) -> BTreeMap<String, Pod> {
        self.all("pods").into_iter().map(|pod: Pod| (pod.metadata.name.clone().unwrap_or_default(), pod)).collect()
    }

    pub(crate) fn claims(&self) -> BTreeMap<String, PersistentVolumeClaim> {
        let all: Vec<PersistentVolumeClaim> = self.all("persistentvolumeclaims");
        all.into_iter().map(|claim| (claim.metadata.name.clone().unwrap_or_default(), claim)).collect()
    }

    pub(crate) fn revisions(&self) -> Vec<ControllerRevision> {
        self.all("controllerrevisions")
    }

    fn slices(&self) -> Vec<EndpointSlice> {
        self.all("endpointslices")
    }

    /// UID of each claim.
    pub(crate) fn claim_uids(&self) -> BTreeMap<String, String> {
        self.claims().into_iter().map(|(name, claim)| (name, claim.metadata.uid.unwrap_or_default())).collect()
    }
}

/// Ends the faults, waits for the desired state and then for silence.
pub(crate) async fn settle(world: &World) {
    world.calm();
    people::put_right(world).await;
    let started = world.story().elapsed();
    loop {
        let problems = unreached(world);
        if problems.is_empty() {
            break;
        }
        if world.story().elapsed() - started > REACHED_MAX {
            violated(world, "the desired state is not reached", &problems);
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    world.story().tell("world", "the desired state is reached");
    be_quiet(world).await;
    let problems = unreached(world);
    if !problems.is_empty() {
        violated(world, "the desired state was left again", &problems);
    }
}

/// Tells what is wrong. Where nothing is but one thing, it is what that violates.
fn violated(world: &World, what: &str, problems: &[Problem]) {
    let invariant = problems.first().map_or("I12", |first| first.invariant);
    let same = problems.iter().all(|problem| problem.invariant == invariant);
    world.story().violated(if same { invariant } else { "I12" }, format!("{what}: {}", told(problems)));
}

/// What is wrong, on one line.
pub(crate) fn told(problems: &[Problem]) -> String {
    let texts: Vec<&str> = problems.iter().map(|problem| &*problem.text).collect();
    texts.join("; ")
}

async fn be_quiet(world: &World) {
    for _ in 0..QUIET_TRIES {
        let mark = world.disk().newest();
        tokio::time::sleep(QUIET).await;
        if world.observer().unrest(mark.0).is_empty() {
            let shown_by_now = world.disk().newest();
            tokio::time::sleep(SHOWN_MAX).await;
            for late in world.observer().unshown(shown_by_now.0) {
                world.story().violated("I6", late);
            }
            return;
        }
    }
    let mark = world.disk().newest();
    tokio::time::sleep(QUIET).await;
    let unrest = world.observer().unrest(mark.0);
    if let Some(last) = unrest.last() {
        world.story().violated("I12", format!("{} writes in ten quiet minutes, the last: {last}", unrest.len()));
    }
}
