//! The laws of claims: there before the pod, usable, and owned as the retention policy says.

use super::facts::Facts;
use super::{Flaws, Law};
use crate::ids::{Target, Uid};
use crate::pods::Phase;
use crate::statefulset::actions::{Action, ClaimKeeper, Removal};
use crate::statefulset::ordinals::{Ordinal, claim_name, claim_ordinal_of};
use crate::statefulset::views::{ClaimOwner, ClaimView, Retention, SetView};

pub(super) fn check(facts: &Facts<'_>, flaws: &mut Flaws) {
    for action in facts.plan.actions() {
        match action {
            Action::OwnClaim { target, ordinal, owner } => owned(facts, target, *ordinal, owner, flaws),
            Action::CreateClaim { name, template, ordinal } => made(facts, name, template, *ordinal, flaws),
            Action::DeleteClaim { target, ordinal } => reset(facts, target, *ordinal, flaws),
            Action::ConfirmSet
            | Action::AdoptRevision(_)
            | Action::CreateRevision { .. }
            | Action::RenumberRevision { .. }
            | Action::DeleteRevision(_)
            | Action::AdoptPod(_)
            | Action::ReleasePod(_)
            | Action::CreatePod { .. }
            | Action::RelabelPod { .. }
            | Action::DeletePod { .. }
            | Action::Prepare { .. }
            | Action::Withdraw { .. }
            | Action::GrowClaim { .. }
            | Action::Remember { .. }
            | Action::RollBack { .. } => {}
        }
    }
    for (ordinal, pod) in facts.condemned().filter(|(_, pod)| facts.removal(pod).is_some()) {
        given(facts, &pod.target.uid, ordinal, flaws);
    }
    let wanted = |ordinal: Ordinal| facts.view.set.range.contains(ordinal);
    for (target, ordinal, _) in facts.deletions().filter(|(_, of, why)| wanted(*of) && *why != Removal::Reset) {
        kept(facts, &target.uid, ordinal, flaws);
    }
    for (ordinal, _) in facts.creations() {
        for template in &facts.view.set.claim_templates {
            at_hand(facts, &claim_name(template, &facts.view.set.name, ordinal), flaws);
        }
    }
}

/// A claim goes only because somebody asked for it, once per generation, and after its pod (I3).
fn reset(facts: &Facts<'_>, target: &Target, ordinal: Ordinal, flaws: &mut Flaws) {
    let seen = facts.view.claims.named(&target.name).filter(|claim| claim.target == *target);
    flaws.check(seen.is_some() && super::books::is_exact(target), Law::Exact, || format!("claim {target:?}"));
    let asked = facts.view.set.wishes.resets.get(&ordinal);
    let due = asked.is_some() && seen.is_some_and(|claim| claim.reset.as_ref() != asked);
    flaws.check(due, Law::Reason, || format!("{} is deleted, which nobody asked for", target.name));
    let free = facts.view.pods.iter().all(|pod| pod.ordinal != Some(ordinal));
    flaws.check(free, Law::ClaimsFirst, || format!("{} is taken from under its pod", target.name));
}

/// A pod is about to be made that mounts the claim `name`.
fn at_hand(facts: &Facts<'_>, name: &str, flaws: &mut Flaws) {
    let made =
        facts.plan.actions().any(|action| matches!(action, Action::CreateClaim { name: made, .. } if made == name));
    let Some(claim) = facts.view.claims.named(name) else {
        flaws.check(made, Law::ClaimsFirst, || format!("{name} is missing"));
        return;
    };
    let stale = pod_owner(claim).is_some() || is_left_over(claim);
    flaws.check(!claim.terminating, Law::ClaimsFirst, || format!("{name} is being deleted"));
    flaws.check(!stale, Law::ClaimsFirst, || format!("{name} goes with an owner that is gone"));
}

fn made(facts: &Facts<'_>, name: &str, template: &str, ordinal: Ordinal, flaws: &mut Flaws) {
    let set = &facts.view.set;
    let named = set.claim_templates.iter().any(|known| known == template)
        && claim_ordinal_of(template, &set.name, name) == Some(ordinal);
    flaws.check(named, Law::Wanted, || format!("{name} is no claim of {template} for {ordinal}"));
    flaws.check(facts.view.claims.named(name).is_none(), Law::Wanted, || format!("{name} is there already"));
    let pending = facts.replica(ordinal).is_some_and(|pod| pod.phase == Phase::Pending && !pod.terminating);
    let needed = set.range.contains(ordinal) && (facts.creates(ordinal) || pending);
    flaws.check(needed, Law::Wanted, || format!("nothing needs {name}"));
}

fn owned(facts: &Facts<'_>, target: &Target, ordinal: Ordinal, owner: &ClaimKeeper, flaws: &mut Flaws) {
    let set = &facts.view.set;
    let claim = facts.view.claims.named(&target.name).filter(|claim| claim.target == *target);
    let Some(claim) = claim.filter(|_| super::books::is_exact(target)) else {
        flaws.add(Law::Exact, format!("claim {target:?}"));
        return;
    };
    let condemned = !set.range.contains(ordinal);
    let allowed = match owner {
        ClaimKeeper::Nobody => is_foreign(set, claim) || keeper(set, condemned) == Keeper::Nobody,
        ClaimKeeper::Set => keeper(set, condemned) == Keeper::Set && !is_foreign(set, claim),
        ClaimKeeper::Pod(uid) => {
            let condemned_pod = facts.condemned().any(|(place, pod)| place == ordinal && pod.target.uid == *uid);
            condemned_pod && keeper(set, condemned) == Keeper::Pod && !is_foreign(set, claim)
        }
    };
    flaws.check(allowed, Law::ClaimOwners, || format!("{} is given to {owner:?}", target.name));
    let stale = is_left_over(claim)
        || pod_owner(claim).is_some_and(|uid| facts.replica(ordinal).is_none_or(|pod| pod.target.uid.0 != uid));
    flaws.check(!stale, Law::ClaimOwners, || format!("{} still belongs to what is gone", target.name));
}

/// The condemned pod `uid` is about to go: claims that go with it must be its own by then (K2, F1).
fn given(facts: &Facts<'_>, uid: &Uid, ordinal: Ordinal, flaws: &mut Flaws) {
    let set = &facts.view.set;
    if set.when_scaled == Retention::Retain {
        return;
    }
    for claim in claims_of(facts, ordinal) {
        let own = pod_owner(claim) == Some(uid.0.as_str());
        let others = is_foreign(set, claim) || is_left_over(claim) || pod_owner(claim).is_some();
        let gift = |action: &Action| match action {
            Action::OwnClaim { target, owner, .. } => {
                *target == claim.target && *owner == ClaimKeeper::Pod(uid.clone())
            }
            _ => false,
        };
        let given = facts.plan.actions().any(gift);
        flaws.check(own || others || given, Law::ClaimOwners, || format!("{} is not to stay", claim.target.name));
    }
}

/// The pod `uid` of a wanted replica is about to go: its claims must not go with it (F2, I3).
fn kept(facts: &Facts<'_>, uid: &Uid, ordinal: Ordinal, flaws: &mut Flaws) {
    let others = |claim: &ClaimView| is_left_over(claim) || pod_owners(claim).any(|other| other != uid.0);
    for claim in claims_of(facts, ordinal).filter(|claim| pod_owner(claim).is_some() && !others(claim)) {
        let taken = |action: &Action| matches!(action, Action::OwnClaim { target, .. } if *target == claim.target);
        let taken = facts.plan.actions().any(taken);
        flaws.check(taken, Law::ClaimOwners, || format!("{} is not to go with its pod", claim.target.name));
    }
}

/// The claims there are of one replica.
fn claims_of<'a>(facts: &Facts<'a>, ordinal: Ordinal) -> impl Iterator<Item = &'a ClaimView> {
    let view = facts.view;
    let names = view.set.claim_templates.iter().map(move |template| claim_name(template, &view.set.name, ordinal));
    names.filter_map(|name| view.claims.named(&name))
}

/// Whose a claim is by the table of section F.
#[derive(PartialEq, Eq)]
enum Keeper {
    Nobody,
    Set,
    Pod,
}

fn keeper(set: &SetView, condemned: bool) -> Keeper {
    if condemned && set.when_scaled == Retention::Delete {
        Keeper::Pod
    } else if set.when_deleted == Retention::Delete {
        Keeper::Set
    } else {
        Keeper::Nobody
    }
}

/// Whether somebody else controls the claim, so that the policy does not touch it (F4).
fn is_foreign(set: &SetView, claim: &ClaimView) -> bool {
    let acts = set.when_scaled == Retention::Delete || set.when_deleted == Retention::Delete;
    acts && claim.owners.iter().any(|(owner, controls)| *owner == ClaimOwner::Foreign && *controls)
}

fn is_left_over(claim: &ClaimView) -> bool {
    claim.owners.iter().any(|(owner, _)| *owner == ClaimOwner::StaleSet)
}

fn pod_owner(claim: &ClaimView) -> Option<&str> {
    pod_owners(claim).next()
}

fn pod_owners(claim: &ClaimView) -> impl Iterator<Item = &str> {
    claim.owners.iter().filter_map(|(owner, _)| match owner {
        ClaimOwner::Pod(uid) => Some(uid.0.as_str()),
        ClaimOwner::Set | ClaimOwner::StaleSet | ClaimOwner::Foreign => None,
    })
}
