//! Looks over a finished plan: the laws that every plan keeps, whatever it was decided from.
//!
//! It shares no decision with the planner. What it has to know about revisions, availability or
//! claims it works out anew from the view, so that a mistake there is not repeated here. Tests, the
//! model checker and the simulator hold every plan they see against it.

mod books;
mod claims;
mod facts;
mod pods;
mod preparing;
mod silence;

use std::fmt;

use jiff::Timestamp;

use super::actions::{Action, Plan};
use super::views::View;
use facts::Facts;

/// What a plan must not do, and must not leave undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// What is changed or removed is named by UID and resourceVersion, as it was seen (I4, I7).
    Exact,
    /// No object is written twice.
    Once,
    /// Batches go from bookkeeping over repairs, claims and pods to history.
    Stages,
    /// Pods and claims are made for wanted ordinals only.
    Wanted,
    /// No pod is made where one is (I1).
    Vacant,
    /// Ordered sets fill from below, one replica at a time (I2).
    FromBelow,
    /// Ordered sets shrink from above, one replica at a time, before they are updated (I2, K).
    FromAbove,
    /// A pod is made only with all its claims at hand (E2, E4, F7).
    ClaimsFirst,
    /// Claims are owned as the retention policy says, and foreign owners respected (F, I3).
    ClaimOwners,
    /// What is removed is removed for a reason that holds.
    Reason,
    /// A pod is made at the revision its ordinal is at (I9).
    Revision,
    /// A rollout takes down no more than it may (I9).
    Budget,
    /// A replica whose node can be asked to make ready is not replaced by an update before it has answered.
    Prepared,
    /// Only what is ownerless and matches is adopted, only what no longer matches is let go (M).
    Adoption,
    /// The template is written down, and no revision that is used is dropped (H).
    History,
    /// The status counts what was seen (I8).
    Status,
    /// A set that is being deleted is left alone (G5).
    Deleting,
    /// Who does nothing although something is to do says what it waits for.
    Silence,
    /// A wait names something that is so.
    Truth,
    /// What only time changes is planned for again in time.
    Wake,
}

/// A law that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flaw {
    /// The law.
    pub law: Law,
    /// What breaks it.
    pub about: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.about)
    }
}

/// Every law that `plan`, made from `view` at `now`, breaks; none when the plan is sound.
pub fn lint(view: &View, plan: &Plan, now: Timestamp) -> Vec<Flaw> {
    let facts = Facts::new(view, plan, now);
    let mut flaws = Flaws::default();
    if view.set.deleting {
        if let Some(action) = plan.actions().next() {
            flaws.add(Law::Deleting, format!("{action:?}"));
        }
    } else {
        stages(plan, &mut flaws);
        once(plan, &mut flaws);
        books::check(&facts, &mut flaws);
        claims::check(&facts, &mut flaws);
        pods::check(&facts, &mut flaws);
        preparing::check(&facts, &mut flaws);
        silence::check(&facts, &mut flaws);
    }
    books::check_status(&facts, &mut flaws);
    flaws.found
}

/// What has been found so far.
#[derive(Default)]
struct Flaws {
    found: Vec<Flaw>,
}

impl Flaws {
    fn add(&mut self, law: Law, about: impl Into<String>) {
        self.found.push(Flaw { law, about: about.into() });
    }

    /// Notes `about` unless `holds`.
    fn check(&mut self, holds: bool, law: Law, about: impl FnOnce() -> String) {
        if !holds {
            self.add(law, about());
        }
    }
}

/// The place of an action in the order of stages.
fn stage(action: &Action) -> u8 {
    match action {
        Action::ConfirmSet => 0,
        Action::AdoptRevision(_)
        | Action::CreateRevision { .. }
        | Action::RenumberRevision { .. }
        | Action::AdoptPod(_)
        | Action::ReleasePod(_)
        | Action::Remember { .. } => 1,
        Action::OwnClaim { .. } | Action::RelabelPod { .. } | Action::Prepare { .. } | Action::Withdraw { .. } => 2,
        Action::CreateClaim { .. } => 3,
        Action::CreatePod { .. } | Action::DeletePod { .. } | Action::DeleteClaim { .. } => 4,
        Action::DeleteRevision(_) => 5,
        Action::GrowClaim { .. } | Action::RollBack { .. } => 6,
    }
}

/// Kind and name of the object that an action writes.
fn object(action: &Action, set: &str) -> Option<(&'static str, String)> {
    Some(match action {
        Action::ConfirmSet => return None,
        Action::AdoptRevision(target) | Action::DeleteRevision(target) | Action::RenumberRevision { target, .. } => {
            ("revision", target.name.clone())
        }
        Action::CreateRevision { name, .. } => ("revision", name.0.clone()),
        Action::AdoptPod(target)
        | Action::ReleasePod(target)
        | Action::RelabelPod { target, .. }
        | Action::Prepare { target, .. }
        | Action::Withdraw { target, .. }
        | Action::DeletePod { target, .. } => ("pod", target.name.clone()),
        Action::CreatePod { ordinal, .. } => ("pod", super::ordinals::pod_name(set, *ordinal)),
        // Owners come before anything else about a claim; both writes name the state they were decided on,
        // so that the second is tried again after the first.
        Action::OwnClaim { target, .. } => ("owners of claim", target.name.clone()),
        Action::DeleteClaim { target, .. } | Action::GrowClaim { target, .. } => ("claim", target.name.clone()),
        Action::Remember { key, .. } => ("annotation", (*key).to_owned()),
        Action::RollBack { .. } => ("set", String::new()),
        Action::CreateClaim { name, .. } => ("claim", name.clone()),
    })
}

fn stages(plan: &Plan, flaws: &mut Flaws) {
    let mut last = None;
    for batch in &plan.batches {
        let Some(first) = batch.first().map(stage) else {
            flaws.add(Law::Stages, "an empty batch");
            continue;
        };
        flaws.check(batch.iter().all(|action| stage(action) == first), Law::Stages, || format!("mixed: {batch:?}"));
        flaws.check(last < Some(first), Law::Stages, || format!("too late: {batch:?}"));
        last = Some(first);
    }
    let adopts = plan.actions().any(|action| matches!(action, Action::AdoptPod(_) | Action::AdoptRevision(_)));
    let confirms = plan.actions().any(|action| *action == Action::ConfirmSet);
    flaws.check(adopts == confirms, Law::Stages, || "the set is confirmed if and only if something is adopted".into());
}

fn once(plan: &Plan, flaws: &mut Flaws) {
    let mut written = Vec::new();
    for action in plan.actions() {
        let Some(object) = object(action, "") else { continue };
        flaws.check(!written.contains(&object), Law::Once, || format!("{} {}", object.0, object.1));
        written.push(object);
    }
}
