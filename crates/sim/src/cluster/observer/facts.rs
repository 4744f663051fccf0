//! The few facts of sets, pods and revisions that the rules are about.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use stead_api::preparation::{Answer, Outcome, Prefetch, Request};
use stead_plan::pods;
use stead_plan::revisions::alike;
use stead_plan::statefulset::ordinals::{Ordinal, OrdinalSet, Range};
use stead_plan::statefulset::revisions::{RevisionName, template_of};
use stead_plan::statefulset::views::{Observed, Strategy};
use stead_plan::statefulset::{View, wishes};
use tokio::time::Instant;

/// A StatefulSet as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetFact {
    pub(super) uid: String,
    pub(super) deleting: bool,
    pub(super) generation: i64,
    /// The ordinals wanted.
    pub(super) range: Range,
    pub(super) ordered: bool,
    pub(super) on_delete: bool,
    /// All old pods go before a new one comes.
    pub(super) recreate: bool,
    /// The first ordinal that is to be updated.
    pub(super) updated_from: i64,
    /// Whether nothing says that a lost replica returns at the update revision whatever the others do: the
    /// rollingUpdate block is absent.
    pub(super) takes_turns: bool,
    /// Whether replicas below the partition stay at what they were updated to.
    pub(super) holds: bool,
    pub(super) paused: bool,
    /// Where replicas of a paused set return that are not to return at the current revision.
    pub(super) lost_at: BTreeMap<RevisionName, OrdinalSet>,
    /// Whether a failed rollout is taken back.
    pub(super) rolls_back: bool,
    pub(super) template: Template,
    /// Whether a rollout may have to be called failed or be taken back.
    pub(super) watched: bool,
    /// Generations that replicas are to be made anew for.
    pub(super) resets: BTreeMap<Ordinal, String>,
    /// `maxUnavailable`; none is one after the other.
    pub(super) budget: Option<usize>,
    pub(super) min_ready: Duration,
    pub(super) keeps_claims: bool,
    /// Whether nodes that can be asked are, before a replica that is up goes.
    pub(super) asks_nodes: bool,
    pub(super) current: Option<String>,
    /// The newest revision, known from the ControllerRevisions.
    pub(super) update: Option<String>,
}

impl SetFact {
    pub(super) fn of(set: &StatefulSet, update: Option<String>) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let retention = spec.persistent_volume_claim_retention_policy.unwrap_or_default();
        let asked = View::new(set, &Observed::default()).set;
        let partition = rolling.partition.unwrap_or(0);
        let keeps = |policy: Option<String>| policy.is_none_or(|policy| policy == "Retain");
        let budget = match rolling.max_unavailable {
            Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(most)) => {
                usize::try_from(most.max(1)).ok()
            }
            _ => None,
        };
        Self {
            uid: set.metadata.uid.clone().unwrap_or_default(),
            deleting: set.metadata.deletion_timestamp.is_some(),
            generation: set.metadata.generation.unwrap_or(0),
            updated_from: asked.range.partition_end(partition).0.into(),
            range: asked.range,
            recreate: asked.strategy == Strategy::Recreate,
            takes_turns: matches!(asked.strategy, Strategy::RollingUpdate { partition: None, .. }),
            holds: asked.wishes.hold_on_raise,
            rolls_back: asked.wishes.auto_rollback,
            template: Template(Arc::new(spec.template)),
            asks_nodes: asked.wishes.prefetch != Prefetch::Off || asked.wishes.hook.is_some(),
            paused: asked.wishes.paused,
            watched: asked.wishes.watches_rollouts(),
            lost_at: asked.wishes.paused_replicas,
            resets: asked.wishes.resets,
            ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
            on_delete: strategy.type_.as_deref() == Some("OnDelete"),
            budget,
            min_ready: Duration::from_secs(spec.min_ready_seconds.unwrap_or(0).max(0).unsigned_abs().into()),
            keeps_claims: keeps(retention.when_deleted) && keeps(retention.when_scaled),
            current: set.status.as_ref().and_then(|status| status.current_revision.clone()),
            update,
        }
    }

    pub(super) fn in_range(&self, ordinal: i64) -> bool {
        self.range.contains(ordinal_of(ordinal))
    }

    /// The wanted ordinals, lowest first.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = i64> {
        self.range.ascending().map(|ordinal| i64::from(ordinal.0))
    }

    /// Where a replica of a paused set returns, if it is noted on the set.
    pub(super) fn lost_at(&self, ordinal: i64) -> Option<&str> {
        let noted = self.lost_at.iter().find(|(_, ordinals)| ordinals.contains(ordinal_of(ordinal)));
        noted.map(|(revision, _)| &*revision.0)
    }

    /// Whether the replica is to be made anew although nothing is wrong with this pod.
    pub(super) fn resets(&self, pod: &PodFact) -> bool {
        self.resets.get(&ordinal_of(pod.ordinal)).is_some_and(|wanted| pod.reset.as_ref() != Some(wanted))
    }
}

fn ordinal_of(ordinal: i64) -> Ordinal {
    Ordinal(i32::try_from(ordinal).unwrap_or(i32::MAX))
}

/// The pod template of a set.
#[derive(Clone, Debug)]
pub(super) struct Template(Arc<PodTemplateSpec>);

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

// No field of it is unequal to itself.
impl Eq for Template {}

/// A ControllerRevision.
#[derive(Clone, Debug)]
pub(super) struct RevisionFact {
    pub(super) owner: String,
    pub(super) number: i64,
    pub(super) made: Option<Timestamp>,
    /// None when it holds something else.
    template: Option<PodTemplateSpec>,
}

impl RevisionFact {
    pub(super) fn of(revision: &ControllerRevision) -> Self {
        let owner = pods::controller_of(&revision.metadata).map(|owner| owner.uid.clone());
        Self {
            owner: owner.unwrap_or_default(),
            number: revision.revision,
            made: revision.metadata.creation_timestamp.as_ref().map(|time| time.0),
            template: template_of(revision),
        }
    }

    /// The image of its pods.
    pub(super) fn image(&self) -> Option<&str> {
        image(self.template.as_ref()?.spec.as_ref()?)
    }

    /// Whether it holds this template.
    pub(super) fn holds(&self, template: &Template) -> bool {
        self.template.as_ref().is_some_and(|own| alike(own, &template.0))
    }

    /// Whether it holds the same template as the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.template.as_ref().zip(other.template.as_ref()).is_some_and(|(own, other)| alike(own, other))
    }
}

/// A pod of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodFact {
    pub(super) uid: String,
    /// UID of the owning set; empty for an orphan.
    pub(super) owner: String,
    pub(super) ordinal: i64,
    pub(super) terminating: bool,
    pub(super) terminal: bool,
    /// Running and Ready, and since when that is known.
    pub(super) ready_since: Option<Instant>,
    /// Name of its revision.
    pub(super) revision: Option<String>,
    pub(super) image: Option<String>,
    pub(super) node: Option<String>,
    pub(super) ip: Option<IpAddr>,
    /// The revision that its node has made ready for.
    pub(super) prepared: Option<String>,
    /// The generation it was made anew for.
    pub(super) reset: Option<String>,
}

impl PodFact {
    /// None when the pod is neither a set's nor was one's.
    pub(super) fn of(pod: &Pod, before: Option<&Self>) -> Option<Self> {
        let owner = pods::controller_of(&pod.metadata);
        let labels = pod.metadata.labels.as_ref();
        let made_by_set = labels.is_some_and(|labels| labels.contains_key("statefulset.kubernetes.io/pod-name"));
        if !made_by_set || owner.is_some_and(|owner| owner.kind != "StatefulSet") {
            return None;
        }
        let ordinal = pod.metadata.name.as_deref()?.rsplit_once('-')?.1.parse().ok()?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let ready = pods::is_ready(pod) && pods::phase(pod) == pods::Phase::Running;
        let known = before.filter(|before| before.uid == uid).and_then(|before| before.ready_since);
        let label = labels.and_then(|labels| labels.get("controller-revision-hash"));
        Some(Self {
            uid,
            owner: owner.map(|owner| owner.uid.clone()).unwrap_or_default(),
            ordinal,
            terminating: pods::is_terminating(pod),
            terminal: pods::phase(pod).is_terminal(),
            ready_since: ready.then(|| known.unwrap_or_else(Instant::now)),
            revision: label.cloned(),
            image: pod.spec.as_ref().and_then(image).map(str::to_owned),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ip: pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).and_then(|ip| ip.parse().ok()),
            prepared: prepared(pod),
            reset: pod.metadata.annotations.as_ref().and_then(|all| all.get(wishes::RESET_GENERATION).cloned()),
        })
    }
}

/// The image of a pod's first container: what tells templates apart here.
pub(crate) fn image(spec: &PodSpec) -> Option<&str> {
    spec.containers.first()?.image.as_deref()
}

/// The revision in the request on a pod, if its node has answered this very request and has done everything.
fn prepared(pod: &Pod) -> Option<String> {
    let request = Request::of(&pod.metadata)?;
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let answer = Answer::among(conditions)?;
    (answer.id == request.id && answer.outcome == Outcome::Done).then_some(request.revision)
}
