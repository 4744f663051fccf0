//! The laws of what a set can be asked beyond a plain one: by its annotations, by growing claims, by
//! `Recreate` and by a budget. As in [`super::invariants`], what has happened is judged by what is and by
//! what the plan behind it was made from.

use super::Model;
use super::invariants::{Verdict, ensure};
use super::objects::{Claim, Kind, Life, Objects, Owner, Pod, SLOTS, Spec, Strategy};
use super::state::{Act, Job, State, Why};

/// A pod of the set `job` is for is made from `template`.
pub(crate) fn on_create(state: &State, job: &Job, slot: usize, template: u8) -> Verdict {
    let wishes = &job.spec.wishes;
    let kept = state.world.kept[slot].filter(|_| wishes.paused);
    ensure(kept.is_none_or(|kept| kept == template), "I9", || {
        format!("the set is paused, and web-{slot} returns at another revision than it had")
    })?;
    if job.spec.strategy == Strategy::Recreate && kept.is_none() {
        let others = |pod: &&Pod| pod.owner == Owner::Set(job.set) && pod.template != template;
        let mixed = state.live.pods.iter().flatten().find(others);
        ensure(mixed.is_none(), "I9", || format!("web-{slot} is made while a pod of another revision lives"))?;
    }
    let asked = wishes.resets[slot];
    let old = state.live.claims[slot].is_some_and(|claim| claim.reset != asked);
    ensure(!old || asked == 0 || state.world.wiped[slot] != asked, "I3", || {
        format!("web-{slot} is made anew on its old claim")
    })
}

/// The pod at `slot` is deleted because its replica is to be made anew.
pub(crate) fn on_reset(state: &mut State, job: &Job, slot: usize) -> Verdict {
    let asked = job.spec.wishes.resets[slot];
    let is_old = |of: Option<u8>| of.is_some_and(|generation| generation != asked);
    // A claim that somebody else has deleted meanwhile was old when this was decided.
    let old = is_old(state.live.pods[slot].map(|pod| pod.reset))
        || state.live.claims[slot].is_none_or(|claim| claim.reset != asked);
    ensure(asked > 0 && old, "I10", || format!("web-{slot} is reset, which nobody asked for"))?;
    alone(state, job, slot, |other| !overtakes(state, job, slot, other))?;
    state.world.resetting.put(slot, true);
    Ok(())
}

/// The claim of `slot` is deleted by the controller.
pub(crate) fn on_delete_claim(state: &mut State, job: &Job, slot: usize) -> Verdict {
    let asked = job.spec.wishes.resets[slot];
    let old = state.live.claims[slot].is_some_and(|claim| claim.reset != asked);
    ensure(asked > 0 && old, "I3", || format!("data-web-{slot} is deleted, which nobody asked for"))?;
    let used = state.live.pods[slot].is_some_and(|pod| pod.owner == Owner::Set(job.set));
    ensure(!used, "I3", || format!("data-web-{slot} is deleted under its pod"))?;
    ensure(state.world.wiped[slot] != asked, "I3", || {
        format!("data-web-{slot} is deleted a second time for generation {asked}")
    })?;
    // One that is only down, and has its data still, may be overtaken by one that was lost meanwhile.
    let has_begun = |other: usize| state.world.wiped[other] == job.spec.wishes.resets[other];
    alone(state, job, slot, |other| has_begun(other) && !overtakes(state, job, slot, other))?;
    state.world.wiped[slot] = asked;
    state.world.resetting.put(slot, true);
    Ok(())
}

/// Whether it is written down that `slot` is reset before `other`: what does not come up in an ordered set
/// keeps the higher ones away, whatever is done about those.
fn overtakes(state: &State, job: &Job, slot: usize, other: usize) -> bool {
    let noted = state.live.set.and_then(|set| set.notes.resetting);
    !job.spec.parallel && slot < other && noted.is_some_and(|noted| usize::from(noted) == slot)
}

/// One replica is reset at a time.
fn alone(state: &State, job: &Job, slot: usize, counts: impl Fn(usize) -> bool) -> Verdict {
    let open = |other: &usize| *other != slot && job.spec.contains(*other) && job.spec.wishes.resets[*other] > 0;
    let other = state.world.resetting.iter().filter(open).find(|other| counts(*other));
    ensure(other.is_none(), "I3", || format!("web-{slot} is reset while {other:?} is being reset"))
}

/// The claim of `slot` is to ask for `size`, if it is still the one that was seen.
pub(crate) fn on_grow(state: &State, job: &Job, slot: usize, size: u8) -> Verdict {
    ensure(!job.spec.wishes.paused, "I9", || format!("the set is paused, and data-web-{slot} grows"))?;
    let Some(claim) = state.live.claims[slot] else { return Ok(()) };
    let grows = size == job.spec.storage && size >= claim.asks;
    ensure(grows, "I3", || format!("data-web-{slot} is to ask for {size} instead of {}", claim.asks))?;
    // Those that go have nothing to wait for.
    let growing = |other: &usize| {
        let asked = job.spec.wishes.resets[*other];
        let stays = |claim: &Claim| !claim.terminating && (asked == 0 || claim.reset == asked);
        state.live.claims[*other].is_some_and(|claim| claim.has < claim.asks && stays(&claim))
    };
    let other = (0..SLOTS).filter(|other| *other != slot && job.spec.contains(*other)).find(growing);
    ensure(other.is_none(), "I9", || format!("data-web-{slot} grows while {other:?} is growing"))
}

/// The template is put back over `from`.
pub(crate) fn on_roll_back(state: &mut State, job: &Job, from: u8) -> Verdict {
    let Some(set) = state.live.set else { return Ok(()) };
    let wishes = &job.spec.wishes;
    let asked = wishes.rolls_back && wishes.deadline && !wishes.paused;
    ensure(asked, "I9", || "the template is put back, which nobody asked for".to_owned())?;
    ensure(set.spec.template == from, "I9", || "a template is put back over another one than failed".to_owned())?;
    ensure(state.world.overdue, "I9", || "the template is put back before its time".to_owned())?;
    ensure(!set.notes.rolled_back.has(usize::from(from)), "I9", || {
        "a template is taken back a second time".to_owned()
    })?;
    let done = state.world.finished.is_some_and(|(template, held)| template == from && held <= partition(&job.spec));
    ensure(!done, "I9", || "a template is taken back that was rolled out".to_owned())?;
    state.world.overdue = false;
    Ok(())
}

/// How many replicas a rollout leaves out.
pub(crate) fn partition(spec: &Spec) -> u8 {
    match spec.strategy {
        Strategy::Block { partition, .. } => partition,
        Strategy::Plain | Strategy::OnDelete | Strategy::Recreate => 0,
    }
}

/// A plan is made from `seen`: a rollout in it goes in order, and stays within its budget (I9).
pub(crate) fn on_plan(seen: &Objects, job: &Job) -> Verdict {
    let going = Going { seen, job };
    let outdated: Vec<usize> = going.slots(|why| why == Why::Outdated).collect();
    let spec = &job.spec;
    let reset = going.slots(|why| why == Why::Reset).find(|slot| going.was_up(*slot));
    let down = (0..SLOTS).find(|other| reset.is_some() && spec.contains(*other) && !going.was_up(*other));
    ensure(down.is_none(), "I9", || format!("web-{reset:?} is up and is reset while {down:?} is down"))?;
    for slot in outdated.iter().copied() {
        let led = spec.wishes.leader_last && going.is_up_leader(slot);
        let passed = (0..SLOTS).find(|other| led && *other != slot && going.is_late_follower(*other));
        ensure(passed.is_none(), "I9", || format!("the leader web-{slot} is replaced before {passed:?}"))?;
    }
    let down = |except: usize, counts: &dyn Fn(usize) -> bool| {
        let counted = (0..SLOTS).filter(|other| *other != except && spec.contains(*other) && counts(*other));
        counted.filter(|other| !going.stands(*other)).collect::<Vec<_>>()
    };
    match spec.strategy {
        Strategy::OnDelete | Strategy::Recreate => Ok(()),
        Strategy::Block { partition, unavailable_max: Some(max) } => {
            // Below a partition it takes the history to tell what is late; the linter does.
            if partition > 0 || outdated.is_empty() {
                return Ok(());
            }
            let in_work = down(SLOTS, &|slot| !going.is_late(slot)).len();
            let late_down = (0..SLOTS).filter(|slot| going.is_late(*slot) && !going.was_up(*slot)).count();
            let up = outdated.iter().filter(|slot| going.was_up(**slot)).count();
            let max = usize::from(max);
            let within = in_work + outdated.len() <= max && (up == 0 || in_work + late_down + up <= max);
            ensure(within, "I9", || {
                format!("{outdated:?} are replaced, {late_down} late and {in_work} others are down, {max} may be")
            })
        }
        Strategy::Plain | Strategy::Block { unavailable_max: None, .. } => {
            ensure(outdated.len() <= 1, "I9", || format!("{outdated:?} are replaced at once"))?;
            let Some(slot) = outdated.first().copied() else { return Ok(()) };
            let in_the_way = down(slot, &|other| {
                !spec.parallel || if spec.wishes.leader_last { !going.is_late(other) } else { other > slot }
            });
            ensure(in_the_way.is_empty(), "I9", || format!("web-{slot} is replaced while {in_the_way:?} is down"))
        }
    }
}

/// Pods under a plan.
struct Going<'a> {
    seen: &'a Objects,
    job: &'a Job,
}

impl Going<'_> {
    fn slots(&self, wanted: impl Fn(Why) -> bool) -> impl Iterator<Item = usize> {
        self.job.acts.iter().filter_map(move |(_, act)| match act {
            Act::DeletePod(target, why) if wanted(*why) => Some(usize::from(target.slot)),
            _ => None,
        })
    }

    /// The pod at `slot`, if it is the set's and was not asked to end before.
    fn pod(&self, slot: usize) -> Option<Pod> {
        self.seen.pods[slot].filter(|pod| pod.owner == Owner::Set(self.job.set) && !pod.terminating)
    }

    fn was_up(&self, slot: usize) -> bool {
        self.pod(slot).is_some_and(|pod| is_available(&self.job.spec, pod.life))
    }

    /// Whether the replica is up and stays so under the plan.
    fn stands(&self, slot: usize) -> bool {
        self.was_up(slot) && self.slots(|_| true).all(|going| going != slot)
    }

    /// Whether the replica is to be rolled, now or later.
    fn is_late(&self, slot: usize) -> bool {
        let elsewise = self.slots(|why| why != Why::Outdated).any(|going| going == slot);
        let late = |pod: Pod| pod.template != self.job.spec.template;
        !elsewise && self.job.spec.contains(slot) && self.pod(slot).is_some_and(late)
    }

    fn is_up_leader(&self, slot: usize) -> bool {
        self.was_up(slot) && self.pod(slot).is_some_and(|pod| pod.leader)
    }

    /// Whether another replica than the leader is left to be rolled.
    fn is_late_follower(&self, slot: usize) -> bool {
        let held = match self.job.spec.strategy {
            Strategy::Block { partition, .. } => self.job.spec.is_below(partition, slot),
            Strategy::Plain | Strategy::OnDelete | Strategy::Recreate => false,
        };
        let going = self.slots(|_| true).any(|going| going == slot);
        !held && !going && self.is_late(slot) && self.pod(slot).is_some_and(|pod| !pod.leader)
    }
}

fn is_available(spec: &Spec, life: Life) -> bool {
    life == Life::Ready || (life == Life::Fresh && !spec.min_ready)
}

/// What the laws above have to remember about `state`.
pub(crate) fn remember(model: &mut Model, state: &mut State) {
    let Some(set) = state.live.set else { return };
    if !set.spec.wishes.paused {
        state.world.kept = [None; SLOTS];
        return;
    }
    for slot in (0..SLOTS).filter(|slot| !set.spec.contains(*slot)) {
        state.world.kept[slot] = None;
    }
    // The controller has had its say when it knows everything, and has nothing more to write down.
    if state.job.is_some() || state.unseen != 0 || state.seen != state.live {
        return;
    }
    let Some((_, job)) = model.planner.job(&state.seen) else { return };
    if job.acts.iter().any(|(_, act)| matches!(act, Act::Remember(_))) {
        return;
    }
    for (slot, pod) in state.live.pods.iter().enumerate() {
        let own = pod.filter(|pod| pod.owner == Owner::Set(set.uid) && set.spec.contains(slot));
        if let Some(pod) = own {
            state.world.kept[slot] = Some(pod.template);
        }
    }
}

/// Whether a set at rest whose new objects are refused has got as far as it can.
pub(crate) fn refused(model: &Model, state: &State) -> Result<(), String> {
    let Some(set) = state.live.set else { return Ok(()) };
    let spec = &set.spec;
    let refuses = |kind: Kind| state.world.refused & kind.bit() != 0;
    for slot in (0..SLOTS).filter(|slot| spec.contains(*slot) && state.live.pods[*slot].is_none()) {
        let lacks_claim = refuses(Kind::Claims) && state.live.claims[slot].is_none();
        if !lacks_claim && !refuses(Kind::Pods) {
            return Err(format!("web-{slot} is missing, which nothing keeps away"));
        }
        if !spec.parallel {
            break;
        }
    }
    let status = model.planner.status(&set);
    let current = status.and_then(|status| model.planner.wire().template_called(status.current_revision.as_ref()?));
    let known = set.notes.rolled_out.is_some_and(|(template, _)| template != spec.template);
    let stuck = (0..SLOTS).any(|slot| spec.contains(slot) && state.live.pods[slot].is_none());
    let wants_back = spec.wishes.rolls_back && spec.wishes.deadline && !spec.wishes.paused;
    let taken_back = set.notes.rolled_back.has(usize::from(spec.template));
    if wants_back && stuck && known && current != Some(spec.template) && !taken_back {
        return Err("the template whose pods are refused has not been taken back".to_owned());
    }
    Ok(())
}

/// Whether a set at rest has what it was asked for.
pub(crate) fn at_rest(model: &Model, state: &State) -> Result<(), String> {
    let Some(set) = state.live.set else { return Ok(()) };
    let spec = &set.spec;
    for slot in (0..SLOTS).filter(|slot| spec.contains(*slot)) {
        let (Some(pod), Some(claim)) = (state.live.pods[slot], state.live.claims[slot]) else { continue };
        let asked = spec.wishes.resets[slot];
        // A pod may have been made while the annotation was away; its claim tells.
        if asked > 0 && claim.reset != asked {
            return Err(format!("web-{slot} is not made for generation {asked}"));
        }
        if !spec.wishes.paused && !claim.terminating && (claim.asks < spec.storage || claim.has < claim.asks) {
            return Err(format!("data-web-{slot} has not grown"));
        }
        if state.world.kept[slot].is_some_and(|kept| kept != pod.template) {
            return Err(format!("web-{slot} has moved, though the set is paused"));
        }
    }
    let failing = model.scenario.broken == Some(spec.template) && !spec.wishes.paused && spec.wishes.deadline;
    let progressing = model.planner.status(&set).and_then(|status| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == "Progressing")
    });
    if failing && spec.wishes.rolls_back && !set.notes.rolled_back.has(usize::from(spec.template)) {
        // Rollback may have been asked for when no replica of the former revision was left to tell whether it worked.
        let unknown = |message: &String| message.ends_with("is not known to have worked");
        let says_so = progressing.and_then(|condition| condition.message.as_ref()).is_some_and(unknown);
        if set.notes.rolled_out.is_some() || !says_so {
            return Err("the broken template has not been taken back".to_owned());
        }
    }
    let condition = progressing.and_then(|condition| condition.reason.as_deref());
    if failing && condition != Some("ProgressDeadlineExceeded") {
        return Err(format!("the failed rollout is called {condition:?}"));
    }
    Ok(())
}
