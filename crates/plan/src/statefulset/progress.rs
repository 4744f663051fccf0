//! How far a rollout is: complete, under way, paused, or failed because the new revision did not become
//! available in time ([`PROGRESS_DEADLINE`]). A failed one is taken back when the set asks for it
//! ([`AUTO_ROLLBACK`]): the template it came from returns to the set, where whoever wrote the other one
//! sees it. A revision is taken back once; when somebody brings it again, it stays.
//!
//! It is taken back only where that is likely to help: the former revision has to have worked, and the new one
//! must not have been rolled out as far as this before. What lets a finished canary or a set that is scaled miss
//! its deadline is not the template. Pods that are gone cannot be asked about either, so it is written down on
//! the set how far the last rollout came ([`ROLLED_OUT`]).
//!
//! The clock starts with the rollout and anew with every replica of the new revision that becomes
//! available. It is read off the stored condition and the pods, so it survives every restart. Once
//! complete, a rollout does not fail any more: what breaks later is Blocked and not Available.
//!
//! [`PROGRESS_DEADLINE`]: super::wishes::PROGRESS_DEADLINE
//! [`AUTO_ROLLBACK`]: super::wishes::AUTO_ROLLBACK
//! [`ROLLED_OUT`]: super::wishes::ROLLED_OUT

use jiff::Timestamp;
use stead_api::annotations::write_rolled_out;

use super::Stage;
use super::actions::{Action, Draft};
use super::conditions::{Condition, Kind, Truth};
use super::ordinals::Ordinal;
use super::revisions::RevisionName;
use super::update::{is_in_place, is_outdated, next_in_place};
use super::views::{PodView, Strategy};
use super::wishes::ROLLED_OUT;
use crate::pods;

/// Reason of Progressing while a rollout is under way.
pub(super) const ROLLING: &str = "RollingOut";
const COMPLETE: &str = "RolloutComplete";
const PAUSED: &str = "Paused";
const FAILED: &str = "ProgressDeadlineExceeded";

/// How far the rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is to be rolled out.
    Complete,
    /// Nothing is rolled out, because somebody said so.
    Paused,
    /// Under way, since then; it fails at `fails_at`.
    Rolling { since: Timestamp, fails_at: Option<Timestamp> },
    /// No progress in time.
    Failed,
}

/// Judges the rollout.
pub(super) fn assess(stage: &Stage<'_>) -> Progress {
    let set = &stage.view.set;
    let stored = &set.progress;
    let same_rollout =
        stored.update_revision.as_ref() == Some(&stage.resolved.update) && stored.observed_generation == set.generation;
    let was = |reason: &str| same_rollout && stored.reason.as_deref() == Some(reason);
    if set.wishes.paused {
        return Progress::Paused;
    }
    if was(COMPLETE) || set.range.ascending().all(|ordinal| is_done(stage, ordinal)) {
        return Progress::Complete;
    }
    let last_step = last_step(stage);
    let before = stored.since.unwrap_or(stage.now);
    if was(FAILED) && set.wishes.deadline_s.is_some() && last_step.is_none_or(|at| at <= before) {
        return Progress::Failed;
    }
    let since = if was(ROLLING) { before } else { stage.now };
    let limit_s = set.wishes.deadline_s.filter(|_| set.strategy != Strategy::OnDelete);
    let fails_at = limit_s.map(|limit_s| pods::later(last_step.map_or(since, |at| at.max(since)), limit_s));
    match fails_at {
        Some(at) if at <= stage.now => Progress::Failed,
        Some(_) | None => Progress::Rolling { since, fails_at },
    }
}

/// When the last replica of the new revision became available.
fn last_step(stage: &Stage<'_>) -> Option<Timestamp> {
    let updated = stage.claimed.in_range.values().filter(|pod| stage.resolved.is_update(pod));
    let available = updated.filter_map(|pod| pod.available_at(stage.view.set.min_ready_s));
    available.filter(|at| *at <= stage.now).max()
}

/// Whether the rollout has nothing more to do about this ordinal.
fn is_done(stage: &Stage<'_>, ordinal: Ordinal) -> bool {
    let Some(pod) = stage.claimed.in_range.get(&ordinal) else { return false };
    match stage.view.set.strategy {
        Strategy::OnDelete => !pod.terminating && pod.available(stage.view.set.min_ready_s, stage.now),
        Strategy::Recreate => stage.resolved.is_update(pod) && stands(stage, pod),
        Strategy::RollingUpdate { partition, .. } => {
            let partition = partition.unwrap_or(0);
            let held_back = ordinal < stage.view.set.range.partition_end(partition);
            !is_outdated(stage, ordinal, pod, partition) && (held_back || stands(stage, pod))
        }
    }
}

/// Whether the replica is up. While there is a way back, it also has to be trusted.
fn stands(stage: &Stage<'_>, pod: &PodView) -> bool {
    let way_back = stage.resolved.current != stage.resolved.update;
    !pod.terminating && pod.available(stage.view.set.min_ready_s, stage.now) && (!way_back || is_in_place(stage, pod))
}

/// Writes down how far rollouts came, where failed ones are taken back.
pub(super) fn remember(stage: &Stage<'_>, progress: &Progress, draft: &mut Draft) {
    let wishes = &stage.view.set.wishes;
    let wanted = if wishes.auto_rollback { rolled_out(stage, progress) } else { None };
    if wanted != wishes.rolled_out {
        let value = wanted.map(|(revision, partition)| write_rolled_out(&revision.0, partition));
        draft.bookkeeping.push(Action::Remember { key: ROLLED_OUT, value });
    }
}

/// The last revision that was rolled out, and the partition; where none is known, the former one as soon as a
/// replica of it has stood.
fn rolled_out(stage: &Stage<'_>, progress: &Progress) -> Option<(RevisionName, i32)> {
    let (current, update) = (&stage.resolved.current, &stage.resolved.update);
    // OnDelete is complete before anybody has run the new template.
    let counts = current == update || stage.view.set.strategy != Strategy::OnDelete;
    if *progress == Progress::Complete && counts {
        return Some((update.clone(), if current == update { 0 } else { partition(stage) }));
    }
    let known = stage.view.set.wishes.rolled_out.clone();
    known.or_else(|| stood(stage).then(|| (current.clone(), 0)))
}

/// Whether a replica of the former revision has stood.
fn stood(stage: &Stage<'_>) -> bool {
    stage.claimed.all().any(|pod| stage.resolved.is_current(pod) && pod.ever_stood)
}

fn partition(stage: &Stage<'_>) -> i32 {
    match stage.view.set.strategy {
        Strategy::RollingUpdate { partition, .. } => partition.unwrap_or(0),
        Strategy::OnDelete | Strategy::Recreate => 0,
    }
}

/// Puts the former template back, if the rollout has failed and the set asks for it.
pub(super) fn roll_back(stage: &Stage<'_>, progress: &Progress, draft: &mut Draft) {
    let (current, update) = (&stage.resolved.current, &stage.resolved.update);
    let asked = stage.view.set.wishes.auto_rollback && current != update;
    if *progress == Progress::Failed && asked && reason_to_stay(stage).is_none() {
        draft.last.push(Action::RollBack { to: current.clone(), from: update.clone() });
    }
}

/// Why the new revision stays, though its rollout has failed and there is a former one.
fn reason_to_stay(stage: &Stage<'_>) -> Option<String> {
    let (current, update) = (&stage.resolved.current, &stage.resolved.update);
    let wishes = &stage.view.set.wishes;
    if wishes.rolled_back.contains(update) {
        return Some("it was rolled back before and is not a second time".to_owned());
    }
    if current == update {
        return None;
    }
    match &wishes.rolled_out {
        Some((revision, held)) if revision == update && *held <= partition(stage) => {
            Some("it is not rolled back, for it was rolled out before".to_owned())
        }
        None if !stood(stage) => {
            Some(format!("it is not rolled back, for revision {current} is not known to have worked"))
        }
        Some(_) | None => None,
    }
}

pub(super) fn condition(stage: &Stage<'_>, progress: &Progress, draft: &mut Draft) -> Condition {
    let set = &stage.view.set;
    let update = &stage.resolved.update;
    let updated = stage.claimed.in_range.values();
    let updated = updated.filter(|pod| stage.resolved.is_update(pod) && stands(stage, pod)).count();
    let mut message = format!("{updated} of {} replicas are at revision {update} and available", set.range.replicas);
    if set.strategy == Strategy::OnDelete && stage.resolved.current != *update {
        message.push_str("; the others come to it when somebody deletes them");
    }
    if let Some(back) = set.wishes.rolled_back.iter().rfind(|back| *back != update) {
        message.push_str(&format!("; revision {back} was rolled back"));
    }
    let (status, reason, since) = match progress {
        Progress::Complete => (Truth::True, COMPLETE, None),
        Progress::Paused => (Truth::Unknown, PAUSED, None),
        Progress::Rolling { since, fails_at } => {
            fails_at.iter().copied().chain(next_in_place(stage)).for_each(|at| draft.wake(at));
            (Truth::True, ROLLING, Some(*since))
        }
        Progress::Failed => {
            let limit_s = set.wishes.deadline_s.unwrap_or(0);
            message.push_str(&format!("; no replica became available for {limit_s} s"));
            if let Some(wait) = draft.waits.first() {
                message.push_str(&format!(": {wait}"));
            }
            if let Some(reason) = reason_to_stay(stage).filter(|_| set.wishes.auto_rollback) {
                message.push_str(&format!("; {reason}"));
            }
            (Truth::False, FAILED, None)
        }
    };
    Condition { kind: Kind::Progressing, status, reason, message, since }
}
