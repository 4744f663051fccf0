//! How the node of a pod is asked to make ready for the pod's replacement, and how it answers: the
//! request is an annotation of the pod, the answer a condition in its status. A node that can be asked
//! says so on its own object. `docs/decisions/0006-ready-before-replaced.md` tells why.

use std::hash::{Hash, Hasher};

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};

/// Annotation of a node that answers requests: `true`.
pub const PREPARES: &str = "stead.dev/prepares";
/// Annotation of a pod: the [`Request`] to its node, in JSON.
pub const PREPARE: &str = "stead.dev/prepare";
/// Type of the condition of a pod that holds the [`Answer`] of its node.
pub const PREPARED: &str = "stead.dev/Prepared";

/// Seconds that a hook is given where it does not say.
const HOOK_TIMEOUT_S: u32 = 30;

/// Whether a node gets the new images before the old pod goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Prefetch {
    /// It does, and where that fails the pod goes all the same.
    #[default]
    IfPossible,
    /// The pod stays until they are there.
    Required,
    /// It does not.
    Off,
}

/// What runs in a pod before it is replaced: a lifecycle handler, in one of the pod's containers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// The container; none is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Seconds it may take.
    #[serde(default = "hook_timeout_s")]
    pub timeout_seconds: u32,
    /// A command in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// A request to the pod; success is what a probe takes for it, so that the pod can say no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HTTPGetAction>,
}

// Nothing in a hook is unequal to itself.
impl Eq for Hook {}

impl Hash for Hook {
    fn hash<H: Hasher>(&self, state: &mut H) {
        serde_json::to_string(self).unwrap_or_default().hash(state);
    }
}

fn hook_timeout_s() -> u32 {
    HOOK_TIMEOUT_S
}

/// An image that the replacement starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedImage {
    /// As the template names it.
    pub image: String,
    /// `imagePullPolicy`, as the replacement's container will have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<String>,
}

/// What a node is asked to do before the pod goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Tells requests to one pod apart: an answer names the one it answers.
    pub id: String,
    /// When it was asked.
    pub asked_at: Time,
    /// The revision that the replacement will be at.
    pub revision: String,
    /// Whether the images have to be there.
    #[serde(default)]
    pub prefetch: Prefetch,
    /// The images to get, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<WantedImage>,
    /// Secrets with credentials for them, beside those of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// What to run once the images are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
}

impl Request {
    /// The request on a pod, if there is one that can be read.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        serde_json::from_str(meta.annotations.as_ref()?.get(PREPARE)?).ok()
    }

    /// The annotation's value.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything is done that could be.
    Done,
    /// An image is missing that has to be there.
    NoImage,
    /// The images are there; the hook runs when the pod is Ready.
    HookWaits,
    /// The images are there; the hook failed.
    HookFailed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Done, Self::NoImage, Self::HookWaits, Self::HookFailed];

    /// The reason of the condition.
    fn reason(self) -> &'static str {
        match self {
            Self::Done => "Prepared",
            Self::NoImage => "ImageMissing",
            Self::HookWaits => "PodNotReady",
            Self::HookFailed => "HookFailed",
        }
    }
}

/// What a node says about a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The request that it answers.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// More, for people.
    pub message: String,
}

impl Answer {
    /// The answer among the conditions of a pod.
    pub fn among(conditions: &[PodCondition]) -> Option<Self> {
        let condition = conditions.iter().find(|condition| condition.type_ == PREPARED)?;
        let outcome = Outcome::ALL.into_iter().find(|outcome| condition.reason.as_deref() == Some(outcome.reason()))?;
        let (id, message) = condition.message.as_deref()?.strip_prefix("request ")?.split_once(": ")?;
        Some(Self { id: id.to_owned(), outcome, message: message.to_owned() })
    }

    /// Status, reason and message of the condition. The message names the request first.
    pub fn condition(&self) -> (bool, &'static str, String) {
        (self.outcome == Outcome::Done, self.outcome.reason(), format!("request {}: {}", self.id, self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_back_as_it_was_given() {
        for outcome in Outcome::ALL {
            let answer = Answer { id: "17".to_owned(), outcome, message: "web-b: all: done".to_owned() };
            let (holds, reason, message) = answer.condition();
            let condition = PodCondition {
                type_: PREPARED.to_owned(),
                status: if holds { "True" } else { "False" }.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                ..PodCondition::default()
            };
            assert_eq!(Answer::among(&[condition]), Some(answer));
        }
        let foreign = PodCondition { type_: PREPARED.to_owned(), status: "True".to_owned(), ..PodCondition::default() };
        assert_eq!(Answer::among(&[foreign]), None, "who does not say what he answers has not answered");
    }
}
