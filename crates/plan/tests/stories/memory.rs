//! What is remembered between two plans saves work and changes none of them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use stead_api::preparation::PREPARES;
use stead_plan::statefulset::{Memory, Observed, View, plan, plan_remembering};

use crate::world::{World, claim_spec, web};

/// One snapshot, whose objects are the same ones at every look.
struct Snapshot {
    set: StatefulSet,
    pods: Vec<Arc<Pod>>,
    claims: Vec<Arc<PersistentVolumeClaim>>,
    nodes: Vec<Arc<Node>>,
    classes: Vec<Arc<StorageClass>>,
    now: Timestamp,
}

impl Snapshot {
    /// Two replicas up, on a node that can be asked, on claims that can grow.
    fn new() -> Self {
        let mut world = World::on_preparing_nodes(web(2));
        world.run();
        world.provision();
        world.settle();
        Self {
            set: world.set,
            pods: world.pods.into_values().map(Arc::new).collect(),
            claims: world.claims.into_values().map(Arc::new).collect(),
            nodes: world.nodes,
            classes: world.classes,
            now: world.now,
        }
    }

    fn observed(&self) -> Observed<'_> {
        Observed {
            pods: &self.pods,
            claims: &self.claims,
            nodes: &self.nodes,
            classes: &self.classes,
            ..Observed::default()
        }
    }
}

#[test]
fn a_plan_is_the_same_with_and_without_memory_whatever_changes_around_the_objects() {
    let changes: [fn(&mut Snapshot); 6] = [
        |seen| {
            let spec = seen.set.spec.get_or_insert_default();
            spec.volume_claim_templates.get_or_insert_default()[0].spec = Some(claim_spec("2Gi"));
        },
        |seen| {
            let class = StorageClass { allow_volume_expansion: None, ..StorageClass::clone(&seen.classes[0]) };
            seen.classes = vec![Arc::new(class)];
            let spec = seen.set.spec.get_or_insert_default();
            spec.volume_claim_templates.get_or_insert_default()[0].spec = Some(claim_spec("2Gi"));
        },
        |seen| {
            let labels = [("app".to_owned(), "other".to_owned())].into();
            seen.set.spec.get_or_insert_default().selector.match_labels = Some(labels);
        },
        |seen| seen.set.metadata.uid = Some("set-2".to_owned()),
        |seen| {
            let mut node = Node::clone(&seen.nodes[0]);
            node.metadata.annotations.get_or_insert_default().remove(PREPARES);
            seen.nodes = vec![Arc::new(node)];
        },
        |seen| {
            let annotations = seen.set.metadata.annotations.get_or_insert_default();
            annotations
                .insert("stead.dev/update-last".to_owned(), "statefulset.kubernetes.io/pod-name=web-1".to_owned());
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut seen = Snapshot::new();
        seen.set.spec.get_or_insert_default().template.spec.get_or_insert_default().containers[0].image =
            Some("b".to_owned());
        let mut memory = Memory::default();
        plan_remembering(&seen.set, &seen.observed(), seen.now, &mut memory);
        change(&mut seen);
        let remembering = plan_remembering(&seen.set, &seen.observed(), seen.now, &mut memory);
        assert_eq!(remembering, plan(&seen.set, &seen.observed(), seen.now), "change {number}");
    }
}

#[test]
fn a_class_that_changes_is_looked_at_again() {
    let mut seen = Snapshot::new();
    let spec = seen.set.spec.get_or_insert_default();
    spec.volume_claim_templates.get_or_insert_default()[0].spec = Some(claim_spec("2Gi"));
    let mut memory = Memory::default();
    let before = plan_remembering(&seen.set, &seen.observed(), seen.now, &mut memory);
    let class = StorageClass { allow_volume_expansion: None, ..StorageClass::clone(&seen.classes[0]) };
    seen.classes = vec![Arc::new(class)];
    let after = plan_remembering(&seen.set, &seen.observed(), seen.now, &mut memory);
    assert_eq!(after, plan(&seen.set, &seen.observed(), seen.now));
    assert_ne!(after, before, "the claims cannot grow any more");
}

#[test]
fn what_has_not_changed_is_not_looked_at_again() {
    let seen = Snapshot::new();
    let mut memory = Memory::default();
    let first = View::remembering(&seen.set, &seen.observed(), &mut memory);
    let second = View::remembering(&seen.set, &seen.observed(), &mut memory);
    assert!(first.pods.iter().zip(&second.pods).all(|(first, second)| Arc::ptr_eq(first, second)));
    assert_eq!((first.pods.len(), first), (2, second));
}
