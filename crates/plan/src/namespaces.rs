//! The life of a namespace: what every live one holds, and how a terminating one is emptied and
//! finalized (contract 7B, 7C).
//!
//! Pure. Whether something is left in a namespace is never assumed here: it comes in as a [`Survey`]
//! made after the deletions were asked for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, NamespaceCondition, NamespaceStatus, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// The token in `spec.finalizers` that this controller holds.
pub const FINALIZER: &str = "kubernetes";
/// The ServiceAccount of every namespace.
pub const DEFAULT_SERVICE_ACCOUNT: &str = "default";
/// The ConfigMap of every namespace.
pub const ROOT_CA_CONFIG_MAP: &str = "kube-root-ca.crt";
const ROOT_CA_KEY: &str = "ca.crt";
const DESCRIPTION_ANNOTATION: &str = "kubernetes.io/description";
const DESCRIPTION: &str = "The certificate authority of the API server, as pods of this cluster reach it.";

/// What is left of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// `<resource>.<group>`, the group empty for core: `pods.`.
    pub resource: String,
    /// How many objects.
    pub count: usize,
    /// How many of them hold each finalizer.
    pub finalizers: BTreeMap<String, usize>,
    /// Seconds until the last of them has used up its grace; 0 for all but pods.
    pub grace_s: i64,
}

/// What was found after asking for the deletion of everything a [`Stage`] covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Kinds with something left.
    pub remaining: Vec<Remaining>,
    /// What went wrong while deleting or looking, one text per kind.
    pub failures: Vec<String>,
}

impl Survey {
    /// Whether nothing is left and nothing went wrong.
    pub fn is_clean(&self) -> bool {
        self.remaining.is_empty() && self.failures.is_empty()
    }
}

/// Which content is to go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pods, before all else.
    Pods,
    /// Every other kind; pods are gone.
    Rest,
}

/// What to do next about a terminating namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing: it is not terminating, or not ours to finalize.
    Nothing,
    /// Delete what this stage covers and look again.
    Empty(Stage),
    /// Look again when something in the namespace changes, at the latest after this many seconds.
    Wait {
        /// Seconds.
        retry_s: u64,
    },
    /// Write this through the `finalize` subresource: the namespace is empty.
    Finalize(Box<Namespace>),
}

/// Where to begin with a namespace.
pub fn begin(namespace: &Namespace) -> Step {
    if namespace.metadata.deletion_timestamp.is_some() && holds_finalizer(namespace) {
        Step::Empty(Stage::Pods)
    } else {
        Step::Nothing
    }
}

/// What follows from the survey after `stage`: the status to write, if it changed, and the next step.
pub fn after(namespace: &Namespace, stage: Stage, survey: &Survey, now: Timestamp) -> (Option<Namespace>, Step) {
    if begin(namespace) == Step::Nothing {
        return (None, Step::Nothing);
    }
    let step = match (stage, survey.is_clean()) {
        (Stage::Pods, true) => return (None, Step::Empty(Stage::Rest)),
        (Stage::Rest, true) => Step::Finalize(Box::new(finalized(namespace))),
        (_, false) => Step::Wait { retry_s: retry_s(survey) },
    };
    (status(namespace, stage, survey, now), step)
}

/// The ServiceAccount a live namespace lacks, if any.
pub fn missing_service_account(namespace: &Namespace, held: Option<&ServiceAccount>) -> Option<ServiceAccount> {
    (is_live(namespace) && held.is_none())
        .then(|| ServiceAccount { metadata: named(namespace, DEFAULT_SERVICE_ACCOUNT), ..ServiceAccount::default() })
}

/// The ConfigMap with the root certificate as it should be, when the one held is missing or differs.
pub fn wrong_root_ca(namespace: &Namespace, held: Option<&ConfigMap>, ca_pem: &str) -> Option<ConfigMap> {
    if !is_live(namespace) {
        return None;
    }
    let data = BTreeMap::from([(ROOT_CA_KEY.to_owned(), ca_pem.to_owned())]);
    match held {
        Some(held) if held.data.as_ref() == Some(&data) && held.binary_data.is_none() => None,
        Some(held) => Some(ConfigMap { data: Some(data), binary_data: None, ..held.clone() }),
        None => {
            let mut metadata = named(namespace, ROOT_CA_CONFIG_MAP);
            let description = (DESCRIPTION_ANNOTATION.to_owned(), DESCRIPTION.to_owned());
            metadata.annotations = Some(BTreeMap::from([description]));
            Some(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
        }
    }
}

/// Whether new content may still be made in the namespace.
pub fn is_live(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

fn named(namespace: &Namespace, name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: namespace.metadata.name.clone(), ..ObjectMeta::default() }
}

fn holds_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    finalizers.iter().any(|held| held == FINALIZER)
}

fn finalized(namespace: &Namespace) -> Namespace {
    let mut namespace = namespace.clone();
    if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|held| held != FINALIZER);
    }
    namespace
}

/// Half of the longest grace and a second (contract 7.13).
fn retry_s(survey: &Survey) -> u64 {
    let grace_s = survey.remaining.iter().map(|remaining| remaining.grace_s).max().unwrap_or(0);
    u64::try_from(grace_s).unwrap_or(0) / 2 + 1
}

/// A condition in its two variants: status, reason and message.
struct Verdict {
    type_: &'static str,
    is_true: bool,
    reason: &'static str,
    message: String,
}

fn verdicts(stage: Stage, survey: &Survey) -> [Verdict; 5] {
    let fine = |type_, reason, message: &str| Verdict { type_, is_true: false, reason, message: message.to_owned() };
    let bad = |type_, reason, message| Verdict { type_, is_true: true, reason, message };
    // While pods hold everything up, what remains is not counted (contract 7.14).
    let remaining: &[Remaining] = match stage {
        Stage::Pods => &[],
        Stage::Rest => &survey.remaining,
    };
    let finalizers = finalizer_texts(remaining);
    [
        fine("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        if survey.failures.is_empty() {
            let message = "All content successfully deleted, may be waiting on finalization";
            fine("NamespaceDeletionContentFailure", "ContentDeleted", message)
        } else {
            let (count, texts) = (survey.failures.len(), survey.failures.join(", "));
            let message = format!("Failed to delete all resource types, {count} remaining: {texts}");
            bad("NamespaceDeletionContentFailure", "ContentDeletionFailed", message)
        },
        if remaining.is_empty() {
            fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed")
        } else {
            let message = format!("Some resources are remaining: {}", remaining_texts(remaining).join(", "));
            bad("NamespaceContentRemaining", "SomeResourcesRemain", message)
        },
        if finalizers.is_empty() {
            fine("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
        } else {
            let list = finalizers.join(", ");
            let message = format!("Some content in the namespace has finalizers remaining: {list}");
            bad("NamespaceFinalizersRemaining", "SomeFinalizersRemain", message)
        },
    ]
}

fn remaining_texts(remaining: &[Remaining]) -> Vec<String> {
    let text = |kind: &Remaining| format!("{} has {} resource instances", kind.resource, kind.count);
    let texts: BTreeSet<String> = remaining.iter().map(text).collect();
    texts.into_iter().collect()
}

fn finalizer_texts(remaining: &[Remaining]) -> Vec<String> {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in remaining.iter().flat_map(|kind| &kind.finalizers) {
        *totals.entry(finalizer).or_default() += count;
    }
    totals.into_iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect()
}

fn status(namespace: &Namespace, stage: Stage, survey: &Survey, now: Timestamp) -> Option<Namespace> {
    let held = namespace.status.clone().unwrap_or_default();
    let mut conditions = held.conditions.clone().unwrap_or_default();
    for verdict in verdicts(stage, survey) {
        let wanted = NamespaceCondition {
            type_: verdict.type_.to_owned(),
            status: if verdict.is_true { "True" } else { "False" }.to_owned(),
            reason: Some(verdict.reason.to_owned()),
            message: Some(verdict.message),
            last_transition_time: Some(Time(now)),
        };
        match conditions.iter_mut().find(|condition| condition.type_ == wanted.type_) {
            None => conditions.push(wanted),
            Some(held) if held.status == wanted.status => {
                *held = NamespaceCondition { last_transition_time: held.last_transition_time.clone(), ..wanted };
            }
            Some(held) => *held = wanted,
        }
    }
    let wanted = NamespaceStatus { conditions: Some(conditions), phase: Some("Terminating".to_owned()) };
    (wanted != held).then(|| Namespace { status: Some(wanted), ..namespace.clone() })
}

#[cfg(test)]
mod tests;
