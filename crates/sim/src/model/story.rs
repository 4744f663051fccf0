//! Traces as stories: one line per step, with who does what, and what it looks like afterwards.

use std::fmt::Write;

use super::Model;
use super::explore::Found;
use super::objects::{Kind, Life, Note, Owner, Pod, Slots, Strategy, TEMPLATES};
use super::state::{Act, Given, State, Why};
use super::steps::{self, Step};
use super::users::Disturbance;

/// The whole story of a violation.
pub(crate) fn tell(model: &mut Model, found: &Found) -> String {
    let mut state = model.blank();
    let mut story = format!("in {}: {}\n", model.scenario.name, set(&state));
    for (number, step) in found.steps.iter().enumerate() {
        let what = line(model, &state, *step);
        let after = steps::take(model, &state, *step);
        let picture = after.as_ref().map_or_else(|_| "✗".to_owned(), picture);
        writeln!(story, "{:4}. {what:<58} {picture}", number + 1).expect("invariant: strings take all");
        match after {
            Ok(after) => state = after,
            Err(_) => break,
        }
    }
    writeln!(story, "violated: {}", found.violation).expect("invariant: strings take all");
    story
}

fn letter(template: u8) -> char {
    char::from(b'a' + template)
}

fn set(state: &State) -> String {
    let Some(set) = state.live.set else { return "no set".to_owned() };
    let spec = set.spec;
    let policy = if spec.parallel { "Parallel" } else { "OrderedReady" };
    let strategy = match spec.strategy {
        Strategy::OnDelete => "OnDelete".to_owned(),
        Strategy::Recreate => "Recreate".to_owned(),
        Strategy::Plain => "RollingUpdate".to_owned(),
        Strategy::Block { partition, unavailable_max: None } => format!("RollingUpdate, partition {partition}"),
        Strategy::Block { partition, unavailable_max: Some(max) } => {
            format!("RollingUpdate, partition {partition}, maxUnavailable {max}")
        }
    };
    format!("web, {} replicas of {}, {policy}, {strategy}", spec.replicas, letter(spec.template))
}

fn picture(state: &State) -> String {
    let mut parts = Vec::new();
    for (slot, pod) in state.live.pods.iter().enumerate() {
        if let Some(pod) = pod {
            parts.push(format!("{slot}@{} {}", letter(pod.template), condition(pod)));
        }
        if state.live.claims[slot].is_some_and(|claim| claim.terminating) {
            parts.push(format!("claim {slot} terminating"));
        }
    }
    let lags = Kind::ALL.into_iter().filter(|kind| !state.live.agrees(&state.seen, *kind));
    let lags: Vec<_> = lags.map(|kind| kind_name(kind).to_owned()).collect();
    let lag = if lags.is_empty() { String::new() } else { format!("  [unseen: {}]", lags.join(", ")) };
    format!("{}{lag}", parts.join(", "))
}

fn condition(pod: &Pod) -> String {
    let life = match pod.life {
        Life::Pending => "pending",
        Life::Unready => "starting",
        Life::Fresh => "just ready",
        Life::Ready => "ready",
        Life::Down => "down",
        Life::Failed => "failed",
        Life::Succeeded => "succeeded",
    };
    let ending = if pod.terminating { ", terminating" } else { "" };
    let ending = if pod.leader { format!("{ending}, leader") } else { ending.to_owned() };
    let owner = match pod.owner {
        Owner::Set(_) => "",
        Owner::Nobody => ", nobody's",
        Owner::Other => ", another's",
    };
    format!("{life}{ending}{owner}")
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Sets => "set",
        Kind::Pods => "pods",
        Kind::Claims => "claims",
        Kind::Revisions => "revisions",
    }
}

fn line(model: &mut Model, state: &State, step: Step) -> String {
    match step {
        Step::See(kind) => format!("controller: sees the newest {}", kind_name(kind)),
        Step::Plan => plan(model, state),
        Step::Act(index) => {
            let act = state.job.as_ref().map(|job| job.acts[usize::from(index)].1);
            act.map_or_else(String::new, |act| format!("api: {}", action(&act)))
        }
        Step::Lose(index) => {
            let act = state.job.as_ref().map(|job| job.acts[usize::from(index)].1);
            act.map_or_else(String::new, |act| format!("api: {}, but the answer is lost", action(&act)))
        }
        Step::Report => "api: takes the status".to_owned(),
        Step::Crash => "the controller is killed and starts again".to_owned(),
        Step::Start(slot) => format!("node: starts web-{slot}"),
        Step::BecomeReady(slot) => format!("node: web-{slot} is Ready"),
        Step::Flicker(slot) => format!("node: web-{slot}, Ready a moment ago, has crashed"),
        Step::Prepared(slot, true) => format!("node: all is ready for another web-{slot}"),
        Step::Prepared(slot, false) => format!("node: the hook of web-{slot} fails"),
        Step::Age(slot) => format!("time passes for web-{slot}"),
        Step::Expire => "the deadline passes".to_owned(),
        Step::Grow(slot) => format!("the volume of data-web-{slot} grows"),
        Step::Finish(slot) => format!("node: web-{slot} has ended"),
        Step::Clear(slot) => format!("node: what is left of an older web-{slot} has ended"),
        Step::Return(slot) => format!("node of web-{slot}: returns"),
        Step::Evict(slot) => format!("web-{slot} is evicted from its lost node"),
        Step::CollectClaim(slot) => format!("collector: removes data-web-{slot}"),
        Step::CollectPod(slot) => format!("collector: removes web-{slot}"),
        Step::CollectRevision(template) => format!("collector: removes revision {}", letter(template)),
        Step::FinishClaim(slot) => format!("data-web-{slot} is gone"),
        Step::FreePod(slot) => format!("collector: lets go of web-{slot}"),
        Step::FreeClaim(slot) => format!("collector: lets go of data-web-{slot}"),
        Step::FreeRevision(template) => format!("collector: lets go of revision {}", letter(template)),
        Step::FinishSet => "collector: the set is gone".to_owned(),
        Step::Do(what) => disturbance(what),
    }
}

fn plan(model: &mut Model, state: &State) -> String {
    let Some((answer, job)) = model.planner.job(&state.seen) else { return String::new() };
    let mut acts: Vec<_> = job.acts.iter().map(|(_, act)| action(act)).collect();
    if acts.is_empty() {
        acts.push("only writes the status".to_owned());
    }
    let waits = if answer.waits.is_empty() { String::new() } else { format!(" ({})", answer.waits.join("; ")) };
    format!("controller: decides: {}{waits}", acts.join(", "))
}

fn action(act: &Act) -> String {
    match *act {
        Act::Confirm => "confirm the set".to_owned(),
        Act::AdoptRevision(target) => format!("adopt revision {}", letter(target.slot)),
        Act::CreateRevision { template, number } => format!("write down {} as revision {number}", letter(template)),
        Act::Renumber(target, number) => format!("make {} revision {number}", letter(target.slot)),
        Act::DeleteRevision(target) => format!("drop revision {}", letter(target.slot)),
        Act::AdoptPod(target) => format!("adopt web-{}", target.slot),
        Act::ReleasePod(target) => format!("release web-{}", target.slot),
        Act::Relabel(target) => format!("label web-{}", target.slot),
        Act::Prepare(target, template) => {
            format!("ask the node of web-{} to make ready for {}", target.slot, letter(template))
        }
        Act::Withdraw(target) => format!("take back what the node of web-{} was asked", target.slot),
        Act::OwnClaim(target, given) => {
            let owner = match given {
                Given::Nobody => "nobody",
                Given::Set => "the set",
                Given::Pod(_) => "its pod",
            };
            format!("give data-web-{} to {owner}", target.slot)
        }
        Act::CreateClaim { slot } => format!("create data-web-{slot}"),
        Act::CreatePod { slot, template } => format!("create web-{slot}@{}", letter(template)),
        Act::DeletePod(target, why) => {
            let why = match why {
                Why::Ended => "ended",
                Why::Condemned => "condemned",
                Why::Outdated => "outdated",
                Why::Broken => "broken",
                Why::Reset => "reset",
            };
            format!("delete web-{} ({why})", target.slot)
        }
        Act::DeleteClaim(target) => format!("delete data-web-{}", target.slot),
        Act::GrowClaim(target, size) => format!("let data-web-{} ask for {size}", target.slot),
        Act::Remember(Note::Paused(notes)) => {
            let notes: String = notes.iter().map(|template| template.map_or('-', letter)).collect();
            format!("write down {notes}")
        }
        Act::Remember(Note::RolledOut(None)) => "forget what was rolled out".to_owned(),
        Act::Remember(Note::RolledOut(Some((template, partition)))) => {
            format!("write down that {} was rolled out down to {partition}", letter(template))
        }
        Act::Remember(Note::Resetting(slot)) => format!("write down that {slot:?} is reset first"),
        Act::RollBack { to, from, .. } => format!("put {} back over {}", letter(to), letter(from)),
    }
}

fn disturbance(what: Disturbance) -> String {
    match what {
        Disturbance::Scale(replicas) => format!("user: scales to {replicas}"),
        Disturbance::StartAt(start) => format!("user: lets ordinals start at {start}"),
        Disturbance::Template(template) => format!("user: sets the template to {}", letter(template)),
        Disturbance::Partition(partition) => format!("user: sets the partition to {partition}"),
        Disturbance::Unavailable(max) => format!("user: sets maxUnavailable to {max}"),
        Disturbance::MinReady(on) => format!("user: sets minReadySeconds to {}", if on { 10 } else { 0 }),
        Disturbance::Retention(scaled, deleted) => {
            let word = |delete| if delete { "Delete" } else { "Retain" };
            format!("user: sets whenScaled {}, whenDeleted {}", word(scaled), word(deleted))
        }
        Disturbance::Recreate => "user: sets the strategy to Recreate".to_owned(),
        Disturbance::Storage(size) => format!("user: lets the claim template ask for {size}"),
        Disturbance::Pause(paused) => format!("user: {} the set", if paused { "pauses" } else { "resumes" }),
        Disturbance::Reserve(slots) => {
            let slots: Vec<_> = Slots(slots).iter().map(|slot| slot.to_string()).collect();
            format!("user: reserves [{}]", slots.join(", "))
        }
        Disturbance::Reset(slot, generation) => format!("user: asks for generation {generation} of web-{slot}"),
        Disturbance::RollsBack(on) => format!("user: turns auto-rollback {}", if on { "on" } else { "off" }),
        Disturbance::Forgive => "user: forgets what was rolled back".to_owned(),
        Disturbance::Lead(slot) => format!("web-{slot} becomes the leader"),
        Disturbance::DeleteSet => "user: deletes the set".to_owned(),
        Disturbance::DeleteSetForeground => "user: deletes the set after its dependents".to_owned(),
        Disturbance::DeleteSetOrphan => "user: deletes the set without its dependents".to_owned(),
        Disturbance::MakeSet => "user: makes the set again".to_owned(),
        Disturbance::DeletePod(slot) => format!("user: deletes web-{slot}"),
        Disturbance::ForceDelete(slot) => format!("user: deletes web-{slot} by force"),
        Disturbance::DeleteClaim(slot) => format!("user: deletes data-web-{slot}"),
        Disturbance::Disown(slot) => format!("user: takes the owner of web-{slot} away"),
        Disturbance::Unlabel(slot) => format!("user: takes the labels of web-{slot} away"),
        Disturbance::Label(slot) => format!("user: gives web-{slot} its labels back"),
        Disturbance::Unname(slot) => format!("user: takes the identity label of web-{slot} away"),
        Disturbance::Squat(slot) => format!("another's pod takes the name web-{slot}"),
        Disturbance::Seize(slot) => format!("another controller takes data-web-{slot}"),
        Disturbance::DisownRevision(template) => format!("user: takes the owner of revision {} away", letter(template)),
        Disturbance::Touch(slot) => format!("somebody writes on web-{slot}"),
        Disturbance::Refuse(kind) => format!("fault: the API refuses new objects among the {kind:?}"),
        Disturbance::Unready(slot) => format!("fault: web-{slot} is no longer Ready"),
        Disturbance::Fail(slot) => format!("fault: web-{slot} fails"),
        Disturbance::Succeed(slot) => format!("fault: web-{slot} ends well"),
        Disturbance::LoseNode(slot) => format!("fault: the node of web-{slot} is lost"),
    }
}

const _: () = assert!(TEMPLATES <= 26, "templates are told by letters");
