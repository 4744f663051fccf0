//! A tiny cluster in memory for stories about one set: it applies what plans say, plays the node and
//! the collector, keeps a transcript, and checks the invariants of `quality.md` at every step.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this world")]

mod actions;
mod controller;
mod invariants;
mod look;
mod people;
mod preparing;
mod set;
mod surroundings;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) use set::{claim_spec, parallel, retention, web};
use stead_api::defaults;
use stead_plan::statefulset::Action;

pub(crate) struct World {
    pub(crate) set: StatefulSet,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) claims: BTreeMap<String, PersistentVolumeClaim>,
    pub(crate) revisions: BTreeMap<String, ControllerRevision>,
    pub(crate) volumes: Vec<Arc<PersistentVolume>>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) classes: Vec<Arc<StorageClass>>,
    pub(crate) now: Timestamp,
    pub(crate) transcript: Vec<String>,
    pub(crate) events: Vec<String>,
    /// Images that nodes cannot get.
    pub(crate) missing: Vec<String>,
    /// Whether hooks fail.
    pub(crate) hooks_fail: bool,
    /// What the API refuses.
    pub(crate) refuses: fn(&Self, &Action) -> bool,
    serial: u64,
}

impl World {
    pub(crate) fn new(set: StatefulSet) -> Self {
        Self {
            set,
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            revisions: BTreeMap::new(),
            volumes: Vec::new(),
            nodes: Vec::new(),
            classes: vec![Arc::new(set::growing_class())],
            now: Timestamp::from_second(1_000_000).expect("a plain number of seconds"),
            transcript: Vec::new(),
            events: Vec::new(),
            missing: Vec::new(),
            hooks_fail: false,
            refuses: |_, _| false,
            serial: 0,
        }
    }

    /// A set of `replicas` replicas, all up.
    pub(crate) fn running(replicas: i32) -> Self {
        Self::up(web(replicas))
    }

    /// As [`World::running`], where replicas do not wait for each other.
    pub(crate) fn parallel(replicas: i32) -> Self {
        let mut set = web(replicas);
        parallel(set.spec.get_or_insert_default());
        Self::up(set)
    }

    /// One replica whose revision was written before a field had its default, so that its name is not what it would
    /// get today.
    pub(crate) fn before_a_default() -> Self {
        let mut set = web(1);
        defaults::pod_template_spec(&mut set.spec.get_or_insert_default().template);
        let mut world = Self::up(set);
        for revision in world.revisions.values_mut() {
            let data = revision.data.as_mut().expect("a revision has data");
            let pod = data.0["spec"]["template"]["spec"].as_object_mut().expect("a pod's spec is an object");
            pod.remove("dnsPolicy").expect("it was defaulted");
        }
        world
    }

    /// `set` with all its replicas up.
    pub(crate) fn up(set: StatefulSet) -> Self {
        let mut world = Self::new(set);
        world.run();
        world.tell();
        world
    }

    fn next(&mut self) -> String {
        self.serial += 1;
        self.serial.to_string()
    }
}

fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}
