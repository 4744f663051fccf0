//! What the API server does with the actions of a plan: preconditions hold, names are free.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use stead_plan::ids::{Target, Uid};
use stead_plan::pods;
use stead_plan::statefulset::ordinals::Ordinal;
use stead_plan::statefulset::revisions::{self, RevisionName};
use stead_plan::statefulset::{Action, events, render, wishes};

use super::{World, name};

impl World {
    pub(super) fn apply(&mut self, action: &Action) {
        if let Some(line) = self.line(action) {
            self.transcript.push(line);
        }
        if let Some(note) = events::succeeded(&name(&self.set.metadata), action) {
            self.event(&note);
        }
        let set = self.set.clone();
        match action {
            Action::ConfirmSet => {}
            Action::AdoptRevision(target) => {
                let adopted = pods::adopted(&self.revision(target).metadata, render::reference(&set));
                let adopted = self.written(adopted);
                self.revision(target).metadata = adopted;
            }
            Action::CreateRevision { name, hash, number } => {
                let revision = render::revision(&self.set, name, hash, *number);
                let revision = ControllerRevision { metadata: self.created(revision.metadata), ..revision };
                assert!(self.revisions.insert(name.0.clone(), revision).is_none(), "revision {name} exists");
            }
            Action::RenumberRevision { target, number } => {
                let written = self.written(self.revisions[&target.name].metadata.clone());
                let revision = self.revision(target);
                revision.revision = *number;
                revision.metadata = written;
            }
            Action::DeleteRevision(target) => {
                self.revision(target);
                self.revisions.remove(&target.name);
            }
            Action::AdoptPod(target) => {
                let adopted = pods::adopted(&self.pod(target).metadata, render::reference(&set));
                let adopted = self.written(adopted);
                self.pod(target).metadata = adopted;
            }
            Action::ReleasePod(target) => {
                let released =
                    pods::released(&self.pod(target).metadata, &Uid(set.metadata.uid.clone().unwrap_or_default()));
                let released = self.written(released);
                self.pod(target).metadata = released;
            }
            Action::RelabelPod { target, ordinal } => {
                let labelled = render::relabelled(&set, &self.pod(target).metadata, *ordinal);
                let labelled = self.written(labelled);
                self.pod(target).metadata = labelled;
            }
            Action::Prepare { target, revision, at, .. } => {
                let template = render::template(&set, revision, self.revisions.get(&revision.0)).expect("a template");
                let asked = render::asked(&set, &self.pod(target).metadata, &template, revision, *at);
                let asked = self.written(asked);
                self.pod(target).metadata = asked;
            }
            Action::Withdraw { target, .. } => {
                let unasked = render::unasked(&self.pod(target).metadata);
                let unasked = self.written(unasked);
                self.pod(target).metadata = unasked;
            }
            Action::OwnClaim { target, ordinal, owner } => {
                let claim = self.claims.get(&target.name).filter(|claim| Target::of(&claim.metadata) == *target);
                let owned =
                    render::owned_claim(&self.set, claim.expect("the claim decided on exists"), *ordinal, owner);
                let owned = PersistentVolumeClaim { metadata: self.written(owned.metadata.clone()), ..owned };
                self.claims.insert(target.name.clone(), owned);
            }
            Action::CreateClaim { name, template, ordinal } => {
                let claim = render::claim(&self.set, template, *ordinal).expect("the template exists");
                let claim = PersistentVolumeClaim { metadata: self.created(claim.metadata), ..claim };
                assert!(self.claims.insert(name.clone(), claim).is_none(), "claim {name} exists");
            }
            Action::CreatePod { ordinal, revision } => self.create_pod(*ordinal, revision),
            Action::DeletePod { target, .. } => {
                self.pod(target);
                self.delete_pod(&target.name);
            }
            Action::DeleteClaim { target, .. } => {
                self.claim(target);
                self.delete_claim(&target.name);
            }
            Action::GrowClaim { target, storage, .. } => {
                let grown = render::grown_claim(self.claim(target), storage);
                let grown = PersistentVolumeClaim { metadata: self.written(grown.metadata.clone()), ..grown };
                self.claims.insert(target.name.clone(), grown);
            }
            Action::Remember { key, value: Some(value) } => self.annotate(key, value),
            Action::Remember { key, value: None } => self.unannotate(key),
            Action::RollBack { to, from } => {
                let revision = self.revisions[&to.0].clone();
                let patch = render::rollback(&self.set, &revision, from).expect("the revision holds a patch");
                let note = patch["metadata"]["annotations"][wishes::ROLLED_BACK].as_str().expect("it is noted");
                let template = revisions::template_of(&revision).expect("the revision holds a template");
                self.edit(|spec| spec.template = template);
                self.annotate(wishes::ROLLED_BACK, note);
            }
        }
    }

    fn claim(&self, target: &Target) -> &PersistentVolumeClaim {
        let claim = self.claims.get(&target.name).expect("the claim decided on exists");
        assert_eq!(Target::of(&claim.metadata), *target, "preconditions hold");
        claim
    }

    fn create_pod(&mut self, ordinal: Ordinal, revision: &RevisionName) {
        let template = render::template(&self.set, revision, self.revisions.get(&revision.0)).expect("a template");
        let pod = render::pod(&self.set, &template, revision, ordinal);
        let name = name(&pod.metadata);
        let status = Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() });
        let node_name = self.nodes.first().and_then(|node| node.metadata.name.clone());
        let spec = pod.spec.map(|spec| PodSpec { node_name, ..spec });
        let pod = Pod { metadata: self.created(pod.metadata), spec, status };
        assert!(self.pods.insert(name.clone(), pod).is_none(), "pod {name} exists (I1)");
    }

    fn created(&mut self, meta: ObjectMeta) -> ObjectMeta {
        let uid = Some(format!("uid-{}", self.next()));
        let creation_timestamp = Some(Time(self.now));
        ObjectMeta { uid, creation_timestamp, resource_version: Some(self.next()), ..meta }
    }

    fn pod(&mut self, target: &Target) -> &mut Pod {
        let pod = self.pods.get_mut(&target.name).expect("the pod decided on exists");
        assert_eq!(Target::of(&pod.metadata), *target, "preconditions hold");
        pod
    }

    fn revision(&mut self, target: &Target) -> &mut ControllerRevision {
        let revision = self.revisions.get_mut(&target.name).expect("the revision decided on exists");
        assert_eq!(Target::of(&revision.metadata), *target, "preconditions hold");
        revision
    }

    pub(super) fn written(&mut self, meta: ObjectMeta) -> ObjectMeta {
        ObjectMeta { resource_version: Some(self.next()), ..meta }
    }
}
