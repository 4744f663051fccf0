//! Making ready before a replica goes: what the planner asks of a pod's node, what the node answers, and
//! what must hold when an update takes the pod down. Nodes never take an answer back here, so that old
//! ones lie about for as long as their pod lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod as WirePod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use stead_api::preparation::{Answer, Outcome, PREPARE, PREPARED, PREPARES, Prefetch, Request};
use stead_plan::statefulset::{Action, Plan, Removal};

use super::invariants::Violation;
use super::objects::{Objects, Stamp, Strategy};
use super::scenarios::Scenario;
use super::state::{Job, State};
use super::steps::{Step, slots};
use super::wire;

/// The node of all pods.
pub(crate) const NODE: &str = "n1";
/// The hook that each set asks for where nodes can be asked.
pub(crate) const HOOK: &str = r#"{"exec":{"command":["hand-over"]}}"#;

/// What is asked about a pod, and what was answered last, perhaps to another request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Errand {
    /// Its id and the template of the replacement.
    pub(crate) request: Option<(Stamp, u8)>,
    /// The id of the request it is for, and whether all went well.
    pub(crate) answer: Option<(Stamp, bool)>,
}

impl Errand {
    /// What was answered to the request that there is.
    fn answered(&self) -> Option<bool> {
        let (id, _) = self.request?;
        self.answer.filter(|(to, _)| *to == id).map(|(_, well)| well)
    }

    pub(crate) fn visit(&mut self, with: &mut impl FnMut(&mut Stamp)) {
        self.request.iter_mut().for_each(|(id, _)| with(id));
        self.answer.iter_mut().for_each(|(id, _)| with(id));
    }
}

/// What nodes can answer: yes or no at first, yes after a no.
pub(crate) fn possible(scenario: &Scenario, state: &State, steps: &mut Vec<Step>) {
    for (at, slot) in slots().filter(|_| scenario.prepares) {
        let Some(pod) = state.live.pods[slot].filter(|pod| !pod.terminating && pod.life.is_ready()) else { continue };
        if pod.errand.request.is_none() || state.world.down.has(slot) {
            continue;
        }
        match pod.errand.answered() {
            None => steps.extend([Step::Prepared(at, true), Step::Prepared(at, false)]),
            Some(false) => steps.push(Step::Prepared(at, true)),
            Some(true) => {}
        }
    }
}

/// The node answers.
pub(crate) fn answer(state: &mut State, slot: usize, well: bool) {
    let version = state.fresh();
    if let Some(pod) = &mut state.live.pods[slot] {
        pod.errand.answer = pod.errand.request.map(|(id, _)| (id, well));
        pod.version = version;
    }
}

/// An update takes down the pod at `slot`: if it was up, its node had done what this very replacement needs.
pub(crate) fn on_outdated(state: &State, job: &Job, slot: usize) -> Result<(), Violation> {
    let Some(pod) = state.live.pods[slot].filter(|pod| state.world.prepares && pod.life.is_ready()) else {
        return Ok(());
    };
    let held = matches!(job.spec.strategy, Strategy::Block { partition, .. } if slot < usize::from(partition));
    let right = pod.errand.request.is_some_and(|(_, template)| held || template == job.spec.template);
    if right && pod.errand.answered() == Some(true) {
        return Ok(());
    }
    Err(Violation::new("ready", format!("web-{slot} is replaced before its node is ready for that")))
}

/// The pod as it goes over the wire, where nodes can be asked.
pub(crate) fn dress(pod: &mut WirePod, errand: &Errand, revision: impl Fn(u8) -> String) {
    pod.spec.get_or_insert_default().node_name = Some(NODE.to_owned());
    if let Some((id, template)) = errand.request {
        let request = Request {
            id: id.0.to_string(),
            asked_at: Time(wire::now()),
            revision: revision(template),
            prefetch: Prefetch::IfPossible,
            images: Vec::new(),
            pull_secrets: Vec::new(),
            hook: stead_api::annotations::hook(HOOK).ok(),
        };
        pod.metadata.annotations.get_or_insert_default().insert(PREPARE.to_owned(), request.text());
    }
    if let Some((id, well)) = errand.answer {
        let outcome = if well { Outcome::Done } else { Outcome::HookFailed };
        let answer = Answer { id: id.0.to_string(), outcome, message: String::new() };
        let (holds, reason, message) = answer.condition();
        pod.status.get_or_insert_default().conditions.get_or_insert_default().push(PodCondition {
            type_: PREPARED.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            ..PodCondition::default()
        });
    }
}

/// The nodes there are.
pub(crate) fn nodes() -> Vec<Arc<Node>> {
    let annotations = Some(BTreeMap::from([(PREPARES.to_owned(), "true".to_owned())]));
    let metadata = ObjectMeta { name: Some(NODE.to_owned()), annotations, ..ObjectMeta::default() };
    vec![Arc::new(Node { metadata, ..Node::default() })]
}

/// Planted: replicas go instead of being asked about.
pub(crate) fn delete_before_the_answer(plan: &mut Plan) {
    let mut hasty = Vec::new();
    for batch in &mut plan.batches {
        batch.retain(|action| match action {
            Action::Prepare { target, ordinal, .. } => {
                hasty.push(Action::DeletePod { target: target.clone(), ordinal: *ordinal, why: Removal::Outdated });
                false
            }
            _ => true,
        });
    }
    plan.batches.push(hasty);
    plan.batches.retain(|batch| !batch.is_empty());
}

/// Planted: whatever was answered is taken for the answer to what is asked now.
pub(crate) fn take_old_answers(seen: &mut Objects) {
    for pod in seen.pods.iter_mut().flatten() {
        if let (Some((id, _)), Some((to, _))) = (pod.errand.request, &mut pod.errand.answer) {
            *to = id;
        }
    }
}
