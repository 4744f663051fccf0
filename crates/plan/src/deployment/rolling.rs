//! Moving replicas from the old sets to the new one (contract 1C and 1D). Each function takes one step
//! and says whether the rollout is complete.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::sets::{self, Family, available, size};
use super::status::{self, is_complete};
use super::{Observed, Step};
use crate::pods;

/// One step of a rolling update: up if anything is missing, else down (1.13, 1.14).
pub(super) fn roll(step: &mut Step<'_>, family: &mut Family, observed: &Observed<'_>) -> bool {
    let made = family.new.is_none();
    sets::number(step, family, observed, true);
    if made || grow(step, family) || shrink(step, family) {
        return false;
    }
    is_complete(&step.want, &status::count(&step.want, family))
}

/// One step of a recreation: the old pods go, all of them, before the new ones come (1.18).
pub(super) fn recreate(step: &mut Step<'_>, family: &mut Family, observed: &Observed<'_>) -> bool {
    sets::number(step, family, observed, false);
    let mut scaled = false;
    let mut old = std::mem::take(&mut family.old);
    for set in old.iter_mut().filter(|set| size(set) > 0) {
        sets::resize(step, set, 0);
        scaled = true;
    }
    family.old = old;
    if scaled || family.old.iter().any(|set| has_pods(set, observed)) {
        return false;
    }
    if family.new.is_none() {
        sets::number(step, family, observed, true);
        return false;
    }
    if let Some(mut set) = family.new.take() {
        if size(&set) != step.want.replicas {
            let to = step.want.replicas;
            sets::resize(step, &mut set, to);
        }
        family.new = Some(set);
    }
    is_complete(&step.want, &status::count(&step.want, family))
}

fn has_pods(set: &ReplicaSet, observed: &Observed<'_>) -> bool {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let counted = set.status.as_ref().is_some_and(|status| status.replicas > 0);
    counted
        || observed.pods.iter().any(|pod| {
            let owned = pods::controller_of(&pod.metadata).is_some_and(|owner| owner.uid == uid);
            owned && !pods::phase(pod).is_terminal()
        })
}

/// Brings the new set towards its size; whether it had to.
fn grow(step: &mut Step<'_>, family: &mut Family) -> bool {
    let (replicas, surge, total) = (step.want.replicas, step.want.surge, family.total());
    let Some(mut set) = family.new.take() else { return false };
    let now = size(&set);
    let to = replicas.min(now + (replicas + surge - total).max(0));
    if to != now {
        sets::resize(step, &mut set, to);
    }
    family.new = Some(set);
    to != now
}

/// Takes from the old sets what the budget allows: the unhealthy first, then the oldest; whether
/// anything was taken.
fn shrink(step: &mut Step<'_>, family: &mut Family) -> bool {
    let available_all = family.available();
    let available_min = step.want.replicas - step.want.unavailable;
    let new_down = family.new.as_ref().map_or(0, |set| size(set) - available(set));
    let mut unhealthy_left = family.total() - available_min - new_down;
    if unhealthy_left <= 0 {
        return false;
    }
    let mut healthy_left = (available_all - available_min).max(0);
    let mut taken = false;
    for set in &mut family.old {
        let unhealthy = (size(set) - available(set)).clamp(0, unhealthy_left);
        unhealthy_left -= unhealthy;
        let healthy = (size(set) - unhealthy).clamp(0, healthy_left);
        healthy_left -= healthy;
        let to = size(set) - unhealthy - healthy;
        if to != size(set) {
            sets::resize(step, set, to);
            taken = true;
        }
    }
    taken
}
