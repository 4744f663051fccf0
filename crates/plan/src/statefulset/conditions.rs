//! What a set says about itself: the conditions Progressing, Available and Blocked, and, where there is
//! something to say, ClaimsMatch and AnnotationsValid. Conditions of others are carried along untouched
//! (U24). The times and the events that go with a change are decided here too.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSetCondition, StatefulSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Stage;
use super::actions::{Draft, Wait};
use super::claims::existing;
use super::events::{self, Note};
use super::progress::{self, Progress};
use super::revisions::RevisionName;
use super::views::{ClaimView, Size, Strategy};
use crate::pods;

/// Seconds that a pod or claim may stay as it is before the set counts as blocked by it: starting and
/// ending take a while, and a condition that comes and goes with every replica says nothing.
const PATIENCE_S: i32 = 30;
/// Claims that the condition ClaimsMatch names.
const CLAIMS_NAMED_MAX: usize = 3;
/// Reason of ClaimsMatch while a claim is not what a new one would be.
const CLAIMS_DIFFER: &str = "ClaimsDiffer";

/// The conditions of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the last change of the set is being carried out or has been.
    Progressing,
    /// Whether as many replicas are available as must be while an update goes on.
    Available,
    /// Whether something has to change from outside before the set can go on.
    Blocked,
    /// Whether the claims are what their templates say; shown once one was not (S8).
    ClaimsMatch,
    /// Whether all annotations could be read; shown once one could not.
    AnnotationsValid,
}

impl Kind {
    /// Whether the condition appears only once it was False.
    pub(super) fn is_shown_once_false(self) -> bool {
        match self {
            Self::ClaimsMatch | Self::AnnotationsValid => true,
            Self::Progressing | Self::Available | Self::Blocked => false,
        }
    }
}

/// All of them.
const KINDS: [Kind; 5] = [Kind::Progressing, Kind::Available, Kind::Blocked, Kind::ClaimsMatch, Kind::AnnotationsValid];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be said now.
    Unknown,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A condition as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which one.
    pub kind: Kind,
    /// Whether it holds.
    pub status: Truth,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// Since when; none is since it last changed its status.
    pub since: Option<Timestamp>,
}

/// What the stored status says of the last rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoredProgress {
    /// `status.updateRevision`
    pub update_revision: Option<RevisionName>,
    /// `status.observedGeneration`
    pub observed_generation: i64,
    /// Reason of the condition Progressing.
    pub reason: Option<String>,
    /// Since when it is that way.
    pub since: Option<Timestamp>,
}

impl StoredProgress {
    pub(super) fn of(status: Option<&StatefulSetStatus>) -> Self {
        let condition = status.and_then(|status| stored(status, Kind::Progressing));
        let revision = status.and_then(|status| status.update_revision.clone());
        Self {
            update_revision: revision.filter(|name| !name.is_empty()).map(RevisionName),
            observed_generation: status.and_then(|status| status.observed_generation).unwrap_or(0),
            reason: condition.and_then(|condition| condition.reason.clone()),
            since: condition.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0),
        }
    }
}

/// The conditions of the set as the plan finds it.
pub(super) fn all(stage: &Stage<'_>, progress: &Progress, draft: &mut Draft) -> Vec<Condition> {
    vec![
        progress::condition(stage, progress, draft),
        available(stage),
        blocked(stage, draft),
        claims_match(stage),
        annotations_valid(stage),
    ]
}

fn available(stage: &Stage<'_>) -> Condition {
    let set = &stage.view.set;
    let available = stage
        .claimed
        .in_range
        .values()
        .filter(|pod| !pod.terminating && pod.available(set.min_ready_s, stage.now))
        .count();
    let spared = match set.strategy {
        Strategy::RollingUpdate { unavailable_max: Some(budget), .. } => budget,
        Strategy::RollingUpdate { unavailable_max: None, .. } | Strategy::OnDelete | Strategy::Recreate => 1,
    };
    let needed = if set.range.replicas == 0 { 0 } else { (set.range.replicas - spared).max(1) };
    let enough = i32::try_from(available).is_ok_and(|available| available >= needed);
    let (status, reason) = if enough { (Truth::True, "EnoughReplicas") } else { (Truth::False, "TooFewReplicas") };
    let message = format!("{available} of {} replicas are available", set.range.replicas);
    Condition { kind: Kind::Available, status, reason, message, since: None }
}

fn blocked(stage: &Stage<'_>, draft: &mut Draft) -> Condition {
    let until = |wait: &Wait| wait.since.map(|since| pods::later(since, PATIENCE_S)).filter(|at| *at > stage.now);
    let stopping = || draft.waits.iter().filter(|wait| !wait.rule.is_passing());
    let blocking = stopping().find(|wait| until(wait).is_none());
    let condition = match blocking {
        Some(wait) => (Truth::True, wait.rule.reason(), wait.to_string()),
        None => (Truth::False, "NothingBlocks", String::new()),
    };
    if let (None, Some(at)) = (blocking, stopping().filter_map(until).min()) {
        draft.wake(at);
    }
    let (status, reason, message) = condition;
    Condition { kind: Kind::Blocked, status, reason, message, since: None }
}

fn claims_match(stage: &Stage<'_>) -> Condition {
    let (mut differing, mut growing) = (Vec::new(), Vec::new());
    let is_odd = |claim: &ClaimView| claim.size != Size::Settled || !claim.differences.is_empty();
    let any_odd = stage.view.claims.iter().any(is_odd);
    for ordinal in stage.view.set.range.ascending().take_while(|_| any_odd) {
        for claim in existing(stage.view, ordinal) {
            let name = &claim.target.name;
            differing.extend(claim.differences.iter().map(|difference| format!("{name}: {difference}")));
            match &claim.size {
                Size::Settled => {}
                Size::MayGrow(storage) => growing.push(format!("{name}: it is to grow to {storage}")),
                Size::Growing => growing.push(format!("{name}: it is growing")),
            }
        }
    }
    let (status, reason) = match (differing.is_empty(), growing.is_empty()) {
        (true, true) => (Truth::True, "ClaimsMatch"),
        (true, false) => (Truth::False, "ClaimsGrowing"),
        (false, _) => (Truth::False, CLAIMS_DIFFER),
    };
    differing.extend(growing);
    let more = differing.len().saturating_sub(CLAIMS_NAMED_MAX);
    differing.truncate(CLAIMS_NAMED_MAX);
    if more > 0 {
        differing.push(format!("and {more} more"));
    }
    Condition { kind: Kind::ClaimsMatch, status, reason, message: differing.join("; "), since: None }
}

fn annotations_valid(stage: &Stage<'_>) -> Condition {
    let problems = &stage.view.set.wishes.problems;
    let (status, reason) =
        if problems.is_empty() { (Truth::True, "AllRead") } else { (Truth::False, "InvalidAnnotation") };
    Condition { kind: Kind::AnnotationsValid, status, reason, message: problems.join("; "), since: None }
}

/// Puts `conditions` beside those of others into the status, which holds the stored ones, and tells of
/// what changed.
pub(super) fn merge(status: &mut StatefulSetStatus, conditions: &[Condition], now: Timestamp) -> Vec<Note> {
    let mut notes = Vec::new();
    let rollout = conditions.iter().find(|condition| condition.kind == Kind::Progressing);
    let rolling = rollout.is_some_and(|condition| condition.reason == progress::ROLLING);
    for condition in conditions {
        let before = stored(status, condition.kind);
        if condition.kind.is_shown_once_false() && condition.status == Truth::True && before.is_none() {
            continue;
        }
        notes.extend(told(before, condition, rolling));
        let same = before.filter(|before| before.status == condition.status.to_string());
        let kept = same.and_then(|before| before.last_transition_time.as_ref()).map(|time| time.0);
        put(status, condition, condition.since.or(kept).unwrap_or(now));
    }
    notes
}

/// `planned` as it is to be written over `stored`, which may be newer than what was planned on: the
/// conditions of others are those of `stored`.
pub fn onto(stored: Option<&StatefulSetStatus>, planned: &StatefulSetStatus) -> StatefulSetStatus {
    let is_ours = |condition: &StatefulSetCondition| KINDS.iter().any(|kind| kind.to_string() == condition.type_);
    let mut conditions = stored.and_then(|status| status.conditions.clone()).unwrap_or_default();
    for condition in planned.conditions.iter().flatten().filter(|condition| is_ours(condition)) {
        match conditions.iter_mut().find(|stored| stored.type_ == condition.type_) {
            Some(stored) => stored.clone_from(condition),
            None => conditions.push(condition.clone()),
        }
    }
    let conditions = Some(conditions).filter(|conditions| !conditions.is_empty());
    StatefulSetStatus { conditions, ..planned.clone() }
}

/// The event that goes with a change of a condition, if it is one that people should hear of.
fn told(before: Option<&StatefulSetCondition>, after: &Condition, rolling: bool) -> Option<Note> {
    let was = |truth: Truth| before.is_some_and(|before| before.status == truth.to_string());
    let turned = !was(after.status);
    let rereasoned = before.and_then(|before| before.reason.as_deref()) != Some(after.reason);
    let reworded = before.and_then(|before| before.message.as_ref()) != Some(&after.message);
    match (after.kind, after.status) {
        (Kind::Blocked, Truth::True) if rolling && turned => Some(events::rollout_waits(&after.message)),
        (Kind::Blocked, Truth::False) if rolling && was(Truth::True) => Some(events::rollout_goes_on()),
        (Kind::Progressing, Truth::False) if turned => Some(events::warning(after.reason, &after.message)),
        (Kind::ClaimsMatch, Truth::False) if after.reason == CLAIMS_DIFFER && rereasoned => {
            Some(events::warning(after.reason, &after.message))
        }
        (Kind::AnnotationsValid, Truth::False) if turned || reworded => {
            Some(events::warning(after.reason, &after.message))
        }
        (
            Kind::Progressing | Kind::Available | Kind::Blocked | Kind::ClaimsMatch | Kind::AnnotationsValid,
            Truth::True | Truth::False | Truth::Unknown,
        ) => None,
    }
}

fn stored(status: &StatefulSetStatus, kind: Kind) -> Option<&StatefulSetCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind.to_string())
}

fn put(status: &mut StatefulSetStatus, condition: &Condition, since: Timestamp) {
    let written = StatefulSetCondition {
        type_: condition.kind.to_string(),
        status: condition.status.to_string(),
        reason: Some(condition.reason.to_owned()),
        message: Some(condition.message.clone()).filter(|message| !message.is_empty()),
        last_transition_time: Some(Time(since)),
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|stored| stored.type_ == written.type_) {
        Some(stored) => *stored = written,
        None => conditions.push(written),
    }
}
