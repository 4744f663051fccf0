//! Pods that wait: for their claims, or for room.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use stead_client::ObjectKey;
use tokio::time::Instant;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A pod that fits nowhere.
#[derive(Clone, Copy, Debug)]
struct Parked {
    attempts: u32,
    last: Instant,
    asleep: bool,
}

/// The pods that wait, and for what. Bounded by the pods without a node.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    claims: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    of_pod: HashMap<ObjectKey, Vec<ObjectKey>>,
    parked: HashMap<ObjectKey, Parked>,
    /// How often something changed that may make room.
    changes: u64,
}

impl Waiting {
    /// To be taken before a decision and given to [`Waiting::park`] after it.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The pod is to be told about changes of these claims of its namespace.
    pub(super) fn register(&mut self, pod: &ObjectKey, claims: Vec<String>) {
        let claims: Vec<ObjectKey> = claims.into_iter().map(|name| ObjectKey::new(&pod.namespace, name)).collect();
        for claim in &claims {
            self.claims.entry(claim.clone()).or_default().insert(pod.clone());
        }
        if !claims.is_empty() {
            self.of_pod.insert(pod.clone(), claims);
        }
    }

    /// The pods to be told about a change of the claim.
    pub(super) fn of_claim(&self, claim: &ObjectKey) -> Vec<ObjectKey> {
        self.claims.get(claim).into_iter().flatten().cloned().collect()
    }

    /// The pod fits nowhere, as things were when `changes` was taken. Gives how long to wait before the
    /// next try if something has changed since; otherwise the pod sleeps until something does.
    pub(super) fn park(&mut self, pod: &ObjectKey, now: Instant, changes: u64) -> Option<Duration> {
        let attempts = self.parked.get(pod).map_or(0, |parked| parked.attempts) + 1;
        let asleep = changes == self.changes;
        self.parked.insert(pod.clone(), Parked { attempts, last: now, asleep });
        (!asleep).then(|| backoff(attempts))
    }

    /// The pods to try again, each with how long it still has to wait: the first retry is immediate,
    /// further ones keep a growing distance from the last attempt (contract 8.13).
    pub(super) fn wake(&mut self, now: Instant) -> Vec<(ObjectKey, Duration)> {
        self.changes += 1;
        let asleep = self.parked.iter_mut().filter(|(_, parked)| parked.asleep);
        asleep
            .map(|(pod, parked)| {
                parked.asleep = false;
                (pod.clone(), (parked.last + backoff(parked.attempts)).saturating_duration_since(now))
            })
            .collect()
    }

    /// The pod has a node, or is gone.
    pub(super) fn forget(&mut self, pod: &ObjectKey) {
        self.parked.remove(pod);
        for claim in self.of_pod.remove(pod).unwrap_or_default() {
            if let Some(pods) = self.claims.get_mut(&claim) {
                pods.remove(pod);
                if pods.is_empty() {
                    self.claims.remove(&claim);
                }
            }
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    match attempts {
        0 | 1 => Duration::ZERO,
        more => BACKOFF_FIRST.saturating_mul(1 << (more - 2).min(5)).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_between_a_decision_and_its_refusal_is_not_slept_through() {
        let (pod, mut waiting) = (ObjectKey::new("ns", "p"), Waiting::default());
        let now = Instant::now();
        let changes = waiting.changes();
        assert!(waiting.wake(now).is_empty(), "nothing is parked yet");
        assert_eq!(waiting.park(&pod, now, changes), Some(Duration::ZERO), "tried again at once");
        let changes = waiting.changes();
        assert_eq!(waiting.park(&pod, now, changes), None, "then it sleeps");
        assert_eq!(waiting.wake(now).len(), 1);
    }

    #[test]
    fn the_first_retry_is_at_once_and_later_ones_keep_their_distance() {
        let (pod, mut waiting) = (ObjectKey::new("ns", "p"), Waiting::default());
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..7 {
            let changes = waiting.changes();
            assert_eq!(waiting.park(&pod, now, changes), None);
            delays.extend(waiting.wake(now).into_iter().map(|(_, delay)| delay.as_secs()));
            assert!(waiting.wake(now).is_empty(), "a pod that is awake is not woken");
        }
        assert_eq!(delays, [0, 1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn a_claim_leads_to_its_pods_until_they_are_forgotten() {
        let (claim, mut waiting) = (ObjectKey::new("ns", "data-p"), Waiting::default());
        waiting.register(&ObjectKey::new("ns", "p"), vec!["data-p".to_owned()]);
        waiting.register(&ObjectKey::new("ns", "q"), vec!["data-p".to_owned()]);
        assert_eq!(waiting.of_claim(&claim).len(), 2);
        waiting.forget(&ObjectKey::new("ns", "p"));
        waiting.forget(&ObjectKey::new("ns", "q"));
        assert!(waiting.of_claim(&claim).is_empty() && waiting.claims.is_empty() && waiting.of_pod.is_empty());
    }
}
