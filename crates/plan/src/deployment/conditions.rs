//! The conditions of a Deployment: Available, Progressing and ReplicaFailure (contract 1.22–1.25).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Note;
use crate::pods::later;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const COMPLETE: &str = "NewReplicaSetAvailable";
const STUCK: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const CREATE_ERROR: &str = "ReplicaSetCreateError";

/// A list of conditions being brought up to date at one instant.
pub(super) struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    pub(super) fn new(list: Vec<DeploymentCondition>, now: Timestamp) -> Self {
        Self { list, now }
    }

    pub(super) fn into_wire(self) -> Option<Vec<DeploymentCondition>> {
        Some(self.list).filter(|list| !list.is_empty())
    }

    pub(super) fn note_pausing(&mut self, paused: bool) {
        let known = self.reason(PROGRESSING).map(str::to_owned);
        match (paused, known.as_deref()) {
            (_, Some(STUCK)) | (true, Some(PAUSED)) => {}
            (true, _) => self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused"),
            (false, Some(PAUSED)) => {
                self.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed");
            }
            (false, _) => {}
        }
    }

    pub(super) fn note_availability(&mut self, available: bool) {
        if available {
            let message = "Deployment has minimum availability.";
            self.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
        }
    }

    pub(super) fn note_failure(&mut self, failure: Option<(String, String)>) {
        match failure {
            Some((reason, message)) => self.set(REPLICA_FAILURE, "True", &reason, &message),
            None => self.list.retain(|condition| condition.type_ != REPLICA_FAILURE),
        }
    }

    pub(super) fn created(&mut self, set: &str) {
        self.set(PROGRESSING, "True", "NewReplicaSetCreated", &format!("Created new replica set \"{set}\""));
    }

    /// The new set was there before anything was said about progress.
    pub(super) fn found(&mut self, set: &str) {
        if self.get(PROGRESSING).is_none() {
            self.set(PROGRESSING, "True", "FoundNewReplicaSet", &format!("Found new replica set \"{set}\""));
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.reason(PROGRESSING) == Some(COMPLETE)
    }

    pub(super) fn complete(&mut self, subject: &str) {
        self.set(PROGRESSING, "True", COMPLETE, &format!("{subject} has successfully progressed."));
    }

    /// Every bit of progress restarts the clock.
    pub(super) fn progress(&mut self, subject: &str) {
        let message = format!("{subject} is progressing.");
        let since = self.get(PROGRESSING).filter(|condition| condition.status == "True");
        let since = since.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(self.now));
        self.forget_progress();
        self.set(PROGRESSING, "True", "ReplicaSetUpdated", &message);
        if let Some(condition) = self.list.iter_mut().find(|condition| condition.type_ == PROGRESSING) {
            condition.last_transition_time = Some(since);
        }
    }

    pub(super) fn forget_progress(&mut self) {
        self.list.retain(|condition| condition.type_ != PROGRESSING);
    }

    /// Calls the rollout stuck when nothing has progressed for `deadline_s` seconds; otherwise gives when
    /// to look again.
    pub(super) fn check_deadline(&mut self, subject: &str, deadline_s: i32) -> Option<Timestamp> {
        let deadline = self.deadline(deadline_s)?;
        if deadline < self.now {
            self.set(PROGRESSING, "False", STUCK, &format!("{subject} has timed out progressing."));
            return None;
        }
        self.next_deadline(deadline_s)
    }

    /// One second after the deadline (1.24).
    pub(super) fn next_deadline(&self, deadline_s: i32) -> Option<Timestamp> {
        self.deadline(deadline_s)?.checked_add(SignedDuration::from_secs(1)).ok()
    }

    fn deadline(&self, deadline_s: i32) -> Option<Timestamp> {
        let condition = self.get(PROGRESSING)?;
        if matches!(condition.reason.as_deref(), Some(COMPLETE | STUCK)) {
            return None;
        }
        Some(later(condition.last_update_time.as_ref()?.0, deadline_s))
    }

    fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_ == type_)
    }

    fn reason(&self, type_: &str) -> Option<&str> {
        self.get(type_)?.reason.as_deref()
    }

    /// The same status and reason never rewrite a message; the same status keeps its transition time.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let before = self.get(type_);
        if before.is_some_and(|before| before.status == status && before.reason.as_deref() == Some(reason)) {
            return;
        }
        let since = before.filter(|before| before.status == status);
        let since = since.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(self.now));
        self.list.retain(|condition| condition.type_ != type_);
        self.list.push(DeploymentCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_update_time: Some(Time(self.now)),
            last_transition_time: Some(since),
        });
    }
}

/// What `status` becomes, and what to tell, when the set called `set` could not be made (1.5).
pub fn creation_failed(status: &mut DeploymentStatus, set: &str, error: &str, now: Timestamp) -> Note {
    let message = format!("Failed to create new replica set \"{set}\": {error}");
    let mut conditions = Conditions::new(status.conditions.take().unwrap_or_default(), now);
    conditions.set(PROGRESSING, "False", CREATE_ERROR, &message);
    status.conditions = conditions.into_wire();
    Note { warning: true, reason: CREATE_ERROR, message }
}
