//! Everything that can happen next: in the controller, on nodes, in the collector, and what users and
//! faults do. One step is one thing that others can see.

use super::Model;
use super::invariants::{self, Violation};
use super::objects::{Going, Keeper, Kind, Life, Owner, SLOTS, StatusId, TEMPLATES};
use super::state::{Act, State};
use super::users::{self, Disturbance};
use super::{api, asked, collector, nodes, preparing, wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A cache catches up.
    See(Kind),
    /// The controller decides.
    Plan,
    /// The action so far in front of the plan arrives at the API.
    Act(u8),
    /// As [`Step::Act`], but the answer is lost: the controller takes it for a failure, and plans again only
    /// from caches that show what is there then.
    Lose(u8),
    /// The status of the plan arrives at the API.
    Report,
    /// The controller is killed, and starts again with fresh caches.
    Crash,
    /// A node starts the pod.
    Start(u8),
    /// A node finds the pod Ready.
    BecomeReady(u8),
    /// A node finds that the pod, Ready a moment ago, has crashed.
    Flicker(u8),
    /// A node answers what it was asked about the pod: all went well, or not.
    Prepared(u8, bool),
    /// A Ready pod gets older.
    Age(u8),
    /// The deadline of the rollout passes.
    Expire,
    /// The volume of a claim has grown to what the claim asks for.
    Grow(u8),
    /// A node has ended the pod.
    Finish(u8),
    /// A node has ended the processes of a pod that is gone.
    Clear(u8),
    /// A node returns.
    Return(u8),
    /// A pod of a lost node is evicted.
    Evict(u8),
    /// The collector removes a claim, pod or revision whose owner is gone.
    CollectClaim(u8),
    CollectPod(u8),
    CollectRevision(u8),
    /// A claim that is being deleted and that nothing uses goes.
    FinishClaim(u8),
    /// The collector lets go of a dependent of a set that goes without them.
    FreePod(u8),
    FreeClaim(u8),
    FreeRevision(u8),
    /// The set goes after its dependents.
    FinishSet,
    /// A user or a fault.
    Do(Disturbance),
}

/// All steps that can be taken in `state`. Those that keep a healthy cluster going come first.
pub(crate) fn possible(model: &mut Model, state: &State) -> Vec<Step> {
    let mut steps = Vec::with_capacity(16);
    controller(model, state, &mut steps);
    nodes::possible(&model.scenario, state, &mut steps);
    preparing::possible(&model.scenario, state, &mut steps);
    if state.live.set.is_some_and(|set| set.spec.wishes.deadline && model.planner.is_young(set.status)) {
        steps.push(Step::Expire);
    }
    collector::possible(state, &mut steps);
    if let Some(job) = state.job.as_ref().filter(|_| state.world.crashes > 0) {
        steps.push(Step::Crash);
        steps.extend((0..job.under_way).map(Step::Lose));
    }
    if state.world.disturbances > 0 {
        let alphabet = model.scenario.alphabet.iter().copied();
        steps.extend(alphabet.filter(|what| users::can(state, *what)).map(Step::Do));
    }
    steps
}

fn controller(model: &mut Model, state: &State, steps: &mut Vec<Step>) {
    let lags = |kind: &Kind| state.unseen & kind.bit() != 0 || !state.live.agrees(&state.seen, *kind);
    steps.extend(Kind::ALL.into_iter().filter(lags).map(Step::See));
    match &state.job {
        Some(job) if job.acts.is_empty() => steps.push(Step::Report),
        Some(job) => steps.extend((0..job.under_way).map(Step::Act)),
        None if state.unseen == 0 => {
            let refused = |act: &Act| api::refuses(state, act);
            let worth = model
                .planner
                .ask(&state.seen)
                .is_some_and(|(answer, _)| !answer.is_in_vain(refused) || answer.wrong.is_some());
            steps.extend(worth.then_some(Step::Plan));
        }
        None => {}
    }
}

/// The state after `step`.
pub(crate) fn take(model: &mut Model, state: &State, step: Step) -> Result<State, Violation> {
    let mut state = state.clone();
    let slot = |slot: u8| usize::from(slot);
    match step {
        Step::See(kind) => {
            state.seen.take(&state.live, kind);
            state.unseen &= !kind.bit();
        }
        Step::Plan => plan(model, &mut state)?,
        Step::Act(index) => act(model, &mut state, slot(index))?,
        Step::Lose(index) => lose(model, &mut state, slot(index))?,
        Step::Report => report(model, &mut state)?,
        Step::Crash => {
            state.world.crashes -= 1;
            state.job = None;
            state.relist();
        }
        Step::Start(at) => nodes::start(&mut state, slot(at)),
        Step::BecomeReady(at) => nodes::become_ready(&model.scenario, &mut state, slot(at)),
        Step::Flicker(at) => nodes::change(&mut state, slot(at), Life::Down),
        Step::Prepared(at, well) => preparing::answer(&mut state, slot(at), well),
        Step::Age(at) => nodes::age(&mut state, slot(at)),
        Step::Expire => expire(model, &mut state),
        Step::Grow(at) => nodes::grow(&mut state, slot(at)),
        Step::Finish(at) => nodes::finish(&mut state, slot(at)),
        Step::Clear(at) => state.world.leftover.put(slot(at), false),
        Step::Return(at) => state.world.down.put(slot(at), false),
        Step::Evict(at) => drop(api::ask_to_end(&mut state, slot(at))),
        Step::CollectClaim(at) => collector::collect_claim(&mut state, slot(at))?,
        Step::CollectPod(at) => drop(api::ask_to_end(&mut state, slot(at))),
        Step::CollectRevision(at) => state.live.revisions[slot(at)] = None,
        Step::FinishClaim(at) => state.live.claims[slot(at)] = None,
        Step::FreePod(at) => collector::free_pod(&mut state, slot(at)),
        Step::FreeClaim(at) => collector::free_claim(&mut state, slot(at)),
        Step::FreeRevision(at) => collector::free_revision(&mut state, slot(at)),
        Step::FinishSet => state.live.set = None,
        Step::Do(what) => {
            state.world.disturbances -= 1;
            users::happen(&mut state, what);
        }
    }
    nodes::remember(&mut state);
    state.settle(model.scenario.lagging);
    asked::remember(model, &mut state);
    invariants::always(&state)?;
    Ok(state)
}

fn plan(model: &mut Model, state: &mut State) -> Result<(), Violation> {
    let Some((answer, job)) = model.planner.job(&state.seen) else { return Ok(()) };
    if let Some(wrong) = &answer.wrong {
        return Err(Violation::new("linter", wrong.clone()));
    }
    asked::on_plan(&state.seen, &job)?;
    state.job = Some(job);
    Ok(())
}

fn act(model: &Model, state: &mut State, index: usize) -> Result<(), Violation> {
    let Some(mut job) = state.job.take() else { return Ok(()) };
    let what: Act = job.acts[index].1;
    let outcome = api::act(model, state, &job, &what)?;
    job.done(index, !outcome.is_fine(&what));
    state.job = Some(job);
    Ok(())
}

fn lose(model: &Model, state: &mut State, index: usize) -> Result<(), Violation> {
    let Some(mut job) = state.job.take() else { return Ok(()) };
    let what = job.acts[index].1;
    api::act(model, state, &job, &what)?;
    state.unseen |= api::written(&what).map_or(0, Kind::bit);
    state.world.crashes -= 1;
    job.done(index, true);
    state.job = Some(job);
    Ok(())
}

fn report(model: &Model, state: &mut State) -> Result<(), Violation> {
    let Some(job) = state.job.take() else { return Ok(()) };
    if let (Some(set), Some(status)) = (state.live.set.as_mut().filter(|set| set.uid == job.set), job.status) {
        invariants::on_report(model.planner.status_of(status), set.generation)?;
        let current = |status: StatusId| model.planner.status_of(status).current_revision.as_ref();
        let moved = set.status.is_some_and(|stored| current(stored) != current(status));
        let nothing_runs = job.spec.wishes.paused && job.spec.replicas == 0;
        invariants::ensure(!(moved && nothing_runs), "I9", || {
            "a paused set without replicas is rolled out".to_owned()
        })?;
        set.status = Some(status);
        if job.spec.wishes.rolls_back && wire::has_ended(model.planner.status_of(status)) {
            state.world.finished = Some((job.spec.template, asked::partition(&job.spec)));
        }
        state.unseen |= Kind::Sets.bit();
        let version = state.fresh();
        state.live.set.iter_mut().for_each(|set| set.version = version);
    }
    Ok(())
}

/// So much time passes that the deadline of a rollout is over, for what is and for what caches show.
fn expire(model: &mut Model, state: &mut State) {
    for (_, slot) in slots() {
        let crashes = state.live.pods[slot].is_some_and(|pod| model.scenario.broken == Some(pod.template));
        if crashes && state.live.pods[slot].is_some_and(|pod| pod.life == Life::Fresh) {
            nodes::change(state, slot, Life::Down);
        }
        nodes::age(state, slot);
    }
    let sets = [&mut state.live.set, &mut state.seen.set].into_iter().flatten().map(|set| &mut set.status);
    let job = state.job.as_mut().map(|job| [&mut job.status, &mut job.found]);
    for status in sets.chain(job.into_iter().flatten()) {
        *status = status.map(|status| model.planner.aged(status));
    }
    let generation = state.live.set.map(|set| i64::from(set.generation));
    let statuses = [state.live.set.and_then(|set| set.status), state.job.as_ref().and_then(|job| job.status)];
    let observes = |status: StatusId| model.planner.status_of(status).observed_generation == generation;
    state.world.overdue |= statuses.into_iter().flatten().any(observes);
}

/// Whether anything is left of the set with its dependents.
pub(crate) fn has_dependents(state: &State) -> bool {
    let Some(set) = state.live.set else { return false };
    let owned = |owner: Owner| owner == Owner::Set(set.uid);
    state.live.pods.iter().flatten().any(|pod| owned(pod.owner))
        || state.live.revisions.iter().flatten().any(|revision| owned(revision.owner))
        || state.live.claims.iter().flatten().any(|claim| claim.keeper == Keeper::Set(set.uid))
}

/// Small numbers for slots and templates in steps.
pub(crate) fn slots() -> impl Iterator<Item = (u8, usize)> {
    (0..SLOTS).map(|slot| (u8::try_from(slot).expect("invariant: a handful of slots"), slot))
}

pub(crate) fn templates() -> impl Iterator<Item = (u8, usize)> {
    slots().take(TEMPLATES)
}

/// Whether the set that is there is one that does not go.
pub(crate) fn is_staying(state: &State) -> bool {
    state.live.set.is_some_and(|set| set.going == Going::No)
}

/// Whether the pod at `slot` is there, running and not asked to end.
pub(crate) fn is_up(state: &State, slot: usize) -> bool {
    state.live.pods[slot].is_some_and(|pod| !pod.terminating && pod.life.runs() && pod.life != Life::Unready)
}
