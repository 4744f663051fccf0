//! The model's objects as they go over the wire, so that the planner is asked exactly as the controller
//! asks it, and its answers read back. Nothing else knows both.

mod acts;
mod annotations;
mod claims;
mod pods;
mod rollouts;
mod sets;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod as WirePod, PodTemplateSpec};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use stead_plan::pods::controller_reference;
use stead_plan::statefulset::ordinals::Ordinal;
use stead_plan::statefulset::revisions::RevisionName;
use stead_plan::statefulset::{self, View, render};

use super::objects::{Objects, Owner, Revision, SLOTS, Stamp, TEMPLATES};
use super::preparing;
pub(crate) use rollouts::{aged, has_ended, is_young};
use sets::{prototype, template};

const SET: &str = "web";
const CLAIM: &str = "data";
/// `minReadySeconds`, where there is one.
const MIN_READY_S: i32 = 10;

/// Seconds since before any revision was made; they are made one second after the other.
const MADE_S: i64 = 10_000;

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

    fn revision(&self, template: usize, revision: &Revision) -> ControllerRevision {
        let mut wire = self.revisions[template].clone();
        stamp(&mut wire.metadata, revision.uid, revision.version, false);
        wire.metadata.owner_references = owners(revision.owner);
        wire.metadata.creation_timestamp = Some(ago(MADE_S - i64::from(revision.made)));
        wire.revision = revision.number.into();
        wire
    }

    fn name_of(&self, template: u8) -> RevisionName {
        RevisionName(self.revisions[usize::from(template)].metadata.name.clone().unwrap_or_default())
    }

    /// The template that a revision name stands for.
    pub(crate) fn template_called(&self, name: &str) -> Option<u8> {
        let index = self.revisions.iter().position(|revision| revision.metadata.name.as_deref() == Some(name))?;
        u8::try_from(index).ok()
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
    controller_reference(api_version, kind, &owner)
}

fn uid_text(uid: Stamp) -> String {
    format!("uid-{}", uid.0)
}

fn uid_of(text: &str) -> Option<Stamp> {
    text.strip_prefix("uid-")?.parse().ok().map(Stamp)
}

fn ordinal(slot: usize) -> Ordinal {
    Ordinal(i32::try_from(slot).expect("invariant: a handful of slots"))
}

fn slot_of(ordinal: Ordinal) -> Option<u8> {
    u8::try_from(ordinal.0).ok().filter(|slot| usize::from(*slot) < SLOTS)
}
