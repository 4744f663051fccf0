//! When the oldest change happened that a Service's objects are about to show (contract 3.13).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};

/// What was seen of one Service at the last look. The controller keeps one per Service and drops it
/// with the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerTimes {
    known: bool,
    service: Option<Timestamp>,
    pods: BTreeMap<String, Timestamp>,
}

impl TriggerTimes {
    /// Takes note of the Service and its pods and gives the time to publish: the Service's creation at
    /// the first look, later the earliest pod transition not seen before, or none.
    pub fn advance(&mut self, service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let mut seen = BTreeMap::new();
        let mut earliest: Option<Timestamp> = None;
        for pod in pods.iter().filter(|pod| super::selects(service, pod)) {
            let (Some(name), Some(at)) = (&pod.metadata.name, ready_transition(pod)) else { continue };
            seen.insert(name.clone(), at);
            if self.pods.get(name).is_none_or(|before| at > *before) {
                earliest = Some(earliest.map_or(at, |time| time.min(at)));
            }
        }
        if created > self.service {
            earliest = earliest.into_iter().chain(created).min();
        }
        let first = !self.known;
        *self = Self { known: true, service: created, pods: seen };
        if first { created } else { earliest }
    }
}

fn ready_transition(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}
