//! A tiny cluster in memory for stories about one set: it applies what plans say, plays the node and
//! the collector, keeps a transcript, and checks the invariants of `quality.md` at every step.
#![allow(dead_code, reason = "each test binary uses its own part of this world")]

mod invariants;

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::Expect;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    ControllerRevision, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Node, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, Pod, PodCondition, PodSpec,
    PodStatus, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference, Time};
use stead_plan::ids::{Target, Uid};
use stead_plan::pods;
use stead_plan::statefulset::explain::explain;
use stead_plan::statefulset::ordinals::{Ordinal, pod_name};
use stead_plan::statefulset::revisions::{self, RevisionName};
use stead_plan::statefulset::wishes;
use stead_plan::statefulset::{self, Action, Observed, Plan, View, events, lint, render};

use invariants::{check_action, check_counts};

/// Plans in a row that a story may need before it must have come to rest.
const PLANS_MAX: usize = 200;

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
    serial: u64,
}

pub(crate) fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "web".to_owned())])
}

/// The class of all claims here; its volumes can grow.
fn growing_class() -> StorageClass {
    StorageClass {
        metadata: ObjectMeta { name: Some("standard".to_owned()), ..ObjectMeta::default() },
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    }
}

/// What a claim of `size` asks for.
pub(crate) fn claim_spec(size: &str) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: Some("standard".to_owned()),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size.to_owned()))])),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    }
}

/// A set called `web` with `replicas` replicas of image `a` and one claim template `data`.
pub(crate) fn web(replicas: i32) -> StatefulSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            containers: vec![Container { name: "web".to_owned(), image: Some("a".to_owned()), ..Container::default() }],
            ..PodSpec::default()
        }),
    };
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".to_owned()), ..ObjectMeta::default() },
        spec: Some(claim_spec("1Gi")),
        ..PersistentVolumeClaim::default()
    };
    StatefulSet {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some("set-1".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            service_name: Some("web".to_owned()),
            template,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            volume_claim_templates: Some(vec![claim]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
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
            classes: vec![Arc::new(growing_class())],
            now: Timestamp::from_second(1_000_000).expect("a plain number of seconds"),
            transcript: Vec::new(),
            events: Vec::new(),
            serial: 0,
        }
    }

    /// A set of `replicas` replicas, all up.
    pub(crate) fn running(replicas: i32) -> Self {
        Self::up(web(replicas))
    }

    /// `set` with all its replicas up.
    pub(crate) fn up(set: StatefulSet) -> Self {
        let mut world = Self::new(set);
        world.run();
        world.tell();
        world
    }

    // What users do.

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

    pub(crate) fn delete_claim(&mut self, name: &str) {
        let now = Time(self.now);
        let version = self.next();
        let claim = self.claims.get_mut(name).expect("the claim to delete exists");
        claim.metadata.resource_version = Some(version);
        claim.metadata.deletion_timestamp.get_or_insert(now);
        self.collect();
    }

    // What provisioners do.

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

    // What nodes do.

    fn status(&mut self, name: &str, change: impl FnOnce(&mut PodStatus, Timestamp)) {
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

    pub(crate) fn wait_s(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).expect("stories are short");
    }

    /// Everything a healthy node does next: ending pods end, the others become Ready.
    pub(crate) fn node(&mut self) -> bool {
        self.node_but(&[])
    }

    /// As [`World::node`], with some pods that never become Ready.
    pub(crate) fn node_but(&mut self, broken: &[&str]) -> bool {
        self.wait_s(2);
        let names: Vec<String> = self.pods.keys().cloned().collect();
        let mut changed = false;
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

    // The controller and the collector.

    /// One plan, carried out in full.
    pub(crate) fn sync(&mut self) -> Plan {
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "planning twice gives the same");
        let before = (self.pods.clone(), self.claims.clone());
        for action in plan.actions() {
            check_action(self, &before.0, action);
            self.apply(action);
        }
        for note in &plan.notes {
            self.event(note);
        }
        if plan.status_changed {
            self.set.status = Some(plan.status.clone());
        }
        check_counts(&plan.status);
        plan
    }

    /// What is decided now; the linter must find nothing wrong with it.
    pub(crate) fn plan(&self) -> Plan {
        let (view, plan) = self.decide();
        let flaws = lint::lint(&view, &plan, self.now);
        assert!(flaws.is_empty(), "{flaws:#?} in {plan:#?}");
        plan
    }

    /// What is seen, and what is decided.
    pub(crate) fn decide(&self) -> (View, Plan) {
        self.ask(|set, observed, now| (View::new(set, observed), statefulset::plan(set, observed, now)))
    }

    pub(crate) fn explain(&self) -> String {
        let text = self.ask(|set, observed, now| explain(set, observed, now).to_string());
        self.revisions.keys().fold(text, |text, name| text.replace(name.as_str(), &self.letter(name)))
    }

    fn ask<T>(&self, question: impl FnOnce(&StatefulSet, &Observed<'_>, Timestamp) -> T) -> T {
        let pods: Vec<_> = self.pods.values().cloned().map(Arc::new).collect();
        let claims: Vec<_> = self.claims.values().cloned().map(Arc::new).collect();
        let revisions: Vec<_> = self.revisions.values().cloned().map(Arc::new).collect();
        let observed = Observed {
            pods: &pods,
            claims: &claims,
            revisions: &revisions,
            volumes: &self.volumes,
            nodes: &self.nodes,
            classes: &self.classes,
        };
        question(&self.set, &observed, self.now)
    }

    /// Syncs until nothing is left to do without the world changing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..PLANS_MAX {
            if self.sync().is_empty() {
                return;
            }
        }
        panic!("no rest after {PLANS_MAX} plans: {:#?}", self.plan().batches);
    }

    /// Controller and node take turns until both have nothing to do.
    pub(crate) fn run(&mut self) {
        self.run_but(&[]);
    }

    /// As [`World::run`], with some pods that never become Ready.
    pub(crate) fn run_but(&mut self, broken: &[&str]) {
        for _ in 0..PLANS_MAX {
            self.settle();
            // A turn takes time, and time alone may give the controller something to do.
            if !self.node_but(broken) && self.plan().is_empty() {
                return;
            }
        }
        panic!("no rest after {PLANS_MAX} turns");
    }

    fn apply(&mut self, action: &Action) {
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
                render::rollback(&self.set, &revision, from).expect("the revision holds a patch");
                let template = revisions::template_of(&revision).expect("the revision holds a template");
                self.edit(|spec| spec.template = template);
                self.annotate(wishes::ROLLED_BACK, &from.0);
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
        let pod = Pod { metadata: self.created(pod.metadata), spec: pod.spec, status };
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

    fn written(&mut self, meta: ObjectMeta) -> ObjectMeta {
        ObjectMeta { resource_version: Some(self.next()), ..meta }
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

    // What stories look at.

    /// What was written since the last call, one line per action; a pod that goes and comes back next is
    /// one line, `replace web-2@b (outdated)`.
    pub(crate) fn tell(&mut self) -> String {
        let mut told: Vec<String> = Vec::new();
        for line in std::mem::take(&mut self.transcript) {
            match told.last().and_then(|before| replaced(before, &line)) {
                Some(both) => *told.last_mut().expect("there was a line before") = both,
                None => told.push(line),
            }
        }
        told.join("\n") + "\n"
    }

    /// Holds what was written since the last look against a story.
    pub(crate) fn told(&mut self, story: Expect) {
        story.assert_eq(&self.tell());
    }

    /// `web-0@a ready …`, one line per pod.
    pub(crate) fn show(&self) -> String {
        let line = |pod: &Pod| {
            let revision = pod.metadata.labels.as_ref().and_then(|labels| labels.get(statefulset::REVISION_LABEL));
            let state = if pods::is_terminating(pod) {
                "terminating"
            } else if pods::is_ready(pod) {
                "ready"
            } else {
                "not ready"
            };
            format!("{}@{} {state}\n", name(&pod.metadata), self.letter(revision.map_or("?", |label| label)))
        };
        self.pods.values().map(line).collect()
    }

    /// The counts of the status in one line.
    pub(crate) fn counts(&self) -> String {
        let status = self.set.status.clone().unwrap_or_default();
        let count = |count: Option<i32>| count.unwrap_or(0);
        format!(
            "replicas={} ready={} available={} current={}@{} updated={}@{}",
            status.replicas,
            count(status.ready_replicas),
            count(status.available_replicas),
            count(status.current_replicas),
            self.letter(status.current_revision.as_deref().unwrap_or("?")),
            count(status.updated_replicas),
            self.letter(status.update_revision.as_deref().unwrap_or("?")),
        )
    }

    pub(crate) fn waits(&self) -> Vec<String> {
        self.plan().waits.iter().map(ToString::to_string).collect()
    }

    /// `Blocked=True PodNotReady: web-2 is not running and ready`
    pub(crate) fn condition(&self, kind: &str) -> String {
        let conditions = self.set.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let found = conditions.into_iter().find(|condition| condition.type_ == kind);
        found.map_or_else(
            || format!("no {kind}"),
            |found| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let mut message = text(&found.message);
                for name in self.revisions.keys() {
                    message = message.replace(name.as_str(), &self.letter(name));
                }
                format!("{kind}={} {}: {message}", found.status, text(&found.reason))
            },
        )
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub(crate) fn uid(&self, pod: &str) -> String {
        self.pods[pod].metadata.uid.clone().unwrap_or_default()
    }

    /// `a:1 b:2`, the revisions by number.
    pub(crate) fn history(&self) -> String {
        let mut revisions: Vec<_> = self.revisions.values().collect();
        revisions.sort_by_key(|revision| revision.revision);
        let line = |revision: &&ControllerRevision| {
            format!("{}:{}", self.letter(&name(&revision.metadata)), revision.revision)
        };
        revisions.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    /// The image of a revision: short, and the same in every run.
    fn letter(&self, revision: &str) -> String {
        let template = self.revisions.get(revision).and_then(statefulset::revisions::template_of);
        let image = template.and_then(|template| template.spec?.containers.into_iter().next()?.image);
        image.unwrap_or_else(|| "?".to_owned())
    }

    fn line(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::ConfirmSet | Action::CreateRevision { .. } | Action::CreateClaim { .. } => return None,
            Action::AdoptRevision(target) => format!("adopt revision {}", self.letter(&target.name)),
            Action::AdoptPod(target) => format!("adopt {}", target.name),
            Action::RenumberRevision { target, number } => {
                format!("renumber {} to {number}", self.letter(&target.name))
            }
            Action::DeleteRevision(target) => format!("forget {}", self.letter(&target.name)),
            Action::ReleasePod(target) => format!("release {}", target.name),
            Action::OwnClaim { target, owner, .. } => match owner {
                statefulset::ClaimKeeper::Nobody => format!("own {}: nobody", target.name),
                statefulset::ClaimKeeper::Set => format!("own {}: set", target.name),
                statefulset::ClaimKeeper::Pod(_) => format!("own {}: pod", target.name),
            },
            Action::CreatePod { ordinal, revision } => {
                format!("create {}@{}", pod_name("web", *ordinal), self.letter(&revision.0))
            }
            Action::RelabelPod { target, .. } => format!("relabel {}", target.name),
            Action::DeletePod { target, why, .. } => format!("delete {} ({why:?})", target.name).to_lowercase(),
            Action::DeleteClaim { target, .. } => format!("delete {}", target.name),
            Action::GrowClaim { target, storage, .. } => format!("grow {} to {storage}", target.name),
            Action::Remember { .. } => return None,
            Action::RollBack { to, from } => format!("roll back {} to {}", self.letter(&from.0), self.letter(&to.0)),
        })
    }

    fn event(&mut self, note: &events::Note) {
        let kind = if note.warning { "Warning" } else { "Normal" };
        self.events.push(format!("{kind} {} {}", note.reason, note.message));
    }

    fn next(&mut self) -> String {
        self.serial += 1;
        self.serial.to_string()
    }
}

/// `delete web-2 (outdated)` and `create web-2@b` in one line.
fn replaced(before: &str, after: &str) -> Option<String> {
    let (pod, why) = before.strip_prefix("delete ")?.split_once(' ')?;
    let created = after.strip_prefix("create ")?;
    (created.split_once('@')?.0 == pod).then(|| format!("replace {created} {why}"))
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

fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}
