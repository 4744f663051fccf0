//! Planted faults: each is one small mistake, made between the planner and the world, that an invariant
//! or the linter has to notice. A mistake in what the planner sees changes only what it does, not what
//! it counts, so that it is its deeds that give it away.

use stead_plan::ids::{ResourceVersion, Uid};
use stead_plan::statefulset::ordinals::Ordinal;
use stead_plan::statefulset::views::{Owner as SetOwner, PodView};
use stead_plan::statefulset::{Action, ClaimKeeper, Plan, Removal, View};

use super::objects::{Keeper, Life, Objects, Owner, SLOTS, Slots, Spec, Strategy};

/// A mistake to be noticed.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Where it shows first: the scenario to begin with.
    pub(crate) scenario: &'static str,
    /// What the planner is made to see.
    pub(crate) sees: fn(&mut Objects),
    /// What it is made to say.
    pub(crate) says: fn(&Objects, &View, &mut Plan),
    /// Whether nothing is done any more after the first failure.
    pub(crate) gives_up: bool,
}

const fn sees(name: &'static str, scenario: &'static str, sees: fn(&mut Objects)) -> Fault {
    Fault { name, scenario, sees, says: |_, _, _| {}, gives_up: false }
}

const fn says(name: &'static str, scenario: &'static str, says: fn(&Objects, &View, &mut Plan)) -> Fault {
    Fault { name, scenario, sees: |_| {}, says, gives_up: false }
}

/// All planted faults.
pub(crate) const ALL: &[Fault] = &[
    sees("ignore terminating", "ended-ordered", |seen| each_pod(seen, |pod| pod.terminating = false)),
    sees("treat Failed as Ready", "ended-ordered", |seen| becomes(seen, Life::Failed, Life::Ready)),
    sees("count Ready instead of available", "min-ready-ordered", |seen| becomes(seen, Life::Fresh, Life::Ready)),
    sees("treat unready as broken", "update-ordered", |seen| becomes(seen, Life::Down, Life::Unready)),
    sees("treat broken as once ready", "repair-ordered", |seen| becomes(seen, Life::Unready, Life::Down)),
    sees("create out of order", "start-ordered", |seen| edit(seen, |spec| spec.parallel = true)),
    sees("skip the partition", "partition-ordered", |seen| {
        edit(seen, |spec| {
            if let Strategy::Block { partition, .. } = &mut spec.strategy {
                *partition = 0;
            }
        });
    }),
    sees("tell the age of revisions by their numbers", "undo-ordered", |seen| {
        seen.revisions.iter_mut().flatten().for_each(|revision| revision.made = revision.number);
    }),
    sees("ignore hold on raise", "hold-ordered", |seen| edit(seen, |spec| spec.wishes.hold_on_raise = false)),
    sees("forget the budget", "budget-parallel", |seen| {
        edit(seen, |spec| {
            if let Strategy::Block { unavailable_max, .. } = &mut spec.strategy {
                *unavailable_max = Some(9);
            }
        });
    }),
    sees("roll out OnDelete", "on-delete-ordered", |seen| {
        edit(seen, |spec| {
            if spec.strategy == Strategy::OnDelete {
                spec.strategy = Strategy::Plain;
            }
        });
    }),
    sees("own the claims", "claims-ordered", |seen| edit(seen, |spec| spec.deleted_delete = true)),
    sees("ignore the retention of claims", "retention-ordered", |seen| edit(seen, |spec| spec.scaled_delete = false)),
    sees("reuse a stale claim", "retention-ordered", |seen| {
        seen.claims.iter_mut().flatten().for_each(|claim| claim.keeper = Keeper::Nobody);
    }),
    sees("use a claim that is being deleted", "claims-ordered", |seen| {
        seen.claims.iter_mut().flatten().for_each(|claim| claim.terminating = false);
    }),
    sees("take a claim from its controller", "policies-ordered", |seen| {
        seen.claims.iter_mut().flatten().for_each(|claim| claim.foreign = false);
    }),
    sees("adopt another's pod", "squat-ordered", |seen| {
        each_pod(seen, |pod| {
            if pod.owner == Owner::Other {
                pod.owner = Owner::Nobody;
            }
        });
    }),
    sees("tell owners by name", "set-returns-ordered", |seen| {
        let Some(set) = seen.set else { return };
        each_pod(seen, |pod| {
            if let Owner::Set(uid) = &mut pod.owner {
                *uid = set.uid;
            }
        });
    }),
    sees("never adopt", "adopt-ordered", |seen| {
        each_pod(seen, |pod| {
            if pod.owner == Owner::Nobody {
                pod.owner = Owner::Other;
            }
        });
    }),
    sees("update before scale-down", "scale-update-ordered", |seen| {
        let Some(set) = seen.set else { return };
        let outdated = |pod: &super::objects::Pod| pod.template != set.spec.template;
        if seen.pods.iter().flatten().any(outdated) {
            seen.pods
                .iter_mut()
                .enumerate()
                .filter(|(slot, _)| !set.spec.contains(*slot))
                .for_each(|(_, pod)| *pod = None);
        }
    }),
    sees("act on a set that goes", "set-goes-ordered", |seen| {
        if let Some(set) = &mut seen.set {
            set.going = super::objects::Going::No;
        }
    }),
    sees("take an old answer for a new one", "prepare-ordered", super::preparing::take_old_answers),
    says("delete before the answer", "prepare-ordered", |_, _, plan| super::preparing::delete_before_the_answer(plan)),
    sees("forget that the set is paused", "pause-ordered", |seen| edit(seen, |spec| spec.wishes.paused = false)),
    sees("forget where lost replicas were", "pause-ordered", |seen| {
        if let Some(set) = &mut seen.set {
            set.notes.paused = [None; SLOTS];
        }
    }),
    sees("use reserved ordinals", "reserve-ordered", |seen| {
        edit(seen, |spec| spec.wishes.reserved = Slots::default());
    }),
    sees("forget all resets but the lowest", "reset-parallel", |seen| {
        let Some(set) = &mut seen.set else { return };
        if let Some(lowest) = set.spec.wishes.resets.iter().position(|generation| *generation > 0) {
            set.spec.wishes.resets.iter_mut().skip(lowest + 1).for_each(|generation| *generation = 0);
        }
    }),
    sees("reset the same generation again", "reset-ordered", |seen| {
        seen.claims.iter_mut().flatten().for_each(|claim| claim.reset = 0);
    }),
    sees("make new replicas beside old ones", "recreate-parallel", |seen| {
        edit(seen, |spec| {
            if spec.strategy == Strategy::Recreate {
                spec.strategy = Strategy::Plain;
            }
        });
    }),
    sees("let all claims grow at once", "growth-ordered", |seen| {
        seen.claims.iter_mut().flatten().for_each(|claim| claim.has = claim.asks);
    }),
    sees("forget who leads", "leader-ordered", |seen| each_pod(seen, |pod| pod.leader = false)),
    sees("take back what came back", "again-ordered", |seen| {
        if let Some(set) = &mut seen.set {
            set.notes.rolled_back = Slots::default();
        }
    }),
    sees("forget what was rolled out", "canary-ordered", |seen| {
        if let Some(set) = &mut seen.set {
            set.notes.rolled_out = None;
        }
    }),
    says("delete the claim with its pod", "reset-ordered", |_, view, plan| {
        let gone = |action: &Action| match action {
            Action::DeletePod { ordinal, why: Removal::Reset, .. } => Some(*ordinal),
            _ => None,
        };
        let resets: Vec<Ordinal> = plan.actions().filter_map(gone).collect();
        let claims = view.claims.iter().filter_map(|claim| {
            let ordinal = resets.iter().find(|ordinal| claim.target.name.ends_with(&format!("-{ordinal}")))?;
            Some(Action::DeleteClaim { target: claim.target.clone(), ordinal: *ordinal })
        });
        let claims: Vec<Action> = claims.collect();
        plan.batches.extend((!claims.is_empty()).then_some(claims));
    }),
    says("never grow", "growth-ordered", |_, _, plan| {
        drop_actions(plan, |action| matches!(action, Action::GrowClaim { .. }));
    }),
    says("never take back", "rollback-ordered", |_, _, plan| {
        drop_actions(plan, |action| matches!(action, Action::RollBack { .. }));
    }),
    says("take back at once", "rollback-ordered", |seen, view, plan| {
        let rolls_back =
            seen.set.is_some_and(|set| set.spec.wishes.rolls_back && set.notes.rolled_back == Slots::default());
        let current = view.set.current_revision.clone().filter(|current| *current != view.template.name);
        if let Some(to) = current.filter(|_| rolls_back) {
            plan.batches.push(vec![Action::RollBack { to, from: view.template.name.clone() }]);
        }
    }),
    Fault { gives_up: true, ..says("take nothing back once a pod was refused", "refused-pods-ordered", |_, _, _| {}) },
    Fault {
        gives_up: true,
        ..says("make no replica once a claim was refused", "refused-claims-parallel", |_, _, _| {})
    },
    says("end a rollout as soon as all are Ready", "flicker-ordered", |_, view, plan| {
        for status in [&mut plan.status, &mut plan.found] {
            let counts = [status.replicas, status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0)];
            if counts == [view.set.range.replicas; 3] {
                plan.status_changed |= status.current_revision != status.update_revision;
                status.current_revision.clone_from(&status.update_revision);
                status.current_replicas = status.updated_replicas;
            }
        }
    }),
    says("reset a replica that is up whatever is down", "reset-update-parallel", |_, view, plan| {
        let gone = |pod: &&std::sync::Arc<PodView>| {
            let asked = pod.ordinal.and_then(|ordinal| view.set.wishes.resets.get(&ordinal));
            asked.is_some() && pod.reset.as_ref() != asked && !pod.terminating && pod.owner == SetOwner::This
        };
        let deleted = |target: &stead_plan::ids::Target| {
            plan.actions().any(|action| matches!(action, Action::DeletePod { target: other, .. } if other == target))
        };
        let pod = view.pods.iter().filter(gone).find(|pod| !deleted(&pod.target));
        let delete = pod.and_then(|pod| {
            Some(Action::DeletePod { target: pod.target.clone(), ordinal: pod.ordinal?, why: Removal::Reset })
        });
        plan.batches.extend(delete.map(|delete| vec![delete]));
    }),
    says("delete without UID", "scale-ordered", |_, _, plan| each_deletion(plan, |target| target.uid = Uid::default())),
    says("delete without resourceVersion", "scale-ordered", |_, _, plan| {
        each_deletion(plan, |target| target.resource_version = ResourceVersion::default());
    }),
    says("delete lower ordinals first", "scale-ordered", |_, view, plan| {
        let condemned =
            view.pods.iter().find(|pod| pod.ordinal.is_some_and(|ordinal| !view.set.range.contains(ordinal)));
        let Some(lowest) = condemned else { return };
        for action in plan.batches.iter_mut().flatten() {
            if let Action::DeletePod { target, ordinal, why: Removal::Condemned } = action {
                (*target, *ordinal) = (lowest.target.clone(), lowest.ordinal.unwrap_or_default());
            }
        }
    }),
    says("drop the current revision from history", "update-ordered", |_, view, plan| {
        let current = view.revisions.iter().find(|revision| Some(revision.name()) == view.set.current_revision);
        if let Some(current) = current.filter(|_| view.revisions.len() > 1) {
            plan.batches.push(vec![Action::DeleteRevision(current.target.clone())]);
        }
    }),
    says("never write the template down", "start-ordered", |_, _, plan| {
        drop_actions(plan, |action| matches!(action, Action::CreateRevision { .. }));
    }),
    says("renumber backwards", "update-ordered", |_, _, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::RenumberRevision { number, .. } = action {
                *number = 1;
            }
        }
    }),
    says("make pods before their claims", "start-ordered", |_, _, plan| {
        if let Some(at) = plan.batches.iter().position(|batch| matches!(batch[0], Action::CreateClaim { .. })) {
            plan.batches[at..].rotate_left(1);
        }
    }),
    says("make one replica too many", "start-parallel", |_, view, plan| {
        let end = Ordinal(view.set.range.start + view.set.range.replicas);
        let batch =
            plan.batches.iter_mut().find(|batch| batch.iter().any(|action| matches!(action, Action::CreatePod { .. })));
        if let Some(batch) = batch {
            batch.push(Action::CreatePod { ordinal: end, revision: view.template.name.clone() });
        }
    }),
    says("give the claim of a wanted replica to its pod", "policies-ordered", |_, view, plan| {
        for action in plan.batches.iter_mut().flatten() {
            if let Action::OwnClaim { ordinal, owner, .. } = action
                && let Some(pod) = view.pods.iter().find(|pod| pod.ordinal == Some(*ordinal))
            {
                *owner = ClaimKeeper::Pod(pod.target.uid.clone());
            }
        }
    }),
    says("leave the claim of a wanted replica to the pod that goes", "scaled-back-ordered", |_, view, plan| {
        drop_actions(
            plan,
            |action| matches!(action, Action::OwnClaim { ordinal, .. } if view.set.range.contains(*ordinal)),
        );
    }),
    says("adopt without looking at the set again", "adopt-ordered", |_, _, plan| {
        drop_actions(plan, |action| *action == Action::ConfirmSet);
    }),
    says("never replace what ended", "ended-ordered", |_, _, plan| {
        drop_actions(plan, |action| matches!(action, Action::DeletePod { why: Removal::Ended, .. }));
    }),
    says("never heal a broken rollout", "repair-ordered", |_, _, plan| {
        drop_actions(plan, |action| matches!(action, Action::DeletePod { why: Removal::Broken, .. }));
    }),
    says("wait without a word", "start-ordered", |_, _, plan| plan.waits.clear()),
    says("forget to wake up", "min-ready-ordered", |_, _, plan| plan.wake_at = None),
    says("observe a generation that is not there yet", "start-ordered", |_, _, plan| {
        plan.status.observed_generation = plan.status.observed_generation.map(|generation| generation + 1);
    }),
    says("count a replica twice", "start-ordered", |_, _, plan| {
        plan.status.ready_replicas = plan.status.ready_replicas.map(|ready| ready + 1);
    }),
    says("write the status every time", "start-ordered", |_, _, plan| plan.status_changed = true),
    says("write one object twice", "scale-ordered", |_, _, plan| {
        if let Some(batch) = plan.batches.iter_mut().find(|batch| matches!(batch[0], Action::DeletePod { .. })) {
            batch.push(batch[0].clone());
        }
    }),
];

fn each_pod(seen: &mut Objects, change: impl FnMut(&mut super::objects::Pod)) {
    seen.pods.iter_mut().flatten().for_each(change);
}

fn becomes(seen: &mut Objects, from: Life, to: Life) {
    each_pod(seen, |pod| {
        if pod.life == from {
            pod.life = to;
        }
    });
}

fn edit(seen: &mut Objects, change: impl FnOnce(&mut Spec)) {
    if let Some(set) = &mut seen.set {
        change(&mut set.spec);
    }
}

fn each_deletion(plan: &mut Plan, change: impl Fn(&mut stead_plan::ids::Target)) {
    for action in plan.batches.iter_mut().flatten() {
        if let Action::DeletePod { target, .. } = action {
            change(target);
        }
    }
}

fn drop_actions(plan: &mut Plan, drop: impl Fn(&Action) -> bool) {
    plan.batches.iter_mut().for_each(|batch| batch.retain(|action| !drop(action)));
    plan.batches.retain(|batch| !batch.is_empty());
}
