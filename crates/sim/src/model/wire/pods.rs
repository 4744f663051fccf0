//! What pods look like, and what the product makes them like.

use k8s_openapi::api::core::v1::{Pod as WirePod, PodCondition, PodStatus};
use stead_plan::statefulset::{self, render};

use super::super::objects::{Life, Pod, Set};
use super::super::preparing;
use super::{Wire, ago, annotations, ordinal, owners, stamp};

impl Wire {
    pub(super) fn pod(&self, slot: usize, pod: &Pod) -> WirePod {
        let mut wire = self.pods[slot][usize::from(pod.template)].clone();
        stamp(&mut wire.metadata, pod.uid, pod.version, pod.terminating);
        wire.metadata.owner_references = owners(pod.owner);
        let labels = wire.metadata.labels.get_or_insert_default();
        if !pod.selected {
            labels.remove("app");
        }
        if !pod.labelled {
            labels.remove(statefulset::POD_NAME_LABEL);
        }
        if pod.leader {
            labels.extend([annotations::leader()]);
        }
        annotations::mark(&mut wire.metadata, pod.reset);
        wire.status = Some(status(pod.life));
        if self.prepares {
            let name = |template: u8| self.revisions[usize::from(template)].metadata.name.clone().unwrap_or_default();
            preparing::dress(&mut wire, &pod.errand, name);
        }
        wire
    }

    /// The generation that a pod of `slot` is made for, read off the pod the product renders.
    pub(crate) fn pod_made_for(&self, set: &Set, slot: usize) -> u8 {
        let (template, name) = (&self.templates[usize::from(set.spec.template)], self.name_of(set.spec.template));
        let pod = render::pod(&self.set(set, None), template, &name, ordinal(slot));
        annotations::generation(&pod.metadata)
    }
}

/// The status of a pod that started long ago.
fn status(life: Life) -> PodStatus {
    let (phase, ready, changed_s) = match life {
        Life::Pending => return PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() },
        Life::Unready => ("Running", false, 7200),
        Life::Fresh => ("Running", true, 0),
        Life::Ready => ("Running", true, 3600),
        Life::Down => ("Running", false, 60),
        Life::Failed => ("Failed", false, 60),
        Life::Succeeded => ("Succeeded", false, 60),
    };
    let condition = |type_: &str, status: bool, changed_s: i64| PodCondition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(ago(changed_s)),
        ..PodCondition::default()
    };
    PodStatus {
        phase: Some(phase.to_owned()),
        start_time: Some(ago(7200)),
        conditions: Some(vec![condition("Initialized", true, 7200), condition("Ready", ready, changed_s)]),
        ..PodStatus::default()
    }
}
