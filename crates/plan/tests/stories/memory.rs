//! What is remembered between two plans saves work and changes none of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use stead_api::preparation::PREPARES;
use stead_plan::statefulset::views::Volumes;
use stead_plan::statefulset::{Memory, Observed, View, may_rest, plan, plan_remembering};

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
    let changes: [fn(&mut Snapshot); 7] = [
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
        |seen| seen.set.spec.get_or_insert_default().template.metadata = None,
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

#[test]
fn a_memory_is_as_large_as_the_pods_or_the_claims_it_holds_views_of() {
    let size = |pods: usize, claims: usize| {
        let mut seen = Snapshot::new();
        seen.pods.truncate(pods);
        seen.claims.truncate(claims);
        let mut memory = Memory::default();
        plan_remembering(&seen.set, &seen.observed(), seen.now, &mut memory);
        memory.size()
    };
    assert_eq!([size(0, 0), size(2, 1), size(1, 2)], [0, 2, 2]);
}

/// Counts how many volumes are looked up.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Volumes for Counting {
    fn named(&self, _: &str) -> Option<Arc<PersistentVolume>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[test]
fn volumes_are_looked_up_only_for_wanted_replicas_that_have_no_node() {
    let looked_up = |replicas: i32, with_pods: bool| {
        let mut seen = Snapshot::new();
        seen.set.spec.get_or_insert_default().replicas = Some(replicas);
        seen.pods.truncate(if with_pods { 2 } else { 0 });
        let volumes = Counting::default();
        let _view = View::new(&seen.set, &Observed { volumes: &volumes, ..seen.observed() });
        volumes.0.into_inner()
    };
    assert_eq!([looked_up(2, true), looked_up(2, false), looked_up(1, false), looked_up(0, false)], [0, 2, 1, 0]);
}

#[test]
fn only_a_set_whose_replicas_do_not_wait_and_that_has_nothing_to_do_may_rest() {
    let rests = |world: &World| may_rest(&world.set, &world.plan());
    assert!(rests(&World::parallel(2)) && !rests(&World::running(2)));
    let mut busy = World::parallel(2);
    busy.scale(3);
    assert!(!rests(&busy));
}
