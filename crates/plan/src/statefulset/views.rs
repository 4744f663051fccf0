//! The small world a plan is made from: the few facts of the set, its pods, claims and revisions that
//! decisions depend on, taken from the wire types in this one place. Everything here is ordinary
//! data that can be compared and hashed, so that states can be enumerated.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use super::claim_list::ClaimList;
use super::claim_views::claim_view;
pub use super::claim_views::{ClaimOwner, ClaimView, Size};
use super::conditions::StoredProgress;
use super::memory::{Lens, Memory};
use super::ordinals::{self, Ordinal, Range};
pub use super::preparing::{Preparation, Terms};
use super::reach::Reach;
use super::revisions::{self, RevisionLabel, RevisionName, RevisionView, TemplateView};
use super::wishes::{self, Wishes};
use crate::ids::{Target, Uid};
use crate::pods::{self, Phase};
use crate::shares::Share;
use crate::{labels, statefulset};

/// What is observed of the namespace of a set, from one snapshot. Objects of others may be among
/// them: they are told apart here.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// Pods.
    pub pods: &'a [Arc<Pod>],
    /// Claims.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// Revisions.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// Volumes: where the data of the claims are.
    pub volumes: &'a dyn Volumes,
    /// Nodes. Without any, no volume counts as lost and no node can be asked anything.
    pub nodes: &'a [Arc<Node>],
    /// Storage classes: which claims can grow.
    pub classes: &'a [Arc<StorageClass>],
}

impl Default for Observed<'_> {
    fn default() -> Self {
        Self { pods: &[], claims: &[], revisions: &[], volumes: &NO_VOLUMES, nodes: &[], classes: &[] }
    }
}

static NO_VOLUMES: Vec<Arc<PersistentVolume>> = Vec::new();

/// Where volumes are looked up: there may be many, and few matter to one set.
pub trait Volumes: Sync {
    /// The volume called `name`.
    fn named(&self, name: &str) -> Option<Arc<PersistentVolume>>;
}

impl Volumes for Vec<Arc<PersistentVolume>> {
    fn named(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.iter().find(|volume| volume.metadata.name.as_deref() == Some(name)).cloned()
    }
}

/// `spec.podManagementPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Management {
    /// One at a time, each waits for those before it.
    OrderedReady,
    /// All at once.
    Parallel,
}

/// `spec.updateStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Pods take the new revision when somebody deletes them.
    OnDelete,
    /// Pods are replaced from the highest ordinal down.
    RollingUpdate {
        /// Replicas left out, counted from the first; none when the block is absent (A3).
        partition: Option<i32>,
        /// Pods that may be down at once; none is one after the other (L2).
        unavailable_max: Option<i32>,
    },
    /// All pods go before the first one comes at the new revision (V).
    Recreate,
}

/// One half of `spec.persistentVolumeClaimRetentionPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retention {
    /// Claims stay.
    Retain,
    /// Claims go with what needed them.
    Delete,
}

/// The set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetView {
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: Uid,
    /// `metadata.generation`
    pub generation: i64,
    /// Whether deletion was asked for.
    pub deleting: bool,
    /// The ordinals wanted.
    pub range: Range,
    /// Ordered or parallel.
    pub management: Management,
    /// How revisions are rolled out.
    pub strategy: Strategy,
    /// What its annotations ask for.
    pub wishes: Wishes,
    /// Seconds a pod must be Ready to count as available.
    pub min_ready_s: i32,
    /// What happens to claims when the set goes.
    pub when_deleted: Retention,
    /// What happens to claims when their replica goes.
    pub when_scaled: Retention,
    /// Names of the claim templates.
    pub claim_templates: Vec<String>,
    /// Revisions kept beyond the live ones; negative keeps all.
    pub history_limit: i32,
    /// `status.currentRevision` as stored.
    pub current_revision: Option<RevisionName>,
    /// What the stored status says of the last rollout.
    pub progress: StoredProgress,
}

/// Whose a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// This set's.
    This,
    /// Nobody's.
    Nobody,
    /// Somebody else's.
    Other,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodView {
    /// Which pod, exactly.
    pub target: Target,
    /// Its number in the set, if its name is one the set gives.
    pub ordinal: Option<Ordinal>,
    /// Whose it is.
    pub owner: Owner,
    /// Whether its labels satisfy the set's selector.
    pub selected: bool,
    /// Whether deletion was asked for.
    pub terminating: bool,
    /// Its phase.
    pub phase: Phase,
    /// Since when it is Ready, if it is.
    pub ready_since: Option<Timestamp>,
    /// Whether this incarnation ever stood ([`pods::ever_stood`]).
    pub ever_stood: bool,
    /// From when on it is steady again, after a short run ([`pods::steady_at`]).
    pub steady_at: Option<Timestamp>,
    /// Whether being Ready means that a probe said so.
    pub probed: bool,
    /// Its `controller-revision-hash` label.
    pub revision: Option<RevisionLabel>,
    /// Whether its labels carry its identity (D5).
    pub identity_ok: bool,
    /// Whether it mounts the claims of its ordinal (E3).
    pub storage_ok: bool,
    /// Since when it is as ready as it is; of a terminating one, by when it should be gone.
    pub since: Option<Timestamp>,
    /// Whether it is to be updated last ([`wishes::UPDATE_LAST`]).
    pub last: bool,
    /// The generation of a reset that it was made for ([`wishes::RESET_GENERATION`]).
    pub reset: Option<String>,
    /// How far its node is with making ready for its replacement.
    pub preparation: Preparation,
}

impl PodView {
    /// Running and Ready.
    pub fn running_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready_since.is_some()
    }

    /// When the pod counts as available, if it is Running and Ready (N1).
    pub fn available_at(&self, min_ready_s: i32) -> Option<Timestamp> {
        self.ready_since.filter(|_| self.phase == Phase::Running).map(|since| pods::later(since, min_ready_s))
    }

    /// Whether the pod is available now.
    pub fn available(&self, min_ready_s: i32, now: Timestamp) -> bool {
        self.available_at(min_ready_s).is_some_and(|at| at <= now)
    }
}

/// Everything a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The set.
    pub set: SetView,
    /// Pods that are the set's, could become it, or stand on a name it needs.
    pub pods: Vec<Arc<PodView>>,
    /// Existing claims of the set.
    pub claims: ClaimList,
    /// Revisions that are the set's or could become it, oldest first (H4).
    pub revisions: Vec<RevisionView>,
    /// The set's template as a revision.
    pub template: TemplateView,
}

impl View {
    /// The view of `set` and of what is observed around it.
    pub fn new(set: &StatefulSet, observed: &Observed<'_>) -> Self {
        Self::remembering(set, observed, &mut Memory::default())
    }

    /// The same, with the views of objects that have not changed since `memory` last saw them taken from
    /// there.
    pub fn remembering(set: &StatefulSet, observed: &Observed<'_>, memory: &mut Memory) -> Self {
        let view = set_view(set);
        let preparing = preparing_nodes(observed);
        memory.look_through(Lens::of(set, &view, observed, &preparing));
        let pods = memory.pods.views(observed.pods, |pod| pod_view(set, &view, &preparing, pod).map(Arc::new));
        let pods: Vec<_> = pods.collect();
        let claims = memory.claims.views(observed.claims, |claim| claim_view(set, &view, observed, claim));
        let placed = placed(&pods);
        let mut reach = Reach::of(observed.nodes);
        let claims = claims.map(|(claim, seen)| seen.now(claim, observed, &view.range, &placed, &mut reach)).collect();
        let pods = pods.into_iter().map(|(_, pod)| pod).collect();
        let data = memory.data_of(set);
        let revisions = revisions::views(set, &data, observed.revisions);
        let template = revisions::template_view(set, &data, observed.revisions);
        Self { set: view, pods, claims, revisions, template }
    }
}

/// The nodes of pods that can be asked to make ready for a replacement.
fn preparing_nodes<'a>(observed: &Observed<'a>) -> BTreeSet<&'a str> {
    let name = |node: &'a Arc<Node>| node.metadata.name.as_deref();
    observed.nodes.iter().filter(|node| statefulset::prepares(node)).filter_map(name).collect()
}

/// The ordinals whose pod has a node, lowest first.
fn placed(pods: &[(&Arc<Pod>, Arc<PodView>)]) -> Vec<Ordinal> {
    let has_node = |pod: &Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node.is_some_and(|node| !node.is_empty())
    };
    let placed = pods.iter().filter(|(pod, _)| has_node(pod));
    let mut placed: Vec<Ordinal> = placed.filter_map(|(_, view)| view.ordinal).collect();
    placed.sort_unstable();
    placed
}

/// Whether replicas wait for each other.
pub(super) fn management(set: &StatefulSet) -> Management {
    match set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref()) {
        Some("Parallel") => Management::Parallel,
        Some(_) | None => Management::OrderedReady,
    }
}

/// The set alone.
pub(super) fn set_view(set: &StatefulSet) -> SetView {
    let meta = &set.metadata;
    let empty = StatefulSetSpec::default();
    let spec = set.spec.as_ref().unwrap_or(&empty);
    let replicas = spec.replicas.unwrap_or(1);
    let retention = spec.persistent_volume_claim_retention_policy.as_ref();
    let (wishes, reserved) = wishes::read(meta);
    SetView {
        name: meta.name.clone().unwrap_or_default(),
        uid: Uid(meta.uid.clone().unwrap_or_default()),
        generation: meta.generation.unwrap_or(0),
        deleting: meta.deletion_timestamp.is_some(),
        range: Range {
            start: spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0),
            replicas,
            reserved,
        },
        management: management(set),
        strategy: strategy(spec.update_strategy.as_ref(), replicas),
        wishes,
        min_ready_s: spec.min_ready_seconds.unwrap_or(0),
        when_deleted: retention_of(retention.and_then(|policy| policy.when_deleted.as_deref())),
        when_scaled: retention_of(retention.and_then(|policy| policy.when_scaled.as_deref())),
        claim_templates: claim_templates(spec),
        history_limit: spec.revision_history_limit.unwrap_or(10),
        current_revision: set
            .status
            .as_ref()
            .and_then(|status| status.current_revision.clone())
            .filter(|name| !name.is_empty())
            .map(RevisionName),
        progress: StoredProgress::of(set.status.as_ref()),
    }
}

fn strategy(strategy: Option<&StatefulSetUpdateStrategy>, replicas: i32) -> Strategy {
    match strategy.and_then(|strategy| strategy.type_.as_deref()) {
        Some("OnDelete") => return Strategy::OnDelete,
        Some("Recreate") => return Strategy::Recreate,
        Some(_) | None => {}
    }
    let block = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    Strategy::RollingUpdate {
        partition: block.map(|block| block.partition.unwrap_or(0)),
        unavailable_max: block
            .and_then(|block| block.max_unavailable.as_ref())
            .map(|value| Share::of(value).rounded_down(replicas).max(1)),
    }
}

fn retention_of(value: Option<&str>) -> Retention {
    match value {
        Some("Delete") => Retention::Delete,
        Some(_) | None => Retention::Retain,
    }
}

fn claim_templates(spec: &StatefulSetSpec) -> Vec<String> {
    let templates = spec.volume_claim_templates.iter().flatten();
    templates.map(|template| template.metadata.name.clone().unwrap_or_default()).collect()
}

pub(super) fn pod_view(set: &StatefulSet, view: &SetView, preparing: &BTreeSet<&str>, pod: &Pod) -> Option<PodView> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let ordinal = ordinals::ordinal_of(&view.name, name);
    let owner = owner_of(&pod.metadata, &view.uid);
    if ordinal.is_none() && owner != Owner::This {
        return None;
    }
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    let labels = pod.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    Some(PodView {
        target: Target::of(&pod.metadata),
        ordinal,
        owner,
        selected: selector.is_some_and(|selector| labels::matches(selector, labels)),
        terminating: pods::is_terminating(pod),
        phase: pods::phase(pod),
        ready_since: pods::ready_since(pod),
        ever_stood: pods::ever_stood(pod),
        steady_at: pods::steady_at(pod),
        probed: pods::has_readiness_probe(pod),
        revision: label(statefulset::REVISION_LABEL).cloned().map(RevisionLabel),
        identity_ok: label(statefulset::POD_NAME_LABEL).is_some_and(|value| value == name),
        storage_ok: ordinal.is_none_or(|ordinal| mounts_its_claims(view, ordinal, pod)),
        since: since(pod),
        last: view.wishes.update_last.as_ref().is_some_and(|(key, value)| label(key) == Some(value)),
        reset: pod.metadata.annotations.as_ref().and_then(|own| own.get(wishes::RESET_GENERATION)).cloned(),
        preparation: Preparation::of(pod, preparing),
    })
}

fn since(pod: &Pod) -> Option<Timestamp> {
    let of_meta = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    of_meta.or_else(|| pods::readiness_changed(pod)).or_else(created)
}

fn owner_of(meta: &ObjectMeta, uid: &Uid) -> Owner {
    match pods::controller_of(meta) {
        None => Owner::Nobody,
        Some(owner) if owner.uid == uid.0 => Owner::This,
        Some(_) => Owner::Other,
    }
}

fn mounts_its_claims(view: &SetView, ordinal: Ordinal, pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    view.claim_templates.iter().all(|template| {
        let wanted = ordinals::claim_name(template, &view.name, ordinal);
        let volume = volumes.iter().find(|volume| volume.name == *template);
        volume
            .and_then(|volume| volume.persistent_volume_claim.as_ref())
            .is_some_and(|claim| claim.claim_name == wanted)
    })
}
