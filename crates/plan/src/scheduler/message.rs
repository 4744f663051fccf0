//! Why no node will do, in the words kubectl users know (contract 8.4, 8.5).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

/// Why one node will not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    reasons: Vec<String>,
    /// Even an empty node would not do.
    for_good: bool,
}

impl Refusal {
    /// A reason that other pods' leaving would not remove.
    pub(super) fn for_good(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], for_good: true }
    }

    /// A reason that other pods' leaving would remove.
    pub(super) fn for_now(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], for_good: false }
    }

    /// Adds a reason of the same filter.
    pub(super) fn push(&mut self, reason: String, for_good: bool) {
        self.reasons.push(reason);
        self.for_good |= for_good;
    }

    /// Whether nothing speaks against the node.
    pub(super) fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// The refusals of all nodes.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    reasons: BTreeMap<String, usize>,
    for_good: usize,
    for_now: usize,
}

impl Refusals {
    /// Counts one node's refusal.
    pub(super) fn add(&mut self, refusal: Refusal) {
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
        if refusal.for_good { self.for_good += 1 } else { self.for_now += 1 }
    }

    /// The whole text for a cluster of `count` nodes.
    pub(super) fn message(&self, count: usize, pod: &Pod) -> String {
        let reasons = counted(self.reasons.iter().map(|(reason, nodes)| (reason.as_str(), *nodes)));
        let preemption = preemption(count, self.for_good, self.for_now, pod);
        format!("0/{count} nodes are available: {reasons}. {preemption}")
    }
}

/// The text when the pod itself, not a node, is the reason.
pub(super) fn of_prefilter(count: usize, reason: &str, pod: &Pod) -> String {
    format!("0/{count} nodes are available: {reason}. {}", preemption(count, count, 0, pod))
}

fn preemption(count: usize, for_good: usize, for_now: usize, pod: &Pod) -> String {
    let policy = pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return "preemption: not eligible due to preemptionPolicy=Never.".to_owned();
    }
    let reasons = counted([
        ("No preemption victims found for incoming pod", for_now),
        ("Preemption is not helpful for scheduling", for_good),
    ]);
    format!("preemption: 0/{count} nodes are available: {reasons}.")
}

/// `<count> <reason>` texts, sorted as strings.
fn counted<'a>(reasons: impl IntoIterator<Item = (&'a str, usize)>) -> String {
    let texts = reasons.into_iter().filter(|(_, nodes)| *nodes > 0).map(|(reason, nodes)| format!("{nodes} {reason}"));
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts.join(", ")
}
