//! Making a replica anew with its claims, because somebody asked for it ([`RESET`]): its pod ends,
//! then its claims go, then both are made again.
//!
//! What was done is written on the pods and claims that were made for a generation
//! ([`RESET_GENERATION`]), nowhere else. So whatever is interrupted goes on where it was, a generation
//! is done once, and it holds across a set that is deleted and made again over its claims. One
//! replica at a time ([`turn`]): the next one starts when the last one is available. A replica that is lost
//! before its turn comes back with the claims it has, for others may have to wait for it.
//!
//! [`RESET`]: super::wishes::RESET
//! [`RESET_GENERATION`]: super::wishes::RESET_GENERATION

use super::Stage;
use super::actions::{Action, Draft, Removal, Rule};
use super::claims::existing;
use super::ordinals::{Ordinal, pod_name};
use super::views::{ClaimView, PodView, SetView, View};

/// The generation that a replica of `ordinal` has to be made for, if a reset was asked for.
pub(super) fn generation(set: &SetView, ordinal: Ordinal) -> Option<&String> {
    set.wishes.resets.get(&ordinal)
}

/// The claims of `ordinal` that have to go because they are not of the generation asked for.
pub(super) fn stale_claims(view: &View, ordinal: Ordinal) -> impl Iterator<Item = &ClaimView> {
    let wanted = generation(&view.set, ordinal);
    existing(view, ordinal).filter(move |claim| wanted.is_some() && claim.reset.as_ref() != wanted)
}

/// How far the reset of a replica is, the farthest first: what has begun is finished first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Its old claims are gone.
    Emptied,
    /// One of them is being deleted.
    Emptying,
    /// Its pod is gone, going or not available.
    Down,
    /// It is up.
    Asked,
}

/// The replica whose reset it is to go on with, if there is one: that which is farthest. Of those that are up
/// it is the highest; of those that are down the lowest, because ordered sets make the others only after it.
pub(super) fn turn(stage: &Stage<'_>) -> Option<Ordinal> {
    let set = &stage.view.set;
    let wanted = set.wishes.resets.keys().copied().filter(|ordinal| set.range.contains(*ordinal));
    let place = |ordinal: Ordinal| match progress(stage, ordinal)? {
        Progress::Asked => Some((Progress::Asked, -ordinal.0, ordinal)),
        begun => Some((begun, ordinal.0, ordinal)),
    };
    wanted.filter_map(place).min().map(|(.., ordinal)| ordinal)
}

/// How far the reset of `ordinal` is; none when it is made anew and available.
fn progress(stage: &Stage<'_>, ordinal: Ordinal) -> Option<Progress> {
    let set = &stage.view.set;
    let pod = stage.claimed.in_range.get(&ordinal).filter(|pod| !pod.terminating);
    let stale = || stale_claims(stage.view, ordinal);
    let available = |pod: &&PodView| pod.available(set.min_ready_s, stage.now);
    let anew = |pod: &&&PodView| pod.reset.as_ref() == generation(set, ordinal);
    if stale().next().is_none() {
        let done = pod.filter(anew).is_some_and(available);
        return (!done).then_some(Progress::Emptied);
    }
    Some(match pod {
        _ if stale().any(|claim| claim.terminating) => Progress::Emptying,
        Some(pod) if available(pod) => Progress::Asked,
        Some(_) | None => Progress::Down,
    })
}

/// Takes the next step of the reset whose turn it is.
pub(super) fn advance(stage: &Stage<'_>, draft: &mut Draft) {
    let Some(ordinal) = turn(stage) else { return };
    let stale = || stale_claims(stage.view, ordinal);
    match stage.claimed.in_range.get(&ordinal) {
        Some(pod) if pod.terminating => draft.wait_for(pod, Rule::Terminating),
        Some(pod) if pod.reset.as_ref() == generation(&stage.view.set, ordinal) && stale().next().is_none() => {
            draft.wait_for(pod, Rule::Resetting);
        }
        Some(pod) if draft.is_doomed(&pod.target) => {}
        Some(pod) => draft.delete(pod, ordinal, Removal::Reset),
        None if stage.claimed.taken.contains(&ordinal) => {}
        None => {
            for claim in stale().filter(|claim| !claim.terminating) {
                draft.pods.push(Action::DeleteClaim { target: claim.target.clone(), ordinal });
            }
            draft.wait(&pod_name(&stage.view.set.name, ordinal), Rule::Resetting);
        }
    }
}
