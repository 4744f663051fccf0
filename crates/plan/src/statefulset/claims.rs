//! The claims of replicas: which are missing, which are not to be used, and who should own them
//! (contract sections E and F). It never deletes a claim: that is the collector's work, and only
//! through owners set here.
//!
//! One difference from Kubernetes: a claim whose owner is gone is never used again, whatever the policy
//! says by now and also when that owner was an older set of this name. The collector would take it
//! away under the new pod (F7).

use super::actions::{Action, ClaimKeeper, Draft, Rule};
use super::claim_list::Place;
use super::events;
use super::ordinals::{Ordinal, claim_name, pod_name};
use super::reset;
use super::views::{ClaimOwner, ClaimView, PodView, Retention, SetView, View};
use crate::ids::Uid;

/// What the retention policy says about the owners of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing to do.
    Fine,
    /// Give it this owner.
    Own(ClaimKeeper),
    /// Somebody else controls it, so the policy is ignored; `strip` when our references have to go.
    Foreign { strip: bool },
}

/// Prepares the claims of an ordinal whose pod is about to be made, and says whether it may be: not on the old
/// claims of a replica that is being reset.
pub(super) fn prepare(view: &View, ordinal: Ordinal, resets: bool, draft: &mut Draft) -> bool {
    if let Some(claim) = existing(view, ordinal).find(|claim| is_doomed(claim, None) || is_left_over(claim)) {
        draft.wait(&claim.target.name, Rule::ClaimStale);
        return false;
    }
    if resets && reset::stale_claims(view, ordinal).next().is_some() {
        draft.wait(&pod_name(&view.set.name, ordinal), Rule::Resetting);
        return false;
    }
    ensure(view, ordinal, draft)
}

/// Makes the missing claims of an ordinal; false when one is being deleted, so that nothing may use
/// it (E4, E5).
pub(super) fn ensure(view: &View, ordinal: Ordinal, draft: &mut Draft) -> bool {
    if let Some(claim) = existing(view, ordinal).find(|claim| claim.terminating) {
        let name = &claim.target.name;
        let pod = pod_name(&view.set.name, ordinal);
        draft.wait_since(name, Rule::ClaimTerminating, claim.terminating_since);
        draft.notes.push(events::create_failed(&view.set.name, &pod, &format!("pvc {name} is being deleted")));
        return false;
    }
    for claim in existing(view, ordinal).filter(|claim| claim.lost) {
        draft.wait(&claim.target.name, Rule::VolumeLost);
    }
    for (template, called) in view.set.claim_templates.iter().enumerate() {
        // Nothing keeps two templates from having the same name: then there is one claim, of the first.
        let is_first = !view.set.claim_templates.iter().take(template).any(|earlier| earlier == called);
        if is_first && !view.claims.has(Place { ordinal, template }) {
            let name = claim_name(called, &view.set.name, ordinal);
            draft.claims.push(Action::CreateClaim { name, template: called.clone(), ordinal });
        }
    }
    true
}

/// Brings the owners of the claims of `pod` in line with the policy (F1).
pub(super) fn own(view: &View, pod: &PodView, ordinal: Ordinal, condemned: bool, draft: &mut Draft) {
    for claim in existing(view, ordinal) {
        let keeper = match verdict(&view.set, claim, &pod.target.uid, condemned) {
            Verdict::Fine => continue,
            Verdict::Own(keeper) => keeper,
            Verdict::Foreign { strip } => {
                if strip || condemned {
                    draft.notes.push(events::conflicting_controller(&claim.target.name));
                }
                if !strip {
                    continue;
                }
                ClaimKeeper::Nobody
            }
        };
        draft.repair(Action::OwnClaim { target: claim.target.clone(), ordinal, owner: keeper });
    }
}

/// The owner a fresh claim of an in-range replica starts with.
pub(super) fn first_keeper(set: &SetView) -> ClaimKeeper {
    wanted(set, &Uid::default(), false)
}

pub(super) fn existing(view: &View, ordinal: Ordinal) -> impl Iterator<Item = &ClaimView> {
    view.claims.of(ordinal)
}

/// The table of section F.
fn wanted(set: &SetView, pod: &Uid, condemned: bool) -> ClaimKeeper {
    match (set.when_scaled, set.when_deleted, condemned) {
        (Retention::Delete, _, true) => ClaimKeeper::Pod(pod.clone()),
        (Retention::Retain, Retention::Delete, _) | (Retention::Delete, Retention::Delete, false) => ClaimKeeper::Set,
        (_, Retention::Retain, _) => ClaimKeeper::Nobody,
    }
}

fn verdict(set: &SetView, claim: &ClaimView, pod: &Uid, condemned: bool) -> Verdict {
    if is_doomed(claim, Some(pod)) || is_left_over(claim) {
        return Verdict::Fine;
    }
    let ours = || claim.owners.iter().filter(|(owner, _)| *owner != ClaimOwner::Foreign);
    let policy_acts = (set.when_scaled, set.when_deleted) != (Retention::Retain, Retention::Retain);
    let foreign_controller = claim.owners.iter().any(|(owner, controls)| *controls && *owner == ClaimOwner::Foreign);
    if policy_acts && foreign_controller {
        return Verdict::Foreign { strip: ours().next().is_some() };
    }
    let wanted = wanted(set, pod, condemned);
    let as_wanted = match &wanted {
        ClaimKeeper::Nobody => ours().next().is_none(),
        ClaimKeeper::Set => ours().eq([&(ClaimOwner::Set, true)]),
        ClaimKeeper::Pod(uid) => ours().eq([&(ClaimOwner::Pod(uid.clone()), true)]),
    };
    if as_wanted { Verdict::Fine } else { Verdict::Own(wanted) }
}

/// Whether the claim belongs to a pod of its name other than `pod`, and so will be collected.
fn is_doomed(claim: &ClaimView, pod: Option<&Uid>) -> bool {
    claim.owners.iter().any(|(owner, _)| match owner {
        ClaimOwner::Pod(uid) => Some(uid) != pod,
        ClaimOwner::Set | ClaimOwner::StaleSet | ClaimOwner::Foreign => false,
    })
}

/// Whether the claim goes with a set of this name that is gone.
fn is_left_over(claim: &ClaimView) -> bool {
    claim.owners.iter().any(|(owner, _)| *owner == ClaimOwner::StaleSet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statefulset::views::set_view;

    fn set(when_scaled: Retention, when_deleted: Retention) -> SetView {
        let set = k8s_openapi::api::apps::v1::StatefulSet::default();
        SetView { when_scaled, when_deleted, ..set_view(&set) }
    }

    fn claim(owners: &[(ClaimOwner, bool)]) -> ClaimView {
        ClaimView { owners: owners.to_vec(), ..ClaimView::default() }
    }

    fn pod() -> Uid {
        Uid("pod".to_owned())
    }

    #[test]
    fn the_table_of_owners() {
        use Retention::{Delete, Retain};
        let ours = ClaimKeeper::Pod(pod());
        for (when_scaled, when_deleted, in_range, condemned) in [
            (Retain, Retain, ClaimKeeper::Nobody, ClaimKeeper::Nobody),
            (Retain, Delete, ClaimKeeper::Set, ClaimKeeper::Set),
            (Delete, Retain, ClaimKeeper::Nobody, ours.clone()),
            (Delete, Delete, ClaimKeeper::Set, ours),
        ] {
            let set = set(when_scaled, when_deleted);
            assert_eq!(wanted(&set, &pod(), false), in_range, "{when_scaled:?} {when_deleted:?} in range");
            assert_eq!(wanted(&set, &pod(), true), condemned, "{when_scaled:?} {when_deleted:?} condemned");
        }
    }

    #[test]
    fn foreign_and_stale_owners_are_respected() {
        let both = set(Retention::Delete, Retention::Delete);
        let none = set(Retention::Retain, Retention::Retain);
        let own_set = Verdict::Own(ClaimKeeper::Set);
        for (set, owners, wanted) in [
            (&both, &[][..], own_set.clone()),
            (&both, &[(ClaimOwner::Set, true)], Verdict::Fine),
            (&both, &[(ClaimOwner::Set, false)], own_set.clone()),
            (&both, &[(ClaimOwner::Foreign, false)], own_set.clone()),
            (&both, &[(ClaimOwner::Foreign, true)], Verdict::Foreign { strip: false }),
            (&both, &[(ClaimOwner::Foreign, true), (ClaimOwner::Set, true)], Verdict::Foreign { strip: true }),
            (&both, &[(ClaimOwner::StaleSet, true)], Verdict::Fine),
            (&both, &[(ClaimOwner::Pod(Uid("older".to_owned())), true)], Verdict::Fine),
            (&both, &[(ClaimOwner::Pod(pod()), true)], own_set),
            (&none, &[(ClaimOwner::Foreign, true)], Verdict::Fine),
            (&none, &[(ClaimOwner::Set, true)], Verdict::Own(ClaimKeeper::Nobody)),
        ] {
            assert_eq!(verdict(set, &claim(owners), &pod(), false), wanted, "{owners:?}");
        }
    }
}
