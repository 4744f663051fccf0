//! The wanted replicas: which to make, which to make anew, which to wait for (contract section J).
//!
//! In ordered mode the walk stops at the first replica that is not there, running, ready and
//! available; in parallel mode every replica is looked at by itself.

use super::Stage;
use super::actions::{Action, Draft, Removal, Rule};
use super::ordinals::{Ordinal, pod_name};
use super::views::{Management, PodView};
use super::{claims, events, update};
use crate::pods::Phase;

/// Whether the walk may go on past a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pass,
    Block,
}

/// Fills the range; true when every replica is as it should be, so that scaling down and updates may
/// follow. Parallel sets never hold those back.
pub(super) fn fill(stage: &Stage<'_>, draft: &mut Draft) -> bool {
    let ordered = stage.view.set.management == Management::OrderedReady;
    for ordinal in stage.view.set.range.ascending() {
        let step = match stage.claimed.in_range.get(&ordinal) {
            Some(pod) => existing(stage, ordinal, pod, draft),
            None => missing(stage, ordinal, draft),
        };
        if ordered && step == Step::Block {
            return false;
        }
    }
    true
}

fn missing(stage: &Stage<'_>, ordinal: Ordinal, draft: &mut Draft) -> Step {
    let name = pod_name(&stage.view.set.name, ordinal);
    if stage.claimed.taken.contains(&ordinal) {
        draft.wait(&name, Rule::NameTaken);
    } else if claims::prepare(stage.view, ordinal, is_reset(stage, ordinal), draft) {
        let revision = update::revision_for_new(stage, ordinal);
        draft.pods.push(Action::CreatePod { ordinal, revision });
        draft.wait(&name, Rule::Creating);
    }
    Step::Block
}

/// Whether it is the replica whose reset goes on now.
fn is_reset(stage: &Stage<'_>, ordinal: Ordinal) -> bool {
    stage.resetting.is_some_and(|turn| turn.ordinal == ordinal)
}

fn existing(stage: &Stage<'_>, ordinal: Ordinal, pod: &PodView, draft: &mut Draft) -> Step {
    let name = &pod.target.name;
    if draft.is_doomed(&pod.target) {
        draft.wait(name, Rule::Replacing);
        return Step::Block;
    }
    if pod.phase.is_terminal() && !pod.terminating {
        claims::own(stage.view, pod, ordinal, false, draft);
        draft.delete(pod, ordinal, Removal::Ended);
        draft.wait(name, Rule::Replacing);
        return Step::Block;
    }
    if pod.terminating {
        draft.wait_for(pod, Rule::Terminating);
        return Step::Block;
    }
    let claims_usable = pod.phase != Phase::Pending || claims::ensure(stage.view, ordinal, draft);
    if claims_usable {
        enforce(stage, ordinal, pod, draft);
    }
    claims::own(stage.view, pod, ordinal, false, draft);
    match pod.available_at(stage.view.set.min_ready_s) {
        None => {
            draft.wait_for(pod, Rule::NotReady);
            Step::Block
        }
        Some(at) if at > stage.now => {
            draft.wait(name, Rule::NotYetAvailable);
            draft.wake(at);
            Step::Block
        }
        Some(_) => Step::Pass,
    }
}

/// Brings the labels of a living replica in line (J5).
fn enforce(stage: &Stage<'_>, ordinal: Ordinal, pod: &PodView, draft: &mut Draft) {
    if !pod.identity_ok {
        draft.repair(Action::RelabelPod { target: pod.target.clone(), ordinal });
    }
    if !pod.storage_ok {
        let name = &pod.target.name;
        draft.wait(name, Rule::StorageDiffers);
        let error = "the pod does not mount the claims of its ordinal, and volumes of a pod cannot be changed";
        draft.notes.push(events::update_failed(&stage.view.set.name, name, error));
    }
}
