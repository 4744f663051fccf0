//! The invariants of `quality.md` that one action or one status of a set can break.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSetStatus;
use k8s_openapi::api::core::v1::Pod;
use stead_plan::ids::Uid;
use stead_plan::pods;
use stead_plan::statefulset::ordinals::{OrdinalSet, Range, ordinal_of, pod_name};
use stead_plan::statefulset::{Action, Removal, wishes};

use super::{World, name};

impl World {
    /// The ordinals that should be held.
    pub(crate) fn range(&self) -> Range {
        let spec = self.set.spec.clone().unwrap_or_default();
        let reserved = self.annotation(wishes::RESERVE_ORDINALS).and_then(|text| OrdinalSet::parse(text).ok());
        Range {
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0),
            replicas: spec.replicas.unwrap_or(1),
            reserved: reserved.unwrap_or_default(),
        }
    }
}

/// I2, I3 and I9 as far as one action can break them; `before` is the snapshot planned from.
pub(super) fn check_action(world: &World, before: &BTreeMap<String, Pod>, action: &Action) {
    let spec = world.set.spec.clone().unwrap_or_default();
    let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
    let range = world.range();
    let min_ready_s = spec.min_ready_seconds.unwrap_or(0);
    let available = |pod: &Pod| !pods::is_terminating(pod) && pods::is_available(pod, min_ready_s, world.now);
    let block = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.clone());
    let uid = Uid(world.set.metadata.uid.clone().unwrap_or_default());
    let is_mine = |pod: &Pod| pods::is_controlled_by(&pod.metadata, &uid);
    match action {
        Action::CreatePod { ordinal, revision } => {
            assert!(range.contains(*ordinal), "{ordinal} is wanted");
            for lower in range.ascending().filter(|lower| ordered && lower < ordinal) {
                let pod = before.get(&pod_name("web", lower));
                assert!(pod.is_some_and(available), "{ordinal} made before {lower} is available (I2)");
            }
            for template in spec.volume_claim_templates.iter().flatten() {
                let claim = world.claims.get(&format!("{}-web-{ordinal}", name(&template.metadata)));
                let usable = claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_none());
                assert!(usable, "{ordinal} made without a claim to use (I3)");
            }
            let paused = world.annotation(wishes::PAUSED) == Some("true");
            let held = |partition: i32| *ordinal < range.partition_end(partition);
            let below = !paused && block.as_ref().is_some_and(|block| held(block.partition.unwrap_or(0)));
            let stored = world.set.status.as_ref().and_then(|status| status.current_revision.clone());
            if let Some(stored) = stored.filter(|name| below && world.revisions.contains_key(name)) {
                assert_eq!(revision.0, stored, "{ordinal} is below the partition (I9)");
            }
        }
        Action::DeletePod { target, why, .. } => {
            let type_ = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
            let recreates = type_ == Some("Recreate");
            assert!(!target.uid.0.is_empty() && !target.resource_version.0.is_empty(), "deletes carry preconditions");
            assert!(before.contains_key(&target.name), "only what was seen is deleted");
            let one_at_a_time = ordered && block.as_ref().is_none_or(|block| block.max_unavailable.is_none());
            let paused = world.annotation(wishes::PAUSED) == Some("true");
            assert!(!paused || !matches!(why, Removal::Outdated | Removal::Broken), "a paused set rolls nothing");
            if *why == Removal::Outdated && one_at_a_time && !recreates {
                let others = before.values().filter(|pod| name(&pod.metadata) != target.name && is_mine(pod));
                assert!(others.clone().all(available), "{} replaced while another is down (I9)", target.name);
            }
            if *why == Removal::Condemned && ordered && !recreates {
                let place = |pod: &str| ordinal_of("web", pod);
                let mine = before.iter().filter(|(_, pod)| is_mine(pod));
                let condemned = |pod: &&String| place(pod).is_some_and(|ordinal| !range.contains(ordinal));
                let highest = mine.map(|(pod, _)| pod).filter(condemned).max_by_key(|pod| place(pod));
                assert_eq!(highest, Some(&target.name), "scaling down goes from the top (I2)");
            }
        }
        Action::DeleteClaim { target, ordinal } => {
            assert!(
                !before.contains_key(&pod_name("web", *ordinal)),
                "{} is not taken from under a pod (I3)",
                target.name
            );
            assert!(world.annotation(wishes::RESET).is_some(), "{} goes only because somebody asked (I3)", target.name);
        }
        _ => {}
    }
}

/// I8, and what the API would refuse (B15).
pub(super) fn check_counts(status: &StatefulSetStatus) {
    let count = |count: Option<i32>| count.unwrap_or(0);
    for (what, value) in [
        ("ready", status.ready_replicas),
        ("current", status.current_replicas),
        ("updated", status.updated_replicas),
        ("available", status.available_replicas),
    ] {
        assert!((0..=status.replicas).contains(&count(value)), "{what} is out of bounds: {status:?}");
    }
    assert!(count(status.available_replicas) <= count(status.ready_replicas), "{status:?}");
}
