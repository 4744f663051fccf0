//! Claims that follow their template's size: one replica at a time, in the order of a rollout. The
//! volume grows by whoever provisioned it; nothing here touches data.

use super::Stage;
use super::actions::{Action, Draft, Rule};
use super::claims::existing;
use super::ordinals::Ordinal;
use super::reset::stale_claims;
use super::update::rollout_order;
use super::views::{ClaimView, Size};

/// Lets the claims of the next replica ask for what their templates ask for.
pub(super) fn grow(stage: &Stage<'_>, draft: &mut Draft) {
    let settled = |size: &Size| *size == Size::Settled;
    if stage.view.set.wishes.paused || stage.view.claims.iter().all(|claim| settled(&claim.size)) {
        return;
    }
    let order = rollout_order(stage);
    let has = |ordinal: &Ordinal, wanted: fn(&Size) -> bool| staying(stage, *ordinal).any(|claim| wanted(&claim.size));
    // A template that asks for still more meanwhile has all of them wait for the one that grows.
    let growing = order.iter().find(|ordinal| has(ordinal, |size| *size == Size::Growing));
    let next = || order.iter().find(|ordinal| has(ordinal, |size| *size != Size::Settled));
    let Some(ordinal) = growing.or_else(next).copied() else { return };
    for claim in staying(stage, ordinal) {
        match &claim.size {
            Size::Settled => {}
            Size::MayGrow(storage) => {
                let (target, storage) = (claim.target.clone(), storage.clone());
                draft.last.push(Action::GrowClaim { target, ordinal, storage });
            }
            Size::Growing => draft.wait(&claim.target.name, Rule::ClaimGrowing),
        }
    }
}

/// The claims of `ordinal` that stay: what is to be made anew comes in the new size.
fn staying<'a>(stage: &Stage<'a>, ordinal: Ordinal) -> impl Iterator<Item = &'a ClaimView> {
    let view = stage.view;
    let goes = move |claim: &ClaimView| claim.terminating || stale_claims(view, ordinal).any(|stale| stale == claim);
    existing(view, ordinal).filter(move |claim| !goes(claim))
}
