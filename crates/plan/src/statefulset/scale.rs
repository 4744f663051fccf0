//! Scaling down: which condemned replica goes next (contract section K).
//!
//! One difference from Kubernetes: a condemned replica that has ended for good is never waited for. It
//! cannot become healthy again, so two of them would hold up an ordered scale-down for ever (K3).

use super::Stage;
use super::actions::{Draft, Removal, Rule};
use super::claims;
use super::views::{Management, PodView};

/// Removes condemned replicas, highest ordinal first; true when an update may follow in the same
/// plan.
pub(super) fn shrink(stage: &Stage<'_>, draft: &mut Draft) -> bool {
    give_claims(stage, draft);
    match stage.view.set.management {
        Management::Parallel => {
            for pod in stage.claimed.condemned.values().rev() {
                if pod.terminating {
                    draft.wait(&pod.target.name, Rule::Terminating);
                } else {
                    remove(pod, draft);
                }
            }
            true
        }
        Management::OrderedReady => shrink_by_one(stage, draft),
    }
}

/// Lets the claims of all condemned replicas go with them, where the policy says so (F1).
pub(super) fn give_claims(stage: &Stage<'_>, draft: &mut Draft) {
    for (ordinal, pod) in &stage.claimed.condemned {
        claims::own(stage.view, pod, *ordinal, true, draft);
    }
}

/// The highest condemned replica goes, unless it is unhealthy and a lower one is so too (K3).
fn shrink_by_one(stage: &Stage<'_>, draft: &mut Draft) -> bool {
    let condemned = &stage.claimed.condemned;
    let available = |pod: &PodView| !pod.terminating && pod.available(stage.view.set.min_ready_s, stage.now);
    let Some((_, next)) = condemned.last_key_value() else { return true };
    let lowest_unavailable = condemned.values().find(|pod| !available(pod) && !pod.phase.is_terminal());
    if next.terminating {
        draft.wait_for(next, Rule::Terminating);
    } else if available(next)
        || next.phase.is_terminal()
        || lowest_unavailable.is_some_and(|lowest| lowest.target == next.target)
    {
        remove(next, draft);
    } else {
        draft.wait_for(next, Rule::ScaleDownUnhealthy);
        if let Some(at) = next.available_at(stage.view.set.min_ready_s) {
            draft.wake(at);
        }
    }
    false
}

fn remove(pod: &PodView, draft: &mut Draft) {
    let Some(ordinal) = pod.ordinal else { return };
    draft.delete(pod, ordinal, Removal::Condemned);
}
