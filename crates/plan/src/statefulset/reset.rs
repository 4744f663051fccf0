//! Making a replica anew with its claims, because somebody asked for it ([`RESET`]): its pod ends,
//! then its claims go, then both are made again.
//!
//! What was done is written on the pods and claims that were made for a generation
//! ([`RESET_GENERATION`]), nowhere else. So whatever is interrupted goes on where it was, a generation
//! is done once, and it holds across a set that is deleted and made again over its claims. One
//! replica at a time: the next one starts when the last one is available.
//!
//! [`RESET`]: super::wishes::RESET
//! [`RESET_GENERATION`]: super::wishes::RESET_GENERATION

use super::Stage;
use super::actions::{Action, Draft, Removal, Rule};
use super::claims::existing;
use super::ordinals::{Ordinal, pod_name};
use super::views::{ClaimView, SetView, View};

/// The generation that a replica of `ordinal` has to be made for, if a reset was asked for.
pub(super) fn generation(set: &SetView, ordinal: Ordinal) -> Option<&String> {
    set.wishes.resets.get(&ordinal)
}

/// The claims of `ordinal` that have to go because they are not of the generation asked for.
pub(super) fn stale_claims(view: &View, ordinal: Ordinal) -> impl Iterator<Item = &ClaimView> {
    let wanted = generation(&view.set, ordinal);
    existing(view, ordinal).filter(move |claim| wanted.is_some() && claim.reset.as_ref() != wanted)
}

/// Takes the next step of the resets asked for, highest ordinal first.
pub(super) fn advance(stage: &Stage<'_>, draft: &mut Draft) {
    for ordinal in stage.view.set.wishes.resets.keys().rev().copied() {
        if stage.view.set.range.contains(ordinal) && !advance_one(stage, ordinal, draft) {
            return;
        }
    }
}

/// One replica's next step; true when it is made anew and available.
fn advance_one(stage: &Stage<'_>, ordinal: Ordinal, draft: &mut Draft) -> bool {
    let wanted = generation(&stage.view.set, ordinal);
    let stale = || stale_claims(stage.view, ordinal);
    match stage.claimed.in_range.get(&ordinal) {
        Some(pod) if pod.reset.as_ref() == wanted && stale().next().is_none() => {
            let available = !pod.terminating && pod.available(stage.view.set.min_ready_s, stage.now);
            if !available {
                draft.wait_for(pod, Rule::Resetting);
            }
            available
        }
        Some(pod) => {
            if pod.terminating {
                draft.wait_for(pod, Rule::Terminating);
            } else if !draft.is_doomed(&pod.target) {
                draft.delete(pod, ordinal, Removal::Reset);
            }
            false
        }
        None if stage.claimed.taken.contains(&ordinal) => false,
        None => {
            for claim in stale().filter(|claim| !claim.terminating) {
                draft.pods.push(Action::DeleteClaim { target: claim.target.clone(), ordinal });
            }
            draft.wait(&pod_name(&stage.view.set.name, ordinal), Rule::Resetting);
            false
        }
    }
}
