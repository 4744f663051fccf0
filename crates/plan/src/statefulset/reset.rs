//! Making a replica anew with its claims, because somebody asked for it ([`RESET`]): its pod ends,
//! then its claims go, then both are made again.
//!
//! What was done is written on the pods and claims that were made for a generation
//! ([`RESET_GENERATION`]), nowhere else. So whatever is interrupted goes on where it was, a generation
//! is done once, and it holds across a set that is deleted and made again over its claims. One
//! replica at a time ([`turn`]): the next one starts when the last one is available. A replica that is lost
//! before its turn comes back with the claims it has, for others may have to wait for it. A healthy one is
//! taken down only while all others are up; one that is down has nothing to lose.
//!
//! [`RESET`]: super::wishes::RESET
//! [`RESET_GENERATION`]: super::wishes::RESET_GENERATION

use jiff::Timestamp;

use super::Stage;
use super::actions::{Action, Draft, Removal, Rule};
use super::claims::existing;
use super::ordinals::{Ordinal, pod_name};
use super::update;
use super::views::{ClaimView, Management, PodView, SetView, View};
use super::wishes::RESETTING;
use crate::pods;

/// Seconds after which a replica of an ordered set that is down does not wait for those above it any more.
const PATIENCE_S: i32 = 30;

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
    /// Its old pod and its old claims are gone.
    Emptied,
    /// One of them is being deleted.
    Emptying,
    /// Its pod is gone, going or not available.
    Down,
    /// It is up.
    Asked,
}

/// The replica whose reset goes on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) ordinal: Ordinal,
    progress: Progress,
    /// Whether it comes before another one that has begun.
    overtakes: bool,
}

/// The replica whose reset it is to go on with, if there is one: that which is farthest. Of those that are up
/// it is the highest; of those that are down the lowest. Ordered sets make no replica before those below it, so
/// one that does not come up by itself overtakes those above it; that is written down, because once its pod is
/// gone it looks like one that was only lost.
pub(super) fn turn(stage: &Stage<'_>) -> Option<Turn> {
    let set = &stage.view.set;
    let asked = || set.wishes.resets.keys().copied().filter(|ordinal| set.range.contains(*ordinal));
    let open = || asked().filter_map(|ordinal| Some((progress(stage, ordinal)?, ordinal)));
    let place = |(progress, ordinal): &(Progress, Ordinal)| match progress {
        Progress::Asked => (*progress, -ordinal.0),
        Progress::Emptied | Progress::Emptying | Progress::Down => (*progress, ordinal.0),
    };
    let (farthest, first) = open().min_by_key(place)?;
    let noted = open().find(|(_, ordinal)| set.wishes.resetting == Some(*ordinal));
    let overtakes = |ordinal: Ordinal| overtakes_at(stage, ordinal).is_some_and(|at| at <= stage.now);
    // None is down below the first one unless that has begun.
    let stuck = || open().find(|(_, ordinal)| *ordinal < first && overtakes(*ordinal));
    let overtaking = noted.or_else(stuck);
    let (progress, ordinal) = overtaking.unwrap_or((farthest, first));
    Some(Turn { ordinal, progress, overtakes: overtaking.is_some() })
}

/// How far the reset of `ordinal` is; none when it is made anew and available, or was and has only lost its
/// pod's mark since.
fn progress(stage: &Stage<'_>, ordinal: Ordinal) -> Option<Progress> {
    let set = &stage.view.set;
    let available = |pod: &PodView| pod.available(set.min_ready_s, stage.now);
    let pod = stage.claimed.in_range.get(&ordinal).copied().filter(|pod| !pod.terminating);
    let (mut stale, has_claims) = (stale_claims(stage.view, ordinal), existing(stage.view, ordinal).next().is_some());
    match (stale.next(), pod) {
        (Some(_), Some(pod)) if available(pod) => Some(Progress::Asked),
        (Some(first), _) if first.terminating || stale.any(|claim| claim.terminating) => Some(Progress::Emptying),
        (Some(_), _) => Some(Progress::Down),
        (None, None) => Some(Progress::Emptied),
        (None, Some(pod)) if is_anew(set, ordinal, pod) => (!available(pod)).then_some(Progress::Emptied),
        (None, Some(_)) if has_claims => None,
        (None, Some(pod)) if available(pod) => Some(Progress::Asked),
        (None, Some(_)) => Some(Progress::Down),
    }
}

/// When a replica that is down, and is to be made anew, does not come up by itself any more.
fn overtakes_at(stage: &Stage<'_>, ordinal: Ordinal) -> Option<Timestamp> {
    let ordered = stage.view.set.management == Management::OrderedReady;
    let pod = stage.claimed.in_range.get(&ordinal).filter(|pod| ordered && !pod.terminating)?;
    let is_down = progress(stage, ordinal) == Some(Progress::Down);
    is_down.then(|| pod.since.map_or(stage.now, |since| pods::later(since, PATIENCE_S)))
}

fn is_anew(set: &SetView, ordinal: Ordinal, pod: &PodView) -> bool {
    pod.reset.as_ref() == generation(set, ordinal)
}

/// Takes the next step of the reset whose turn it is.
pub(super) fn advance(stage: &Stage<'_>, draft: &mut Draft) {
    remember(stage, draft);
    let Some(Turn { ordinal, progress, .. }) = stage.resetting else { return };
    let later = stage.view.set.wishes.resets.keys().filter_map(|other| overtakes_at(stage, *other));
    later.filter(|at| *at > stage.now).for_each(|at| draft.wake(at));
    let stale = || stale_claims(stage.view, ordinal);
    match stage.claimed.in_range.get(&ordinal) {
        Some(pod) if pod.terminating => draft.wait_for(pod, Rule::Terminating),
        Some(pod) if is_anew(&stage.view.set, ordinal, pod) && stale().next().is_none() => {
            draft.wait_for(pod, Rule::Resetting);
        }
        Some(pod) if draft.is_doomed(&pod.target) => {}
        Some(pod) => {
            if progress != Progress::Asked || do_all_others_stand(stage, ordinal, draft) {
                draft.delete(pod, ordinal, Removal::Reset);
            }
        }
        None if stage.claimed.taken.contains(&ordinal) => {}
        None => {
            for claim in stale().filter(|claim| !claim.terminating) {
                draft.pods.push(Action::DeleteClaim { target: claim.target.clone(), ordinal });
            }
            draft.wait(&pod_name(&stage.view.set.name, ordinal), Rule::Resetting);
        }
    }
}

/// Writes down which replica overtakes others, as long as it does.
fn remember(stage: &Stage<'_>, draft: &mut Draft) {
    let wanted = stage.resetting.filter(|turn| turn.overtakes).map(|turn| turn.ordinal);
    if wanted != stage.view.set.wishes.resetting {
        let value = wanted.map(|ordinal| ordinal.to_string());
        draft.bookkeeping.push(Action::Remember { key: RESETTING, value });
    }
}

/// The replica that is being made anew, or is taken down for that now.
pub(super) fn in_work(stage: &Stage<'_>, draft: &Draft) -> Option<Ordinal> {
    let Turn { ordinal, progress, .. } = stage.resetting?;
    let pod = stage.claimed.in_range.get(&ordinal);
    let begun = progress != Progress::Asked || pod.is_some_and(|pod| draft.is_doomed(&pod.target));
    (begun && !stage.claimed.taken.contains(&ordinal)).then_some(ordinal)
}

/// Whether a healthy replica may be taken down. What is missing says itself why.
fn do_all_others_stand(stage: &Stage<'_>, ordinal: Ordinal, draft: &mut Draft) -> bool {
    for other in stage.view.set.range.ascending().filter(|other| *other != ordinal) {
        let Some(pod) = stage.claimed.in_range.get(&other) else { return false };
        if let Some((rule, at)) = update::unfit(stage, pod, draft) {
            draft.wait_for(pod, rule);
            at.into_iter().for_each(|at| draft.wake(at));
            return false;
        }
    }
    true
}
