//! What goes through the supervisor of a machine's containers, and what is not known while there is none.

use std::collections::{BTreeMap, BTreeSet};

use stead_plan::pod::{Instance, InstanceState};

use super::{Container, Machine, SIGKILLED, Told};

/// What is known while there is no supervisor.
pub(super) struct Unsupervised {
    /// How each incarnation stood when it was killed.
    pub(super) seen: BTreeMap<String, InstanceState>,
    /// What incarnations are to be told; whoever asks keeps asking.
    pub(super) asked: Vec<(String, Told)>,
}

impl Machine {
    /// Kills the supervisor of the containers. They go on; nobody can start or stop one, or learn of an end.
    pub(crate) fn kill_supervisor(&self) {
        let mut state = self.lock();
        let seen = state.containers.iter().map(|(id, container)| (id.clone(), container.state.clone())).collect();
        if state.powered && state.unsupervised.is_none() {
            state.unsupervised = Some(Unsupervised { seen, asked: Vec::new() });
        }
    }

    /// Starts a supervisor that takes over what runs. How the others ended is not known any more.
    pub(crate) fn start_supervisor(&self) {
        let mut state = self.lock();
        let Some(Unsupervised { seen, asked }) = state.unsupervised.take() else { return };
        for (id, container) in &mut state.containers {
            if let InstanceState::Exited { code, .. } = &mut container.state
                && seen.get(id) == Some(&InstanceState::Running)
            {
                *code = SIGKILLED;
            }
        }
        let pods: BTreeSet<String> = state.records.keys().cloned().collect();
        drop(state);
        asked.iter().for_each(|(id, told)| self.say(id, *told));
        pods.iter().for_each(|uid| self.changed(uid));
    }

    /// What the runtime knows of the pod.
    pub(crate) fn instances(&self, uid: &str) -> Vec<Instance> {
        let state = self.lock();
        let own = state.containers.iter().filter(|(_, container)| container.uid == uid);
        let known = |id: &String, container: &Container| match &state.unsupervised {
            Some(then) => then.seen.get(id).cloned(),
            None => Some(container.state.clone()),
        };
        own.filter_map(|(id, container)| {
            Some(Instance {
                state: known(id, container)?,
                id: id.clone(),
                name: container.name.clone(),
                attempt: container.attempt,
                image: container.image.clone(),
                image_id: format!("sim@{}", container.image),
                started_at: container.started_at,
            })
        })
        .collect()
    }

    /// Asks an incarnation to end.
    pub(crate) fn ask_to_end(&self, id: &str) {
        self.ask(id, Told::ToEnd);
    }

    /// Kills an incarnation.
    pub(crate) fn kill(&self, id: &str) {
        self.ask(id, Told::Killed);
    }

    /// Tells an incarnation something through the supervisor.
    fn ask(&self, id: &str, told: Told) {
        if let Some(unsupervised) = &mut self.lock().unsupervised {
            unsupervised.asked.push((id.to_owned(), told));
            return;
        }
        self.say(id, told);
    }
}
