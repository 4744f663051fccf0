//! What people do to the set, its pods and its claims.

use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::World;
use super::set::claim_spec;

impl World {
    /// Changes the spec.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut StatefulSetSpec)) {
        let spec = self.set.spec.get_or_insert_default();
        let before = spec.clone();
        change(spec);
        if *spec != before {
            *self.set.metadata.generation.get_or_insert(0) += 1;
        }
    }

    /// Changes the image of the template.
    pub(crate) fn image(&mut self, image: &str) {
        self.edit(|spec| {
            let pod = spec.template.spec.get_or_insert_default();
            pod.containers[0].image = Some(image.to_owned());
        });
    }

    pub(crate) fn scale(&mut self, replicas: i32) {
        self.edit(|spec| spec.replicas = Some(replicas));
    }

    pub(crate) fn partition(&mut self, partition: i32) {
        self.edit(|spec| {
            let strategy = spec.update_strategy.get_or_insert_default();
            strategy.rolling_update =
                Some(RollingUpdateStatefulSetStrategy { partition: Some(partition), max_unavailable: None });
        });
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.set.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn unannotate(&mut self, key: &str) {
        self.set.metadata.annotations.get_or_insert_default().remove(key);
    }

    /// Changes what the claim template asks for.
    pub(crate) fn claim_size(&mut self, size: &str) {
        self.edit(|spec| spec.volume_claim_templates.get_or_insert_default()[0].spec = Some(claim_spec(size)));
    }

    pub(crate) fn delete_pod(&mut self, name: &str) {
        let now = Time(self.now);
        let version = self.next();
        let pod = self.pods.get_mut(name).expect("the pod to delete exists");
        pod.metadata.deletion_timestamp.get_or_insert(now);
        pod.metadata.resource_version = Some(version);
    }

    /// Takes a pod's owner away, as deleting a set without its pods does.
    pub(crate) fn orphan(&mut self, name: &str) {
        let version = self.next();
        let pod = self.pods.get_mut(name).expect("the pod exists");
        pod.metadata.owner_references = None;
        pod.metadata.resource_version = Some(version);
    }

    /// Says what a pod is among the others; the application does so itself.
    pub(crate) fn role(&mut self, pod: &str, role: &str) {
        let pod = self.pods.get_mut(pod).expect("the pod exists");
        pod.metadata.labels.get_or_insert_default().insert("role".to_owned(), role.to_owned());
    }

    pub(crate) fn delete_claim(&mut self, name: &str) {
        let now = Time(self.now);
        let version = self.next();
        let claim = self.claims.get_mut(name).expect("the claim to delete exists");
        claim.metadata.resource_version = Some(version);
        claim.metadata.deletion_timestamp.get_or_insert(now);
        self.collect();
    }
}
