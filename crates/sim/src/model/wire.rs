//! The model's objects as they go over the wire, so that the planner is asked exactly as the controller
//! asks it, and its answers read back. The only file that knows both.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    ControllerRevision, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetCondition, StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, Node, PersistentVolumeClaim, Pod as WirePod, PodCondition, PodSpec, PodStatus, PodTemplateSpec, Probe,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_plan::ids::{Target as WireTarget, Uid};
use stead_plan::pods;
use stead_plan::statefulset::ordinals::{Ordinal, claim_ordinal_of, ordinal_of};
use stead_plan::statefulset::revisions::RevisionName;
use stead_plan::statefulset::{self, Action, ClaimKeeper, Removal, View, render};

use super::objects::{Going, Life, Objects, Owner, Pod, Revision, SLOTS, Set, Spec, Stamp, Strategy, TEMPLATES};
use super::preparing;
use super::state::{Act, Given, Target, Why};

mod annotations;
mod claims;

const SET: &str = "web";
const CLAIM: &str = "data";
/// `minReadySeconds`, where there is one.
const MIN_READY_S: i32 = 10;

/// The instant at which every plan is made: time passes by pods getting older.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("invariant: a plain number of seconds")
}

fn ago(seconds: i64) -> Time {
    Time(now().saturating_sub(SignedDuration::from_secs(seconds)).expect("invariant: a span of seconds"))
}

/// Everything observed around a set, as the planner is given it.
pub(crate) struct Observed {
    pub(crate) set: StatefulSet,
    pub(crate) pods: Vec<Arc<WirePod>>,
    pub(crate) claims: Vec<Arc<PersistentVolumeClaim>>,
    pub(crate) revisions: Vec<Arc<ControllerRevision>>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) classes: Vec<Arc<StorageClass>>,
}

/// Prototypes of all objects, rendered once by the product.
pub(crate) struct Wire {
    set: StatefulSet,
    templates: [PodTemplateSpec; TEMPLATES],
    revisions: [ControllerRevision; TEMPLATES],
    pods: [[WirePod; TEMPLATES]; SLOTS],
    claims: [PersistentVolumeClaim; SLOTS],
    /// Whether nodes can be asked to make ready for a replacement.
    prepares: bool,
}

impl Wire {
    /// `probed` says whether a probe tells when a pod is Ready, `prepares` whether nodes can be asked something.
    pub(crate) fn new(probed: bool, prepares: bool) -> Self {
        let templates = ["a", "b", "c"].map(|image| template(image, probed));
        let set = prototype(&templates[0]);
        let revisions = templates.clone().map(|template| {
            let mut set = set.clone();
            set.spec.get_or_insert_default().template = template;
            let nothing = statefulset::Observed::default();
            let written = View::new(&set, &nothing).template;
            render::revision(&set, &written.name, &written.hash, 1)
        });
        let name = |template: usize| RevisionName(revisions[template].metadata.name.clone().unwrap_or_default());
        let pods = std::array::from_fn(|slot| {
            std::array::from_fn(|number| render::pod(&set, &templates[number], &name(number), ordinal(slot)))
        });
        let claims = std::array::from_fn(|slot| {
            render::claim(&set, CLAIM, ordinal(slot)).expect("invariant: the prototype has this claim template")
        });
        Self { set, templates, revisions, pods, claims, prepares }
    }

    /// What a cache that shows `objects` shows; none without a set.
    pub(crate) fn observed(&self, objects: &Objects, status: Option<StatefulSetStatus>) -> Option<Observed> {
        let pods = objects.pods.iter().enumerate().filter_map(|(slot, pod)| Some(self.pod(slot, pod.as_ref()?)));
        let claims =
            objects.claims.iter().enumerate().filter_map(|(slot, claim)| Some(self.claim(slot, claim.as_ref()?)));
        let revisions = objects.revisions.iter().enumerate();
        let revisions = revisions.filter_map(|(number, revision)| Some(self.revision(number, revision.as_ref()?)));
        Some(Observed {
            set: self.set(objects.set.as_ref()?, status),
            pods: pods.map(Arc::new).collect(),
            claims: claims.map(Arc::new).collect(),
            revisions: revisions.map(Arc::new).collect(),
            nodes: if self.prepares { preparing::nodes() } else { Vec::new() },
            classes: vec![Arc::new(claims::class())],
        })
    }

    /// The set with `status`.
    pub(crate) fn set(&self, set: &Set, status: Option<StatefulSetStatus>) -> StatefulSet {
        let Set { uid, version, generation, going, spec, notes, status: _ } = *set;
        let mut wire = self.set.clone();
        wire.metadata.uid = Some(uid_text(uid));
        wire.metadata.resource_version = Some(version.0.to_string());
        wire.metadata.generation = Some(generation.into());
        wire.metadata.deletion_timestamp = (going != Going::No).then(|| ago(1));
        wire.metadata.annotations = Some(annotations::of(&spec.wishes, &notes, |template| self.name_of(template)));
        if self.prepares {
            let hook = (statefulset::wishes::PREPARE_HOOK.to_owned(), preparing::HOOK.to_owned());
            wire.metadata.annotations.get_or_insert_default().extend([hook]);
        }
        wire.status = status;
        let retention = |delete: bool| Some(if delete { "Delete" } else { "Retain" }.to_owned());
        wire.spec = Some(StatefulSetSpec {
            replicas: Some(spec.replicas.into()),
            ordinals: Some(StatefulSetOrdinals { start: Some(spec.start.into()) }),
            pod_management_policy: Some(if spec.parallel { "Parallel" } else { "OrderedReady" }.to_owned()),
            update_strategy: Some(strategy(spec)),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: retention(spec.deleted_delete),
                when_scaled: retention(spec.scaled_delete),
            }),
            min_ready_seconds: spec.min_ready.then_some(MIN_READY_S),
            revision_history_limit: Some(spec.history_limit.into()),
            template: self.templates[usize::from(spec.template)].clone(),
            volume_claim_templates: Some(vec![claims::template(CLAIM, spec.storage)]),
            ..wire.spec.take().unwrap_or_default()
        });
        wire
    }

    fn pod(&self, slot: usize, pod: &Pod) -> WirePod {
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

    fn revision(&self, template: usize, revision: &Revision) -> ControllerRevision {
        let mut wire = self.revisions[template].clone();
        stamp(&mut wire.metadata, revision.uid, revision.version, false);
        wire.metadata.owner_references = owners(revision.owner);
        wire.revision = revision.number.into();
        wire
    }

    fn name_of(&self, template: u8) -> RevisionName {
        RevisionName(self.revisions[usize::from(template)].metadata.name.clone().unwrap_or_default())
    }

    /// The generation that a pod of `slot` is made for, read off the pod the product renders.
    pub(crate) fn pod_made_for(&self, set: &Set, slot: usize) -> u8 {
        let (template, name) = (&self.templates[usize::from(set.spec.template)], self.name_of(set.spec.template));
        let pod = render::pod(&self.set(set, None), template, &name, ordinal(slot));
        annotations::generation(&pod.metadata)
    }

    /// The template that a revision name stands for.
    pub(crate) fn template_called(&self, name: &str) -> Option<u8> {
        let index = self.revisions.iter().position(|revision| revision.metadata.name.as_deref() == Some(name))?;
        u8::try_from(index).ok()
    }

    /// The action in the model's terms; none when it is about nothing that exists in the model.
    pub(crate) fn act(&self, set: &Set, action: &Action) -> Option<Act> {
        let revision = |target: &WireTarget| Some(read(target, self.template_called(&target.name)?));
        let pod = |target: &WireTarget| Some(read(target, slot_of(ordinal_of(SET, &target.name)?)?));
        let claim = |target: &WireTarget| Some(read(target, slot_of(claim_ordinal_of(CLAIM, SET, &target.name)?)?));
        Some(match action {
            Action::ConfirmSet => Act::Confirm,
            Action::AdoptRevision(target) => Act::AdoptRevision(revision(target)?),
            Action::CreateRevision { name, number, .. } => {
                Act::CreateRevision { template: self.template_called(&name.0)?, number: u8::try_from(*number).ok()? }
            }
            Action::RenumberRevision { target, number } => {
                Act::Renumber(revision(target)?, u8::try_from(*number).ok()?)
            }
            Action::DeleteRevision(target) => Act::DeleteRevision(revision(target)?),
            Action::AdoptPod(target) => Act::AdoptPod(pod(target)?),
            Action::ReleasePod(target) => Act::ReleasePod(pod(target)?),
            Action::RelabelPod { target, .. } => Act::Relabel(pod(target)?),
            Action::Prepare { target, revision, .. } => Act::Prepare(pod(target)?, self.template_called(&revision.0)?),
            Action::Withdraw { target, .. } => Act::Withdraw(pod(target)?),
            Action::OwnClaim { target, owner, .. } => Act::OwnClaim(claim(target)?, given(owner)?),
            Action::CreateClaim { ordinal, .. } => Act::CreateClaim { slot: slot_of(*ordinal)? },
            Action::CreatePod { ordinal, revision } => {
                Act::CreatePod { slot: slot_of(*ordinal)?, template: self.template_called(&revision.0)? }
            }
            Action::DeletePod { target, why, .. } => Act::DeletePod(pod(target)?, reason(*why)?),
            Action::DeleteClaim { target, .. } => Act::DeleteClaim(claim(target)?),
            Action::GrowClaim { target, storage, .. } => Act::GrowClaim(claim(target)?, claims::size_of(storage)?),
            Action::Remember { key, value } => Act::Remember(self.noted(set, key, value.as_ref())?),
            Action::RollBack { to, from } => Act::RollBack {
                set: Target { slot: 0, uid: Some(set.uid), version: Some(set.version) },
                to: self.template_called(&to.0)?,
                from: self.template_called(&from.0)?,
            },
        })
    }
}

/// The condition Progressing of a rollout under way.
fn rolling(status: &StatefulSetStatus) -> Option<usize> {
    let rolls = |condition: &StatefulSetCondition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("RollingOut")
    };
    status.conditions.iter().flatten().position(rolls)
}

/// Whether `status` says that a rollout has come to its end.
pub(crate) fn has_ended(status: &StatefulSetStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.reason.as_deref() == Some("RolloutComplete"))
}

/// Whether `status` says that a rollout has begun just now.
pub(crate) fn is_young(status: &StatefulSetStatus) -> bool {
    let since = rolling(status).and_then(|at| status.conditions.as_ref()?[at].last_transition_time.as_ref());
    since.is_some_and(|since| since.0 == now())
}

/// `status` as it is when the deadline of a rollout has passed since.
pub(crate) fn aged(status: &StatefulSetStatus) -> StatefulSetStatus {
    let mut status = status.clone();
    if let (Some(at), Some(conditions)) = (rolling(&status), &mut status.conditions) {
        conditions[at].last_transition_time = Some(ago(2 * i64::from(annotations::DEADLINE_S)));
    }
    status
}

fn template(image: &str, probed: bool) -> PodTemplateSpec {
    let container = Container {
        name: SET.to_owned(),
        image: Some(image.to_owned()),
        readiness_probe: probed.then(Probe::default),
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), SET.to_owned())])
}

fn prototype(template: &PodTemplateSpec) -> StatefulSet {
    StatefulSet {
        metadata: ObjectMeta {
            name: Some(SET.to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(StatefulSetSpec {
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            service_name: Some(SET.to_owned()),
            template: template.clone(),
            volume_claim_templates: Some(vec![claims::template(CLAIM, 1)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn strategy(spec: Spec) -> StatefulSetUpdateStrategy {
    let of = |type_: &str, rolling_update| StatefulSetUpdateStrategy { type_: Some(type_.to_owned()), rolling_update };
    match spec.strategy {
        Strategy::OnDelete => of("OnDelete", None),
        Strategy::Recreate => of("Recreate", None),
        Strategy::Plain => of("RollingUpdate", None),
        Strategy::Block { partition, unavailable_max } => {
            let max_unavailable = unavailable_max.map(|max| IntOrString::Int(max.into()));
            let partition = Some(partition.into());
            of("RollingUpdate", Some(RollingUpdateStatefulSetStrategy { max_unavailable, partition }))
        }
    }
}

fn stamp(meta: &mut ObjectMeta, uid: Stamp, version: Stamp, terminating: bool) {
    meta.uid = Some(uid_text(uid));
    meta.resource_version = Some(version.0.to_string());
    meta.deletion_timestamp = terminating.then(|| ago(1));
}

fn owners(owner: Owner) -> Option<Vec<OwnerReference>> {
    match owner {
        Owner::Set(uid) => Some(vec![reference(statefulset::API_VERSION, statefulset::KIND, SET, uid_text(uid))]),
        Owner::Nobody => None,
        Owner::Other => Some(vec![reference("v1", "ConfigMap", "other", "other".to_owned())]),
    }
}

fn reference(api_version: &str, kind: &str, name: &str, uid: String) -> OwnerReference {
    let owner = ObjectMeta { name: Some(name.to_owned()), uid: Some(uid), ..ObjectMeta::default() };
    pods::controller_reference(api_version, kind, &owner)
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

fn uid_text(uid: Stamp) -> String {
    format!("uid-{}", uid.0)
}

fn uid_of(text: &str) -> Option<Stamp> {
    text.strip_prefix("uid-")?.parse().ok().map(Stamp)
}

fn read(target: &WireTarget, slot: u8) -> Target {
    Target { slot, uid: uid_of(&target.uid.0), version: target.resource_version.0.parse().ok().map(Stamp) }
}

fn given(owner: &ClaimKeeper) -> Option<Given> {
    Some(match owner {
        ClaimKeeper::Nobody => Given::Nobody,
        ClaimKeeper::Set => Given::Set,
        ClaimKeeper::Pod(Uid(uid)) => Given::Pod(uid_of(uid)?),
    })
}

fn reason(why: Removal) -> Option<Why> {
    Some(match why {
        Removal::Ended => Why::Ended,
        Removal::Condemned => Why::Condemned,
        Removal::Outdated => Why::Outdated,
        Removal::Broken => Why::Broken,
        Removal::Reset => Why::Reset,
    })
}

fn ordinal(slot: usize) -> Ordinal {
    Ordinal(i32::try_from(slot).expect("invariant: a handful of slots"))
}

fn slot_of(ordinal: Ordinal) -> Option<u8> {
    u8::try_from(ordinal.0).ok().filter(|slot| usize::from(*slot) < SLOTS)
}
