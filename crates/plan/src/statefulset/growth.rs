//! Claims that follow their template's size: one replica at a time, in the order of a rollout. The
//! volume grows by whoever provisioned it; nothing here touches data.

use super::Stage;
use super::actions::{Action, Draft, Rule};
use super::claims::existing;
use super::reset::stale_claims;
use super::update::rollout_order;
use super::views::{ClaimView, Size};

/// Lets the claims of the next replica ask for what their templates ask for.
pub(super) fn grow(stage: &Stage<'_>, draft: &mut Draft) {
    let settled = |size: &Size| *size == Size::Settled;
    if stage.view.set.wishes.paused || stage.view.claims.values().all(|claim| settled(&claim.size)) {
        return;
    }
    for ordinal in rollout_order(stage) {
        let mut busy = false;
        // What is to be made anew comes in the new size.
        let is_going =
            |claim: &ClaimView| claim.terminating || stale_claims(stage.view, ordinal).any(|stale| stale == claim);
        for claim in existing(stage.view, ordinal).filter(|claim| !is_going(claim)) {
            match &claim.size {
                Size::Settled => continue,
                Size::MayGrow(storage) => {
                    let (target, storage) = (claim.target.clone(), storage.clone());
                    draft.last.push(Action::GrowClaim { target, ordinal, storage });
                }
                Size::Growing => draft.wait(&claim.target.name, Rule::ClaimGrowing),
            }
            busy = true;
        }
        if busy {
            return;
        }
    }
}
