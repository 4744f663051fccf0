//! Scaling a Deployment in the middle of a rollout: every set keeps its share (contract 1E).

use std::cmp::Reverse;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::sets::{self, Family, size};
use super::{Step, Strategy};

/// Brings the sets to the present number of replicas.
pub(super) fn scale(step: &mut Step<'_>, family: &mut Family) {
    let replicas = step.want.replicas;
    let active = family.all().filter(|set| size(set) > 0).count();
    if active <= 1 {
        if let Some(set) = only_one(family)
            && (size(set) != replicas || sets::desired_before(set).is_some_and(|desired| desired != replicas))
        {
            sets::resize(step, set, replicas);
        }
        return;
    }
    if family.new.as_ref().is_some_and(|set| is_saturated(set, replicas)) {
        for set in family.old.iter_mut().filter(|set| size(set) > 0) {
            sets::resize(step, set, 0);
        }
        return;
    }
    match step.want.strategy {
        Strategy::Recreate => {}
        Strategy::RollingUpdate => share_out(step, family),
    }
}

/// The active set, or the newest where none is.
fn only_one(family: &mut Family) -> Option<&mut ReplicaSet> {
    let active_old = family.old.iter().position(|set| size(set) > 0);
    match (active_old, family.new.is_some()) {
        (Some(index), _) => family.old.get_mut(index),
        (None, true) => family.new.as_mut(),
        (None, false) => family.old.last_mut(),
    }
}

/// Whether the new set has everything already (1.19).
fn is_saturated(set: &ReplicaSet, replicas: i32) -> bool {
    size(set) == replicas && sets::desired_before(set) == Some(replicas) && sets::available(set) == replicas
}

/// Gives every active set its part of what is added or taken (1.20).
fn share_out(step: &mut Step<'_>, family: &mut Family) {
    let allowed = if step.want.replicas > 0 { step.want.replicas + step.want.surge } else { 0 };
    let to_add = allowed - family.total();
    let Family { new, old } = family;
    let mut active: Vec<&mut ReplicaSet> = old.iter_mut().chain(new).filter(|set| size(set) > 0).collect();
    // `old` is oldest first and `new` comes last; the sort is stable.
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| Reverse(size(set)));
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let part = part_of(step, set, to_add - added);
        added += part;
        sizes.push(size(set) + part);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, to) in active.into_iter().zip(sizes) {
        sets::resize(step, set, to);
    }
}

/// What one set gains or loses, within what is left to be added or taken.
fn part_of(step: &Step<'_>, set: &ReplicaSet, left: i32) -> i32 {
    let now = size(set);
    let part = if step.want.replicas == 0 {
        -now
    } else {
        let max_now = step.want.replicas + step.want.surge;
        let max_before = sets::max_before(set).unwrap_or_else(|| step.want.stored().replicas.unwrap_or(0));
        if max_before == 0 { 0 } else { rounded_division(i64::from(now) * i64::from(max_now), max_before) - now }
    };
    part.clamp(left.min(0), left.max(0))
}

/// `value / by`, to the nearest whole number, halves away from zero.
fn rounded_division(value: i64, by: i32) -> i32 {
    let by = i64::from(by);
    i32::try_from((2 * value + by) / (2 * by)).unwrap_or(i32::MAX)
}
