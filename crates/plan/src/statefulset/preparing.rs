//! A replica is made ready before an update stops it: its node gets the new images and runs the hook
//! that the set asks for, and only when it has answered does the pod go. Nodes that do not answer
//! (those of Kubernetes) are not asked.
//!
//! The request is an annotation of the pod, the answer a condition of it ([`stead_api::preparation`]).
//! Each request has an id of its own, the version of the pod that it was decided on, so that an answer
//! is never taken for that of another request. A request stays while its replica is next in line, also
//! when the rollout has to wait meanwhile: so it is not asked, and its hook not run, twice. Any other is
//! taken away.
//!
//! Replicas that are down are replaced at once, for there is nothing to keep up; only where the images
//! are [`Prefetch::Required`] do they, too, wait for those.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use stead_api::preparation::{Answer, Hook, Outcome, PREPARE, PREPARES, Prefetch, Request};

use super::Stage;
use super::actions::{Action, Draft, Removal, Rule};
use super::ordinals::Ordinal;
use super::revisions::RevisionName;
use super::update::{is_outdated, rollout_order};
use super::views::{PodView, Strategy};

/// How far the node of a pod is with making ready for the pod's replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preparation {
    /// It cannot be asked.
    #[default]
    Unable,
    /// It is not asked.
    Unasked,
    /// It is asked.
    Asked {
        /// For what.
        terms: Box<Terms>,
        /// Since when.
        since: Timestamp,
        /// What it says to this very request.
        answer: Option<(Outcome, String)>,
    },
}

/// What a node is asked for; everything else about a request follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The revision of the replacement.
    pub revision: RevisionName,
    /// Whether the images have to be there.
    pub prefetch: Prefetch,
    /// What is run first.
    pub hook: Option<Hook>,
}

impl Preparation {
    /// How it is with `pod`, whose node is one of `preparing` if it can be asked.
    pub(super) fn of(pod: &Pod, preparing: &BTreeSet<&str>) -> Self {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if !node.is_some_and(|node| preparing.contains(node)) {
            return Self::Unable;
        }
        if pod.metadata.annotations.as_ref().is_none_or(|own| !own.contains_key(PREPARE)) {
            return Self::Unasked;
        }
        let Some(request) = Request::of(&pod.metadata) else {
            // Not to be read, so it asks for nothing that anybody wants.
            return Self::Asked { terms: Box::default(), since: Timestamp::UNIX_EPOCH, answer: None };
        };
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let answer = Answer::among(conditions).filter(|answer| answer.id == request.id);
        let terms = Terms { revision: RevisionName(request.revision), prefetch: request.prefetch, hook: request.hook };
        let answer = answer.map(|answer| (answer.outcome, answer.message));
        Self::Asked { terms: Box::new(terms), since: request.asked_at.0, answer }
    }
}

/// Whether the node answers requests.
pub fn prepares(node: &Node) -> bool {
    let annotations = node.metadata.annotations.as_ref();
    annotations.and_then(|own| own.get(PREPARES)).is_some_and(|value| value == "true")
}

/// Lets an outdated replica go, as soon as its node has made ready for that.
pub(super) fn replace(stage: &Stage<'_>, ordinal: Ordinal, pod: &PodView, draft: &mut Draft) {
    draft.in_line.insert(pod.target.clone());
    let name = &pod.target.name;
    let terms = terms(stage, ordinal);
    let up = pod.running_ready();
    if pod.preparation == Preparation::Unable || !is_anything(&terms) || (!up && terms.prefetch != Prefetch::Required) {
        return draft.delete(pod, ordinal, Removal::Outdated);
    }
    match &pod.preparation {
        Preparation::Asked { terms: asked, since, answer } if **asked == terms => match (answer, up) {
            (Some((Outcome::Done, _)), _) | (Some((Outcome::HookWaits | Outcome::HookFailed, _)), false) => {
                draft.delete(pod, ordinal, Removal::Outdated);
            }
            (Some((Outcome::NoImage, why)), _) => draft.wait_saying(name, Rule::ImageMissing, *since, why),
            (Some((Outcome::HookFailed, why)), true) => draft.wait_saying(name, Rule::HookFailed, *since, why),
            (Some((Outcome::HookWaits, _)), true) | (None, _) => {
                draft.wait_since(name, Rule::Preparing, Some(*since));
            }
        },
        Preparation::Asked { .. } | Preparation::Unasked | Preparation::Unable => {
            // One write to a pod at a time; the other one wakes the controller.
            if !draft.repairs_pod(&pod.target) {
                let (target, at) = (pod.target.clone(), stage.now);
                draft.repair(Action::Prepare { target, ordinal, revision: terms.revision, at });
            }
            draft.wait_since(name, Rule::Preparing, Some(stage.now));
        }
    }
}

/// Takes away what is asked about replicas that are not next in line.
pub(super) fn withdraw(stage: &Stage<'_>, draft: &mut Draft) {
    let asked = |pod: &PodView| matches!(pod.preparation, Preparation::Asked { .. });
    if !stage.claimed.all().any(asked) {
        return;
    }
    let next = next_in_line(stage);
    let places = stage.claimed.in_range.iter().chain(&stage.claimed.condemned);
    for (ordinal, pod) in places.filter(|(_, pod)| asked(pod) && !pod.terminating) {
        let is_next = next.contains(ordinal) || draft.in_line.contains(&pod.target);
        let as_wanted = matches!(&pod.preparation, Preparation::Asked { terms: asked, .. }
            if **asked == terms(stage, *ordinal) && is_anything(asked));
        let is_wanted = is_next && as_wanted;
        let is_written = draft.is_doomed(&pod.target) || draft.repairs_pod(&pod.target);
        if !is_wanted && !is_written {
            draft.repair(Action::Withdraw { target: pod.target.clone(), ordinal: *ordinal });
        }
    }
}

/// The outdated replicas that a rollout may take down before it has to wait, whatever it waits for now.
fn next_in_line(stage: &Stage<'_>) -> BTreeSet<Ordinal> {
    let (partition, most) = match stage.view.set.strategy {
        Strategy::RollingUpdate { partition, unavailable_max } if !stage.view.set.wishes.paused => {
            (partition.unwrap_or(0), unavailable_max.unwrap_or(1))
        }
        Strategy::RollingUpdate { .. } | Strategy::OnDelete | Strategy::Recreate => return BTreeSet::new(),
    };
    let outdated = |ordinal: &Ordinal| {
        let pod = stage.claimed.in_range.get(ordinal);
        pod.is_some_and(|pod| !pod.terminating && is_outdated(stage, *ordinal, pod, partition))
    };
    let order = rollout_order(stage).into_iter().filter(outdated);
    order.take(usize::try_from(most).unwrap_or(0)).collect()
}

/// What the node of an outdated replica has to be asked for.
fn terms(stage: &Stage<'_>, ordinal: Ordinal) -> Terms {
    let set = &stage.view.set;
    let held = match set.strategy {
        Strategy::RollingUpdate { partition, .. } => ordinal < set.range.partition_end(partition.unwrap_or(0)),
        Strategy::OnDelete | Strategy::Recreate => false,
    };
    let revision = if held { &stage.resolved.current } else { &stage.resolved.update };
    Terms { revision: revision.clone(), prefetch: set.wishes.prefetch, hook: set.wishes.hook.clone() }
}

fn is_anything(terms: &Terms) -> bool {
    terms.prefetch != Prefetch::Off || terms.hook.is_some()
}
