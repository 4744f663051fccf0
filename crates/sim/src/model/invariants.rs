//! The invariants of the StatefulSet controller, checked at every step of the model: what has happened
//! is judged by what is, and by what the plan behind it was made from. `docs/model.md` lists them by
//! their numbers.

use std::fmt;

use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::asked;
use super::objects::{Claim, Going, Keeper, Life, Owner, Pod, Set, Strategy};
use super::preparing;
use super::state::{Act, Given, Job, State, Why};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its number, or `linter`.
    pub(crate) rule: &'static str,
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(rule: &'static str, text: impl Into<String>) -> Self {
        Self { rule, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

pub(crate) type Verdict = Result<(), Violation>;

pub(crate) fn ensure(holds: bool, rule: &'static str, text: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::new(rule, text())) }
}

/// What holds in every state.
pub(crate) fn always(state: &State) -> Verdict {
    for (slot, pod) in state.live.pods.iter().enumerate() {
        let Some(pod) = pod else { continue };
        let runs = pod.life.runs();
        ensure(!(runs && state.world.leftover.has(slot)), "I1", || format!("web-{slot} runs twice"))?;
        let Some(claim) = pod.mounts else { continue };
        let kept = state.live.claims[slot].is_some_and(|live| live.uid == claim);
        ensure(kept, "I3", || format!("web-{slot} runs on a claim that is no longer its own"))?;
    }
    Ok(())
}

/// Whether a replica that was made has been available since, by the spec that `job` was decided from.
/// What it is now the controller may not have seen.
fn came_up(state: &State, job: &Job, slot: usize) -> bool {
    state.world.ready_once.has(slot) && !job.spec.min_ready
}

/// A pod of the set `job` is for has been made.
pub(crate) fn on_create(state: &State, job: &Job, slot: usize) -> Verdict {
    ensure(job.spec.contains(slot), "I2", || format!("web-{slot} is made, which nobody wants"))?;
    let unmade = job.acts.iter().any(|(_, act)| *act == Act::CreateClaim { slot: slot_number(slot) });
    ensure(!unmade, "I3", || format!("web-{slot} is made before its claim"))?;
    let below = usize::from(job.spec.start)..slot;
    for lower in below.filter(|_| !job.spec.parallel) {
        ensure(!state.world.starting.has(lower) || came_up(state, job, lower), "I2", || {
            format!("web-{slot} is made before web-{lower} was ever available")
        })?;
    }
    Ok(())
}

fn slot_number(slot: usize) -> u8 {
    u8::try_from(slot).expect("invariant: a handful of slots")
}

/// The controller deletes the pod at `slot`.
pub(crate) fn on_delete(state: &mut State, job: &Job, slot: usize, why: Why) -> Verdict {
    let Some(pod) = state.live.pods[slot] else { return Ok(()) };
    let owned = pod.owner == Owner::Set(job.set);
    ensure(owned, "I10", || format!("web-{slot} is deleted, but is not the set's"))?;
    let rolls = matches!(why, Why::Broken | Why::Outdated);
    ensure(!(rolls && job.spec.wishes.paused), "I9", || format!("web-{slot} is replaced, but the set is paused"))?;
    match why {
        Why::Reset => asked::on_reset(state, job, slot)?,
        Why::Ended => ensure(pod.life.is_over(), "I10", || format!("web-{slot} is deleted as ended, but lives"))?,
        Why::Condemned => condemned(state, job, slot)?,
        Why::Broken => {
            let stood = matches!(pod.life, Life::Fresh | Life::Ready | Life::Down);
            let notes = state.live.set.map(|set| set.notes).unwrap_or_default();
            let taken_back = notes.rolled_back.has(usize::from(pod.template));
            ensure(!stood || taken_back, "I9", || format!("web-{slot} is deleted as broken, but it stood"))?;
            // Repairs are free of charge.
            state.world.rolling.put(slot, false);
        }
        Why::Outdated => {
            rolled(state, job, slot)?;
            preparing::on_outdated(state, job, slot)?;
            state.world.rolling.put(slot, true);
            state.world.ready_once.put(slot, false);
        }
    }
    Ok(())
}

fn condemned(state: &State, job: &Job, slot: usize) -> Verdict {
    ensure(!job.spec.contains(slot), "I10", || format!("web-{slot} is deleted as condemned, but is wanted"))?;
    let higher = |(other, pod): &(usize, &Option<Pod>)| {
        *other > slot && !job.spec.contains(*other) && pod.is_some_and(|pod| pod.owner == Owner::Set(job.set))
    };
    // What is old goes as a whole where the set is made anew.
    let old = state.live.pods[slot].is_some_and(|pod| pod.template != job.spec.template);
    let any_order = job.spec.parallel || (old && job.spec.strategy == Strategy::Recreate);
    let passed = state.live.pods.iter().enumerate().find(higher).filter(|_| !any_order);
    ensure(passed.is_none(), "I2", || format!("web-{slot} goes before a higher one is gone"))
}

/// A rollout takes a replica down: those it has down already count, whatever the caches show.
fn rolled(state: &State, job: &Job, slot: usize) -> Verdict {
    let down = |other: &usize| *other != slot && job.spec.contains(*other) && !came_up(state, job, *other);
    let rolling: Vec<usize> = state.world.rolling.iter().filter(down).collect();
    let wanted = state.live.pods[slot].is_some_and(|pod| pod.template == job.spec.template);
    let (partition, allowed) = match job.spec.strategy {
        Strategy::Recreate => {
            return ensure(!wanted, "I9", || format!("web-{slot} is replaced, but is up to date"));
        }
        Strategy::OnDelete => {
            return Err(Violation::new("I9", format!("web-{slot} is replaced, which is for others to do")));
        }
        Strategy::Plain => (0, None),
        Strategy::Block { partition, unavailable_max } => (partition, unavailable_max),
    };
    let held = job.spec.is_below(partition, slot);
    ensure(!held || !job.spec.wishes.hold_on_raise, "I9", || format!("web-{slot} is replaced below the partition"))?;
    ensure(held || !wanted, "I9", || format!("web-{slot} is replaced, but is up to date"))?;
    let in_the_way = match allowed {
        Some(max) => rolling.len() >= usize::from(max),
        None if job.spec.parallel && !job.spec.wishes.leader_last => rolling.iter().any(|other| *other > slot),
        None => !rolling.is_empty(),
    };
    ensure(!in_the_way, "I9", || format!("web-{slot} is replaced while the rollout still has {rolling:?} down"))
}

/// A pod becomes the set's.
pub(crate) fn on_adopt(state: &State, slot: u8) -> Verdict {
    let live = state.live.pods[usize::from(slot)];
    let foreign = live.is_some_and(|pod| pod.owner == Owner::Other);
    ensure(!foreign, "I10", || format!("web-{slot} is adopted, but is somebody else's"))
}

/// A claim gets a new owner.
pub(crate) fn on_own(job: &Job, slot: usize, given: Given) -> Verdict {
    let right = match given {
        Given::Nobody => true,
        Given::Set => job.spec.deleted_delete,
        Given::Pod(_) => job.spec.scaled_delete && !job.spec.contains(slot),
    };
    ensure(right, "I3", || format!("data-web-{slot} is given away, which the policy does not say"))
}

/// A revision is dropped.
pub(crate) fn on_drop(state: &State, job: &Job, template: u8) -> Verdict {
    let used = |pod: &Pod| pod.template == template && pod.owner == Owner::Set(job.set) && !pod.terminating;
    let in_use = state.live.pods.iter().flatten().any(used);
    ensure(!in_use, "I10", || "a revision is dropped that a pod is made from".to_owned())
}

/// The collector removes a claim for the sake of its owner.
pub(crate) fn on_collect(state: &State, claim: &Claim, slot: usize) -> Verdict {
    let allowed = match claim.keeper {
        Keeper::Nobody => false,
        Keeper::Set(_) => state.world.ever_deleted_delete,
        Keeper::Pod(_) => state.world.ever_scaled_delete,
    };
    ensure(allowed && !claim.foreign, "I3", || format!("data-web-{slot} is removed, which the policy never said"))?;
    // The owner is gone, so whoever mounts the claim now was made on a claim that was bound to go.
    let mounted = state.live.pods[slot].filter(|pod| pod.mounts == Some(claim.uid));
    let stays = |set: &Set| set.going == Going::No;
    let set = state.live.set.filter(stays);
    let successor = mounted.is_some_and(|pod| set.is_some_and(|set| pod.owner == Owner::Set(set.uid)));
    ensure(!successor, "I3", || format!("data-web-{slot} is removed under the pod that was made on it"))
}

/// A status has been written on the set, which is now of `generation` (I8, B15).
pub(crate) fn on_report(status: &StatefulSetStatus, generation: u8) -> Verdict {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let of_replicas = [
        count(status.ready_replicas),
        count(status.available_replicas),
        count(status.current_replicas),
        count(status.updated_replicas),
    ];
    let within = of_replicas.iter().all(|count| (0..=status.replicas).contains(count));
    let acceptable = within && of_replicas[1] <= of_replicas[0];
    ensure(acceptable, "I8", || format!("the API refuses the status {status:?}"))?;
    let observed = status.observed_generation.unwrap_or(0);
    ensure(observed <= generation.into(), "I8", || format!("generation {observed} is observed before it is"))
}
