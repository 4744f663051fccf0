//! The ReplicaSets of a Deployment: whose they are, which is the new one, what they are called and
//! annotated with, and which are history (contract 1A, 1.16, 1.17).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Action, HASH_LABEL, Observed, REVISION, Step, Strategy, Want, reference};
use crate::ids::Target;
use crate::{labels, pods, revisions};

const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations of a Deployment that are not its sets'.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// Longest `revision-history` annotation, in characters.
const HISTORY_MAX: usize = 2000;
/// Longest object name.
const NAME_MAX: usize = 253;
/// Names tried when hashes collide, before giving up on finding a free one.
const COLLISIONS_MAX: i32 = 1000;

/// The ReplicaSets of a Deployment as the step leaves them.
pub(super) struct Family {
    /// The one of the present template.
    pub(super) new: Option<ReplicaSet>,
    /// The others, oldest first.
    pub(super) old: Vec<ReplicaSet>,
}

impl Family {
    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.new.iter().chain(&self.old)
    }

    /// Pods wanted in all.
    pub(super) fn total(&self) -> i32 {
        self.all().map(size).sum()
    }

    /// Available pods in all.
    pub(super) fn available(&self) -> i32 {
        self.all().map(available).sum()
    }

    /// The condition ReplicaFailure of a set, the new one first (1.25).
    pub(super) fn failure(&self) -> Option<(String, String)> {
        let conditions =
            self.all().flat_map(|set| set.status.iter().flat_map(|status| status.conditions.iter().flatten()));
        let failure = conditions.into_iter().find(|condition| condition.type_ == "ReplicaFailure")?;
        Some((failure.reason.clone().unwrap_or_default(), failure.message.clone().unwrap_or_default()))
    }
}

/// `spec.replicas` of a set.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    crate::replicaset::replicas(set)
}

/// `status.availableReplicas` of a set.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// The `max-replicas` the set was last scaled under.
pub(super) fn max_before(set: &ReplicaSet) -> Option<i32> {
    annotation(&set.metadata, MAX).and_then(|value| value.parse().ok())
}

/// The `desired-replicas` the set was last scaled under.
pub(super) fn desired_before(set: &ReplicaSet) -> Option<i32> {
    annotation(&set.metadata, DESIRED).and_then(|value| value.parse().ok())
}

/// Finds the Deployment's sets, adopting and releasing on the way (0.2).
pub(super) fn claim(want: &Want<'_>, observed: &Observed<'_>, bookkeeping: &mut Vec<Action>) -> Family {
    let uid = want.deployment.metadata.uid.as_deref().unwrap_or_default();
    let mut mine = Vec::new();
    for set in observed.sets.iter().map(Arc::as_ref) {
        let selected = labels::matches(&want.spec.selector, set.metadata.labels.as_ref());
        match pods::controller_of(&set.metadata) {
            Some(owner) if owner.uid != uid => {}
            Some(_) if selected || want.deleting => mine.push(set.clone()),
            Some(_) => bookkeeping.push(Action::ReleaseSet(Target::of(&set.metadata))),
            // What is adopted is part of the family from the next step on, in its new state.
            None if selected && !want.deleting && set.metadata.deletion_timestamp.is_none() => {
                bookkeeping.push(Action::AdoptSet(Target::of(&set.metadata)));
            }
            None => {}
        }
    }
    mine.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
    let new = mine.iter().position(|set| is_of(want, set));
    let new = new.map(|index| mine.remove(index));
    Family { new, old: mine }
}

/// Whether replicas changed since the sets were last scaled (1.10).
pub(super) fn is_scaling(want: &Want<'_>, family: &Family) -> bool {
    let active = family.all().filter(|set| size(set) > 0);
    active.filter_map(desired_before).any(|desired| desired != want.replicas)
}

/// Keeps the new set's annotations and number in line, and makes it if there is none and `create` says
/// so (1.3–1.8).
pub(super) fn number(step: &mut Step<'_>, family: &mut Family, observed: &Observed<'_>, create: bool) {
    let highest = family.old.iter().filter_map(revision_of).max().unwrap_or(0);
    let next = highest + 1;
    match family.new.take() {
        Some(seen) => {
            let mut set = seen.clone();
            copy_annotations(&step.want, &mut set);
            raise(&mut set, next);
            if let Some(spec) = &mut set.spec {
                spec.min_ready_seconds = step.want.spec.min_ready_seconds;
            }
            let name = set.metadata.name.clone().unwrap_or_default();
            step.revision = annotation(&set.metadata, REVISION).map(str::to_owned);
            if step.want.deadline_s.is_some() {
                step.conditions.found(&name);
            }
            write(step, &seen, &set);
            family.new = Some(set);
        }
        None if create => {
            let set = new_set(step, family, observed, next);
            step.revision = Some(next.to_string());
            if step.want.deadline_s.is_some() {
                step.conditions.created(set.metadata.name.as_deref().unwrap_or_default());
            }
            step.writes.push(Action::CreateSet(Box::new(set.clone())));
            family.new = Some(set);
        }
        None => {}
    }
}

/// Sets the size of `set` and notes on it what it was scaled under (1.6).
pub(super) fn resize(step: &mut Step<'_>, set: &mut ReplicaSet, to: i32) {
    let seen = set.clone();
    if let Some(spec) = &mut set.spec {
        spec.replicas = Some(to);
    }
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.extend(scaled_under(&step.want));
    write(step, &seen, set);
}

/// Drops what is beyond the history limit, oldest first; sets still in use are passed over, but count
/// (1.17).
pub(super) fn clean_up(step: &mut Step<'_>, family: &Family) {
    let limit = step.want.spec.revision_history_limit.unwrap_or(10);
    let Ok(limit) = usize::try_from(limit) else { return };
    let mut history: Vec<&ReplicaSet> =
        family.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    history.sort_by_key(|set| revision_of(set));
    let excess = history.len().saturating_sub(limit);
    for set in history.into_iter().take(excess) {
        let status = set.status.clone().unwrap_or_default();
        let unobserved = status.observed_generation < set.metadata.generation;
        if status.replicas == 0 && size(set) == 0 && !unobserved {
            step.history.push(Action::DeleteSet(Target::of(&set.metadata)));
        }
    }
}

/// Whether the set is of the Deployment's present template (1.4).
fn is_of(want: &Want<'_>, set: &ReplicaSet) -> bool {
    let Some(mut template) = set.spec.as_ref().and_then(|spec| spec.template.clone()) else { return false };
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    revisions::alike(&template, &want.spec.template)
}

/// Plans the write of `set` when it differs from what was seen, as one write per set and step. A set that the
/// step makes is not written again.
fn write(step: &mut Step<'_>, seen: &ReplicaSet, set: &ReplicaSet) {
    if seen == set {
        return;
    }
    let from = Some(size(seen)).filter(|from| *from != size(set));
    let planned = step.writes.iter_mut().find_map(|action| match action {
        Action::UpdateSet { set: planned, from } if planned.metadata.name == set.metadata.name => Some((planned, from)),
        _ => None,
    });
    match planned {
        Some((planned, before)) => {
            **planned = set.clone();
            *before = before.or(from);
        }
        None => step.writes.push(Action::UpdateSet { set: Box::new(set.clone()), from }),
    }
}

fn new_set(step: &mut Step<'_>, family: &Family, observed: &Observed<'_>, revision: i64) -> ReplicaSet {
    let want = &step.want;
    let (name, hash, collisions) = free_name(want, observed, step.collisions);
    step.collisions = collisions;
    let hash_label = (HASH_LABEL.to_owned(), hash);
    let mut template: PodTemplateSpec = want.spec.template.clone();
    let template_labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    template_labels.extend([hash_label.clone()]);
    let labels = template_labels.clone();
    let mut selector = want.spec.selector.clone();
    selector.match_labels.get_or_insert_default().extend([hash_label]);
    let mut annotations: BTreeMap<String, String> = scaled_under(want).into();
    annotations.insert(REVISION.to_owned(), revision.to_string());
    let first_size = match want.strategy {
        Strategy::Recreate => want.replicas,
        Strategy::RollingUpdate => (want.replicas + want.surge - family.total()).clamp(0, want.replicas),
    };
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: want.deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![reference(want.deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(first_size),
            min_ready_seconds: want.spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    copy_annotations(want, &mut set);
    set
}

/// The first name that no other set has, its hash, and the collisions met (1.2, 1.5).
fn free_name(want: &Want<'_>, observed: &Observed<'_>, stored: Option<i32>) -> (String, String, Option<i32>) {
    let template = revisions::canonical(&want.spec.template).to_string();
    let mut collisions = stored;
    loop {
        let salt = collisions.map(|count| count.to_string()).unwrap_or_default();
        let hash = revisions::safe_decimal(revisions::fnv1a(template.bytes().chain(salt.into_bytes())));
        let front: String = want.name.chars().take(NAME_MAX - 1 - hash.len()).collect();
        let name = format!("{front}-{hash}");
        let taken = observed.sets.iter().any(|set| set.metadata.name.as_deref() == Some(&name));
        if !taken || collisions.unwrap_or(0) - stored.unwrap_or(0) >= COLLISIONS_MAX {
            return (name, hash, collisions);
        }
        collisions = Some(collisions.unwrap_or(0) + 1);
    }
}

fn scaled_under(want: &Want<'_>) -> [(String, String); 2] {
    let max = want.replicas + want.surge;
    [(DESIRED.to_owned(), want.replicas.to_string()), (MAX.to_owned(), max.to_string())]
}

/// Adds and overwrites; what was removed from the Deployment stays (1.6).
fn copy_annotations(want: &Want<'_>, set: &mut ReplicaSet) {
    let own = want.deployment.metadata.annotations.iter().flatten();
    let copied = own.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    let copied: Vec<_> = copied.map(|(key, value)| (key.clone(), value.clone())).collect();
    if !copied.is_empty() {
        set.metadata.annotations.get_or_insert_default().extend(copied);
    }
}

/// Gives the set a higher number, and remembers the one it had (1.7).
fn raise(set: &mut ReplicaSet, to: i64) {
    let before = revision_of(set).unwrap_or(0);
    if before >= to {
        return;
    }
    let annotations = set.metadata.annotations.get_or_insert_default();
    let replaced = annotations.insert(REVISION.to_owned(), to.to_string());
    let Some(replaced) = replaced.filter(|replaced| !replaced.is_empty()) else { return };
    let history = annotations.entry(HISTORY.to_owned()).or_default();
    if history.is_empty() {
        *history = replaced;
        return;
    }
    history.push(',');
    history.push_str(&replaced);
    while history.len() > HISTORY_MAX {
        let Some((_, rest)) = history.split_once(',') else { break };
        *history = rest.to_owned();
    }
}

fn revision_of(set: &ReplicaSet) -> Option<i64> {
    annotation(&set.metadata, REVISION)?.parse().ok()
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}
