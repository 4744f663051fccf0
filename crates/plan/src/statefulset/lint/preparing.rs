//! The laws of making ready: nobody whose node can be asked goes for an update before the node has
//! answered, and nothing is asked for that nobody wants.

use stead_api::preparation::{Outcome, Prefetch};

use super::facts::Facts;
use super::pods::seen;
use super::{Flaws, Law};
use crate::statefulset::actions::{Action, Removal};
use crate::statefulset::ordinals::Ordinal;
use crate::statefulset::revisions::RevisionName;
use crate::statefulset::views::{PodView, Preparation, Strategy};

pub(super) fn check(facts: &Facts<'_>, flaws: &mut Flaws) {
    for action in facts.plan.actions() {
        match action {
            Action::DeletePod { target, ordinal, why: Removal::Outdated } => {
                let pod = facts.view.pods.iter().find(|pod| pod.target == *target);
                let ready = pod.is_none_or(|pod| is_ready(facts, *ordinal, pod));
                flaws.check(ready, Law::Prepared, || format!("{} goes before its node is ready for it", target.name));
            }
            Action::Prepare { target, ordinal, revision, .. } => {
                let pod = seen(facts, target, flaws);
                let may = pod.is_none_or(|pod| may_be_asked(facts, *ordinal, pod, revision));
                flaws.check(may, Law::Reason, || format!("{} is not to be made ready for {revision}", target.name));
            }
            Action::Withdraw { target, .. } => {
                let pod = seen(facts, target, flaws);
                let asked = |pod: &PodView| matches!(pod.preparation, Preparation::Asked { .. }) && !pod.terminating;
                let may = pod.is_none_or(|pod| facts.is_mine(pod) && asked(pod));
                flaws.check(may, Law::Reason, || format!("nothing was asked about {}", target.name));
            }
            _ => {}
        }
    }
}

/// What the node has said to the request that the pod carries.
pub(super) fn outcome(pod: &PodView) -> Option<Outcome> {
    match &pod.preparation {
        Preparation::Asked { answer: Some((outcome, _)), .. } => Some(*outcome),
        Preparation::Asked { answer: None, .. } | Preparation::Unasked | Preparation::Unable => None,
    }
}

/// Whether the pod is being made ready, or is about to be.
pub(super) fn is_under_way(facts: &Facts<'_>, pod: &PodView) -> bool {
    let asked = matches!(pod.preparation, Preparation::Asked { .. });
    let open = asked && matches!(outcome(pod), None | Some(Outcome::HookWaits));
    open || facts.plan.actions().any(|action| match action {
        Action::Prepare { target, .. } | Action::RelabelPod { target, .. } => *target == pod.target,
        _ => false,
    })
}

/// The revision that a rollout wants the replica at.
fn wanted<'a>(facts: &'a Facts<'_>, ordinal: Ordinal) -> &'a RevisionName {
    if facts.is_held(ordinal) { &facts.current } else { &facts.update }
}

fn is_rolling(facts: &Facts<'_>) -> bool {
    matches!(facts.view.set.strategy, Strategy::RollingUpdate { .. })
}

fn is_ready(facts: &Facts<'_>, ordinal: Ordinal, pod: &PodView) -> bool {
    let wishes = &facts.view.set.wishes;
    let required = wishes.prefetch == Prefetch::Required;
    let nothing_to_do = wishes.prefetch == Prefetch::Off && wishes.hook.is_none();
    if !is_rolling(facts) || nothing_to_do || !(pod.running_ready() || required) {
        return true;
    }
    match &pod.preparation {
        Preparation::Unable => true,
        Preparation::Unasked => false,
        Preparation::Asked { terms, .. } => {
            let same = terms.revision == *wanted(facts, ordinal)
                && terms.prefetch == wishes.prefetch
                && terms.hook == wishes.hook;
            let enough = match outcome(pod) {
                None | Some(Outcome::NoImage) => false,
                Some(Outcome::HookWaits | Outcome::HookFailed) => !pod.running_ready(),
                Some(Outcome::Done) => true,
            };
            same && enough
        }
    }
}

fn may_be_asked(facts: &Facts<'_>, ordinal: Ordinal, pod: &PodView, revision: &RevisionName) -> bool {
    let late = facts.view.set.range.contains(ordinal) && facts.is_outdated(ordinal, pod);
    let rolls = is_rolling(facts) && !facts.view.set.wishes.paused;
    let stays = facts.is_mine(pod) && !pod.terminating;
    late && rolls && stays && !is_ready(facts, ordinal, pod) && revision == wanted(facts, ordinal)
}
