//! I1 and the other half of I3: what really runs, on all nodes. One pod of a name at a time, and no claim
//! used by two pods.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use super::Observer;

/// A container's first process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Node it runs on.
    pub(crate) node: String,
    /// Namespace and name of its pod.
    pub(crate) pod: (String, String),
    /// UID of its pod.
    pub(crate) uid: String,
    /// UIDs of the claims it has mounted.
    pub(crate) claims: BTreeSet<String>,
}

impl Observer {
    /// A process has started; `id` names the incarnation of its container.
    pub(crate) fn started(&self, id: &str, process: Process) {
        self.story.tell(&process.node, &format!("{} runs ({id})", process.pod.1));
        let mut state = self.lock();
        for other in state.processes.values() {
            // Pods have one container here.
            let twins = other.pod == process.pod;
            // Whoever deletes by force says that he knows the processes to be gone; a claim still binds both
            // to one node, where the agent knows better.
            let taken_for_dead = state.forced.contains(&other.uid) && other.node != process.node;
            if twins && !taken_for_dead {
                self.story.violated("I1", format!("{process:?} starts while {other:?} runs"));
            }
            let shared = other.claims.intersection(&process.claims).next();
            if let Some(claim) = shared.filter(|_| other.uid != process.uid) {
                self.story.violated("I3", format!("claim {claim} is used by {process:?} and {other:?}"));
            }
        }
        if state.processes.insert(id.to_owned(), process).is_some() {
            self.story.violated("I1", format!("incarnation {id} was started twice"));
        }
    }

    /// At rest: every Ready pod runs, and nothing else does.
    pub(crate) fn process_problems(&self, pods: &BTreeMap<String, Pod>) -> Vec<String> {
        let state = self.lock();
        let known: BTreeSet<&str> = pods.values().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let running: BTreeSet<&str> = state.processes.values().map(|process| process.uid.as_str()).collect();
        let lost = state.processes.values().filter(|process| !known.contains(process.uid.as_str()));
        let lost = lost.map(|process| format!("{} still runs on {}", process.pod.1, process.node));
        let dead = pods.iter().filter(|(_, pod)| {
            stead_plan::pods::is_ready(pod) && !running.contains(pod.metadata.uid.as_deref().unwrap_or_default())
        });
        lost.chain(dead.map(|(name, _)| format!("{name} is called Ready and does not run"))).collect()
    }

    /// Incarnations that run, with the UID of their pod.
    pub(crate) fn running(&self) -> BTreeMap<String, String> {
        let state = self.lock();
        state.processes.iter().map(|(id, process)| (id.clone(), process.uid.clone())).collect()
    }

    /// A process has ended.
    pub(crate) fn ended(&self, id: &str, code: i32) {
        if let Some(process) = self.lock().processes.remove(id) {
            self.story.tell(&process.node, &format!("{} ended with {code} ({id})", process.pod.1));
        }
    }
}
