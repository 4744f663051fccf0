//! Making ready for a pod's replacement, because the planner of its set asks for that
//! ([`stead_api::preparation`]): first the images, then the hook, then the answer.
//!
//! What the API server shows as done stays done, so a request is worked off once. Everything else is
//! begun anew by an agent that was started meanwhile: a hook runs at least once. It runs only while the
//! pod is Ready.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use stead_api::preparation::{Answer, Outcome, PREPARED, Prefetch, Request};

use super::status::seconds;
use super::view::{Action, Failure};

/// How far one part of it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// It has not begun.
    #[default]
    Open,
    /// It goes on beside the worker.
    Running {
        /// How the try before this one failed.
        before: Option<Failure>,
    },
    /// It went well.
    Done,
    /// The last try failed.
    Failed(Failure),
}

/// How far the agent is with the request of this id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparing {
    /// Which request.
    pub id: String,
    /// The images.
    pub images: Part,
    /// The hook.
    pub hook: Part,
}

/// What comes next about a request.
#[derive(Default)]
pub(super) struct Next {
    pub(super) action: Option<Action>,
    pub(super) wake_at: Option<Timestamp>,
    /// What the API server should show.
    answer: Option<Answer>,
}

/// Decides it for a pod that is not ending; `ready` is whether it is Ready.
pub(super) fn next(pod: &Pod, seen: Option<&Preparing>, ready: bool, now: Timestamp) -> Next {
    let Some(request) = Request::of(&pod.metadata) else {
        return Next { action: seen.is_some().then_some(Action::StopPreparing), ..Next::default() };
    };
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let said = Answer::among(conditions).filter(|answer| answer.id == request.id);
    if said.as_ref().is_some_and(|said| said.outcome == Outcome::Done) {
        return Next { answer: said, ..Next::default() };
    }
    let fresh = Preparing::default();
    let seen = seen.filter(|seen| seen.id == request.id).unwrap_or(&fresh);
    let step = Step { request: &request, said, now };
    let remark = match &seen.images {
        Part::Done => "its node is ready".to_owned(),
        Part::Failed(failure) if request.prefetch != Prefetch::Required => failure.message.clone(),
        Part::Open | Part::Running { .. } | Part::Failed(_) => {
            let action = Action::FetchImages { request: Box::new(request.clone()) };
            return step.take(&seen.images, action, Outcome::NoImage);
        }
    };
    match (&request.hook, &seen.hook) {
        (None, _) | (Some(_), Part::Done) => step.say(Outcome::Done, &remark),
        (Some(_), Part::Open) if !ready => step.say(Outcome::HookWaits, "the hook waits for the pod to be Ready"),
        (Some(_), Part::Failed(failure)) if !ready => step.say(Outcome::HookFailed, &failure.message),
        (Some(_), part @ (Part::Open | Part::Running { .. } | Part::Failed(_))) => {
            let action = Action::PrepareHook { request: Box::new(request.clone()) };
            step.take(part, action, Outcome::HookFailed)
        }
    }
}

struct Step<'a> {
    request: &'a Request,
    said: Option<Answer>,
    now: Timestamp,
}

impl Step<'_> {
    fn say(&self, outcome: Outcome, message: &str) -> Next {
        let message = format!("{}: {message}", self.request.revision);
        let answer = Some(Answer { id: self.request.id.clone(), outcome, message });
        Next { answer, ..Next::default() }
    }

    /// Begins a part with `action`, or lets it go on, or waits until it is due again. What was said stays
    /// until the next try is through.
    fn take(self, part: &Part, action: Action, failed: Outcome) -> Next {
        match part {
            Part::Failed(failure) if failure.retry_at > self.now => {
                Next { wake_at: Some(failure.retry_at), ..self.say(failed, &failure.message) }
            }
            Part::Failed(failure) => Next { action: Some(action), ..self.say(failed, &failure.message) },
            Part::Running { before: Some(failure) } => self.say(failed, &failure.message),
            Part::Running { before: None } => Next { answer: self.said, ..Next::default() },
            Part::Open | Part::Done => Next { action: Some(action), answer: self.said, wake_at: None },
        }
    }
}

/// Whether the pod is Running and Ready by this status.
pub(super) fn is_ready(status: &PodStatus) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && status.phase.as_deref() == Some("Running")
}

/// Puts the answer into the status, in the place of an older one; without an answer there is none.
pub(super) fn show(status: &mut PodStatus, pod: &Pod, next: &Next, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let old = conditions.iter().position(|condition| condition.type_ == PREPARED);
    let Some(answer) = &next.answer else {
        conditions.retain(|condition| condition.type_ != PREPARED);
        return;
    };
    let (holds, reason, message) = answer.condition();
    let value = if holds { "True" } else { "False" };
    let same = old.map(|at| &conditions[at]).filter(|before| before.status == value);
    let since = same.and_then(|before| before.last_transition_time.clone());
    let condition = PodCondition {
        type_: PREPARED.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_probe_time: None,
        last_transition_time: since.or_else(|| Some(seconds(now))),
        observed_generation: pod.metadata.generation,
    };
    match old {
        Some(at) => conditions[at] = condition,
        None => conditions.insert(0, condition),
    }
}
