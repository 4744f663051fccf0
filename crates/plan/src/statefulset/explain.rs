//! A set explained to people: its replicas, what the planner would do next and what it waits for. It
//! asks the very function that the controller asks, so it cannot say anything else.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;

use super::actions::{Action, ClaimKeeper, Plan, Removal};
use super::claims::existing;
use super::conditions::{Condition, Truth};
use super::ordinals::Ordinal;
use super::views::{Observed, Owner, PodView, Size, View};

/// A set explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its replicas, lowest ordinal first: the wanted ones, and those that are still there.
    pub replicas: Vec<Replica>,
    /// Ordinals that no replica may hold.
    pub reserved: String,
    /// What would be done now, waited for, and said.
    pub plan: Plan,
    /// Seconds until it would be looked at again though nothing changes.
    pub again_in_s: Option<i64>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its number.
    pub ordinal: Ordinal,
    /// Whether it is to stay.
    pub wanted: bool,
    /// Its revision, if there is a pod.
    pub revision: Option<String>,
    /// How it is, in words.
    pub state: String,
    /// Its claims, each with what is to be said about it.
    pub claims: Vec<String>,
}

/// Explains `set` from the same facts and by the same function as the controller.
pub fn explain(set: &StatefulSet, observed: &Observed<'_>, now: Timestamp) -> Explanation {
    let view = View::new(set, observed);
    let plan = super::plan(set, observed, now);
    let again_in_s = plan.wake_at.map(|at| at.duration_since(now).as_secs());
    let mut ordinals: Vec<Ordinal> = view.set.range.ascending().collect();
    let held = view.pods.iter().filter(|pod| pod.owner == Owner::This).filter_map(|pod| pod.ordinal);
    ordinals.extend(held.filter(|ordinal| !view.set.range.contains(*ordinal)));
    ordinals.sort_unstable();
    let own = view.pods.iter().filter(|pod| pod.owner != Owner::Other);
    let pods: BTreeMap<Ordinal, &PodView> = own.filter_map(|pod| Some((pod.ordinal?, pod.as_ref()))).collect();
    let replicas =
        ordinals.into_iter().map(|ordinal| replica(&view, ordinal, pods.get(&ordinal).copied(), now)).collect();
    Explanation { replicas, reserved: view.set.range.reserved.to_string(), plan, again_in_s }
}

fn replica(view: &View, ordinal: Ordinal, pod: Option<&PodView>, now: Timestamp) -> Replica {
    let claims = existing(view, ordinal).map(|claim| {
        let mut said = claim.differences.clone();
        match &claim.size {
            Size::Settled => {}
            Size::MayGrow(storage) => said.push(format!("it is to grow to {storage}")),
            Size::Growing => said.push("it is growing".to_owned()),
        }
        if claim.terminating {
            said.push("it is being deleted".to_owned());
        }
        if claim.lost {
            said.push("its data are on a node that is no more".to_owned());
        }
        let name = &claim.target.name;
        if said.is_empty() { name.clone() } else { format!("{name} ({})", said.join("; ")) }
    });
    Replica {
        ordinal,
        wanted: view.set.range.contains(ordinal),
        revision: pod.and_then(|pod| pod.revision.as_ref()).map(|label| label.0.clone()),
        state: pod.map_or_else(|| "missing".to_owned(), |pod| state(view, pod, now)),
        claims: claims.collect(),
    }
}

fn state(view: &View, pod: &PodView, now: Timestamp) -> String {
    let since = |at: Option<Timestamp>| match at.map(|at| now.duration_since(at)) {
        Some(span) if span > SignedDuration::ZERO => format!(" for {} s", span.as_secs()),
        Some(_) | None => String::new(),
    };
    if pod.terminating {
        "terminating".to_owned()
    } else if pod.available(view.set.min_ready_s, now) {
        "available".to_owned()
    } else if pod.running_ready() {
        format!("ready{}, not yet available", since(pod.ready_since))
    } else if pod.phase.is_terminal() {
        format!("{:?}", pod.phase).to_lowercase()
    } else {
        let never = if pod.ever_stood { "" } else { ", and never was" };
        format!("not ready{}{never}", since(pod.since))
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "it has ended",
            Self::Condemned => "it is out of range",
            Self::Outdated => "it is not at the revision it should be at",
            Self::Broken => "it never stood and is not at the revision it should be at",
            Self::Reset => "it was asked to be made anew",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfirmSet => f.write_str("make sure that the set still exists"),
            Self::AdoptRevision(target) => write!(f, "adopt revision {}", target.name),
            Self::CreateRevision { name, number, .. } => {
                write!(f, "write down the template as revision {number}, {name}")
            }
            Self::RenumberRevision { target, number } => {
                write!(f, "make {} the newest revision, {number}", target.name)
            }
            Self::DeleteRevision(target) => write!(f, "forget revision {}", target.name),
            Self::AdoptPod(target) => write!(f, "adopt pod {}", target.name),
            Self::ReleasePod(target) => write!(f, "let go of pod {}", target.name),
            Self::OwnClaim { target, owner, .. } => match owner {
                ClaimKeeper::Nobody => write!(f, "keep claim {} whatever happens", target.name),
                ClaimKeeper::Set => write!(f, "let claim {} go with the set", target.name),
                ClaimKeeper::Pod(_) => write!(f, "let claim {} go with its pod", target.name),
            },
            Self::CreateClaim { name, .. } => write!(f, "create claim {name}"),
            Self::CreatePod { ordinal, revision } => write!(f, "create replica {ordinal} at revision {revision}"),
            Self::RelabelPod { target, .. } => write!(f, "set the labels of pod {} again", target.name),
            Self::Prepare { target, revision, .. } => {
                write!(f, "ask the node of pod {} to make ready for revision {revision}", target.name)
            }
            Self::Withdraw { target, .. } => write!(f, "take back what the node of pod {} was asked", target.name),
            Self::DeletePod { target, why, .. } => write!(f, "delete pod {}, because {why}", target.name),
            Self::DeleteClaim { target, .. } => {
                write!(f, "delete claim {}, which was asked to be made anew", target.name)
            }
            Self::GrowClaim { target, storage, .. } => write!(f, "let claim {} grow to {storage}", target.name),
            Self::Remember { key, value: Some(value) } => write!(f, "write down {key}={value}"),
            Self::Remember { key, value: None } => write!(f, "take away {key}"),
            Self::RollBack { to, from } => write!(f, "go back from revision {from} to {to}"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.plan.status;
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let (current, update) = (name(&status.current_revision), name(&status.update_revision));
        match current == update {
            true => writeln!(f, "revision {update}")?,
            false => writeln!(f, "revision {current}, going to {update}")?,
        }
        if !self.reserved.is_empty() {
            writeln!(f, "reserved ordinals {}", self.reserved)?;
        }
        for replica in &self.replicas {
            let leaving = if replica.wanted { "" } else { ", to go" };
            let revision = replica.revision.as_deref().map(|name| format!(", {name}")).unwrap_or_default();
            let claims = if replica.claims.is_empty() { "no claim".to_owned() } else { replica.claims.join(", ") };
            writeln!(f, "  {}: {}{leaving}{revision}; {claims}", replica.ordinal, replica.state)?;
        }
        section(f, "next", "nothing", self.plan.actions().map(ToString::to_string))?;
        section(f, "waits because", "nothing is waited for", self.plan.waits.iter().map(ToString::to_string))?;
        let worth_saying =
            |condition: &&Condition| !condition.kind.is_shown_once_false() || condition.status != Truth::True;
        let conditions = self.plan.conditions.iter().filter(worth_saying).map(|condition| {
            let message = if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
            format!("{}={} {}{message}", condition.kind, condition.status, condition.reason)
        });
        section(f, "conditions", "none", conditions)?;
        match self.again_in_s {
            Some(seconds) => writeln!(f, "looks again in {seconds} s, or when something changes"),
            None => writeln!(f, "looks again when something changes"),
        }
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, none: &str, lines: impl Iterator<Item = String>) -> fmt::Result {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return writeln!(f, "{title}: {none}");
    }
    writeln!(f, "{title}:")?;
    lines.try_for_each(|line| writeln!(f, "  {line}"))
}
