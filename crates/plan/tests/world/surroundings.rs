//! What nodes, the provisioner and the garbage collector do.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, PersistentVolumeClaimStatus,
    PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use stead_plan::pods;

use super::World;

impl World {
    /// Binds every claim to a volume as large as it asks, or lets its volume grow to that.
    pub(crate) fn provision(&mut self) {
        let names: Vec<String> = self.claims.keys().cloned().collect();
        for name in names {
            let version = self.next();
            let claim = self.claims.get_mut(&name).expect("the claim exists");
            let spec = claim.spec.get_or_insert_default();
            spec.volume_name = Some(format!("volume-of-{name}"));
            let capacity = spec.resources.clone().and_then(|resources| resources.requests);
            claim.status = Some(PersistentVolumeClaimStatus {
                phase: Some("Bound".to_owned()),
                capacity,
                ..PersistentVolumeClaimStatus::default()
            });
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert("pv.kubernetes.io/bind-completed".to_owned(), "yes".to_owned());
            claim.metadata.resource_version = Some(version);
        }
    }

    pub(super) fn status(&mut self, name: &str, change: impl FnOnce(&mut PodStatus, Timestamp)) {
        let now = self.now;
        let version = self.next();
        let pod = self.pods.get_mut(name).expect("the pod exists");
        let status = pod.status.get_or_insert_default();
        status.start_time.get_or_insert(Time(now));
        change(status, now);
        pod.metadata.resource_version = Some(version);
    }

    pub(crate) fn ready(&mut self, name: &str) {
        self.status(name, |status, now| set_ready(status, true, now));
    }

    pub(crate) fn unready(&mut self, name: &str) {
        self.status(name, |status, now| set_ready(status, false, now));
    }

    /// Runs, but never becomes Ready.
    pub(crate) fn start_unready(&mut self, name: &str) {
        self.status(name, |status, now| set_ready(status, false, now));
    }

    pub(crate) fn phase(&mut self, name: &str, phase: &str) {
        self.status(name, |status, now| {
            set_ready(status, false, now);
            status.phase = Some(phase.to_owned());
        });
    }

    /// The processes of a terminating pod are gone.
    pub(crate) fn gone(&mut self, name: &str) {
        let pod = self.pods.get(name).expect("the pod exists");
        assert!(pods::is_terminating(pod), "{name} was not asked to end");
        self.pods.remove(name);
        self.collect();
    }

    /// The only container ran for `run_s` seconds, being Ready meanwhile, and ended.
    pub(crate) fn crash(&mut self, name: &str, run_s: i64) {
        self.ready(name);
        let started = Time(self.now);
        self.wait_s(run_s);
        self.status(name, |status, now| {
            set_ready(status, false, now);
            let ended = ContainerStateTerminated {
                started_at: Some(started),
                finished_at: Some(Time(now)),
                ..ContainerStateTerminated::default()
            };
            let state = ContainerState { terminated: Some(ended), ..ContainerState::default() };
            let container = ContainerStatus { state: Some(state), ..ContainerStatus::default() };
            status.container_statuses = Some(vec![container]);
        });
    }

    /// The container that ended last runs again, and is Ready.
    pub(crate) fn back(&mut self, name: &str) {
        self.status(name, |status, now| {
            set_ready(status, true, now);
            for container in status.container_statuses.iter_mut().flatten() {
                let running = ContainerStateRunning { started_at: Some(Time(now)) };
                let state = ContainerState { running: Some(running), ..ContainerState::default() };
                container.last_state = container.state.replace(state);
            }
        });
    }

    pub(crate) fn wait_s(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).expect("stories are short");
    }

    /// Everything a healthy node does next: it does what it is asked, ending pods end, the others become Ready.
    pub(crate) fn node(&mut self) -> bool {
        self.node_but(&[])
    }

    /// As [`World::node`], with some pods that never become Ready.
    pub(crate) fn node_but(&mut self, broken: &[&str]) -> bool {
        self.wait_s(2);
        let mut changed = self.prepare();
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            let pod = &self.pods[&name];
            if pods::is_terminating(pod) {
                self.gone(&name);
                changed = true;
            } else if !pods::is_ready(pod) && pods::phase(pod) == pods::Phase::Pending && !broken.contains(&&*name) {
                self.ready(&name);
                changed = true;
            }
        }
        changed
    }

    /// Removes what has lost its owners, and terminating claims that nothing uses.
    pub(crate) fn collect(&mut self) {
        let live: Vec<String> = self
            .pods
            .values()
            .filter_map(|pod| pod.metadata.uid.clone())
            .chain(self.set.metadata.uid.clone())
            .collect();
        let orphaned = |owners: &[OwnerReference]| {
            !owners.is_empty() && owners.iter().all(|owner| !live.contains(&owner.uid) && owner.kind != "ConfigMap")
        };
        let used = |claim: &str| {
            self.pods.values().any(|pod| {
                let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
                volumes.flat_map(|volume| &volume.persistent_volume_claim).any(|source| source.claim_name == claim)
            })
        };
        let gone: Vec<String> = self
            .claims
            .iter()
            .filter(|(name, claim)| {
                let dead = orphaned(claim.metadata.owner_references.as_deref().unwrap_or_default());
                (dead || claim.metadata.deletion_timestamp.is_some()) && !used(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.transcript.push(format!("collected {name}"));
            self.claims.remove(&name);
        }
    }
}

fn set_ready(status: &mut PodStatus, ready: bool, now: Timestamp) {
    status.phase = Some("Running".to_owned());
    let value = if ready { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == value) {
        return;
    }
    conditions.retain(|condition| condition.type_ != "Ready");
    conditions.push(PodCondition {
        type_: "Ready".to_owned(),
        status: value.to_owned(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
}
