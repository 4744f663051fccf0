//! What a plan is made of: actions, the waits that explain its silence, and the order of both.

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::conditions::Condition;
use super::events::Note;
use super::ordinals::Ordinal;
use super::revisions::RevisionName;
use super::views::PodView;
use crate::ids::{Target, Uid};

/// One write. Those that change or remove something carry the very object they were decided on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the set anew and stop unless it is the same one and not being deleted. Comes before any
    /// adoption (M2, M5).
    ConfirmSet,
    /// Take an ownerless revision (M5).
    AdoptRevision(Target),
    /// Write down the set's template (H2).
    CreateRevision {
        /// Its name.
        name: RevisionName,
        /// Its hash label.
        hash: String,
        /// Its number.
        number: i64,
    },
    /// Make an older revision the newest (H6 b).
    RenumberRevision {
        /// The revision.
        target: Target,
        /// Its new number.
        number: i64,
    },
    /// Drop a revision that nothing uses any more (H9).
    DeleteRevision(Target),
    /// Take an ownerless pod (M2).
    AdoptPod(Target),
    /// Let go of a pod that no longer matches (M3).
    ReleasePod(Target),
    /// Bring the owners of a claim in line with the retention policy (F).
    OwnClaim {
        /// The claim.
        target: Target,
        /// The ordinal it serves.
        ordinal: Ordinal,
        /// Who owns it from now on, of those the set may write.
        owner: ClaimKeeper,
    },
    /// Make a claim from its template (E).
    CreateClaim {
        /// The claim's name.
        name: String,
        /// The template's name.
        template: String,
        /// The ordinal it serves.
        ordinal: Ordinal,
    },
    /// Make a pod (D).
    CreatePod {
        /// Its ordinal.
        ordinal: Ordinal,
        /// The revision of its template.
        revision: RevisionName,
    },
    /// Set a pod's identity labels again (D5).
    RelabelPod {
        /// The pod.
        target: Target,
        /// Its ordinal.
        ordinal: Ordinal,
    },
    /// Ask a pod's node to make ready for the pod's replacement ([`super::preparing`]).
    Prepare {
        /// The pod.
        target: Target,
        /// Its ordinal.
        ordinal: Ordinal,
        /// The revision of the replacement.
        revision: RevisionName,
        /// Now.
        at: Timestamp,
    },
    /// Take away what a pod's node was asked.
    Withdraw {
        /// The pod.
        target: Target,
        /// Its ordinal.
        ordinal: Ordinal,
    },
    /// Ask a pod to end, with its own grace period.
    DeletePod {
        /// The pod.
        target: Target,
        /// Its ordinal.
        ordinal: Ordinal,
        /// Why.
        why: Removal,
    },
    /// Remove a claim that was asked to be made anew ([`super::wishes::RESET`]).
    DeleteClaim {
        /// The claim.
        target: Target,
        /// The ordinal it serves.
        ordinal: Ordinal,
    },
    /// Let a claim ask for as much as its template does.
    GrowClaim {
        /// The claim.
        target: Target,
        /// The ordinal it serves.
        ordinal: Ordinal,
        /// What it asks for from now on, as the template writes it.
        storage: String,
    },
    /// Write down on the set what must not be forgotten; none takes the annotation away.
    Remember {
        /// The annotation.
        key: &'static str,
        /// Its value.
        value: Option<String>,
    },
    /// Put the template of an older revision back, as `kubectl rollout undo` does, and write down which
    /// revision was taken back.
    RollBack {
        /// The revision whose template returns.
        to: RevisionName,
        /// The revision taken back.
        from: RevisionName,
    },
}

impl Action {
    /// Whether it settles which revisions and pods are the set's, and at which each is, before anything else.
    pub(super) fn is_bookkeeping(&self) -> bool {
        match self {
            Self::ConfirmSet
            | Self::AdoptRevision(_)
            | Self::CreateRevision { .. }
            | Self::RenumberRevision { .. }
            | Self::AdoptPod(_)
            | Self::ReleasePod(_)
            | Self::Remember { .. } => true,
            Self::DeleteRevision(_)
            | Self::OwnClaim { .. }
            | Self::CreateClaim { .. }
            | Self::CreatePod { .. }
            | Self::RelabelPod { .. }
            | Self::Prepare { .. }
            | Self::Withdraw { .. }
            | Self::DeletePod { .. }
            | Self::DeleteClaim { .. }
            | Self::GrowClaim { .. }
            | Self::RollBack { .. } => false,
        }
    }
}

/// Who holds a claim, beside foreign owners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimKeeper {
    /// Nobody: it stays until somebody deletes it.
    Nobody,
    /// The set: it goes with the set.
    Set,
    /// A condemned pod: it goes with that pod.
    Pod(Uid),
}

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// It ended and must be made anew (J1).
    Ended,
    /// It is out of range (K).
    Condemned,
    /// It is not at the revision it should be at (L).
    Outdated,
    /// It never stood and is not at the revision it should be at.
    Broken,
    /// It is to be made anew, with its claims.
    Reset,
}

/// Why something is not done now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// The pod or claim that has to change first.
    pub on: String,
    /// The rule that waits for it.
    pub rule: Rule,
    /// Since when that pod or claim is as it is, where that is known; of a terminating pod, by when it
    /// should be gone.
    pub since: Option<Timestamp>,
    /// What the one it waits for says itself.
    pub detail: Option<String>,
}

/// The rules that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A pod still holds its ordinal until it is gone (J6).
    Terminating,
    /// A pod is not Running and Ready, and later ones come after it (J4, K2, L2).
    NotReady,
    /// A pod is Ready, but not yet for long enough (N2).
    NotYetAvailable,
    /// A pod is being replaced.
    Replacing,
    /// A pod was only just made.
    Creating,
    /// A condemned pod is unavailable, and so is one below it (K3).
    ScaleDownUnhealthy,
    /// A claim is being deleted (E4).
    ClaimTerminating,
    /// A claim belongs to a pod or set that is gone and will go too (F7).
    ClaimStale,
    /// Somebody else's pod has the name (M3).
    NameTaken,
    /// A pod does not mount the claims of its ordinal, which cannot be changed (S12).
    StorageDiffers,
    /// A pod runs too shortly to tell whether it will stay up.
    NotYetSteady,
    /// As many pods are down as the set allows, this one among them (L6).
    Budget,
    /// A replica is being made anew with its claims, and the next one comes after it.
    Resetting,
    /// A claim waits for its volume to grow, and the next one comes after it.
    ClaimGrowing,
    /// The data of a claim are on nodes that are no more.
    VolumeLost,
    /// The node of a pod makes ready for the pod's replacement.
    Preparing,
    /// The node of a pod does not have the images of the pod's replacement, which it has to have first.
    ImageMissing,
    /// What is to run in a pod before it is replaced fails.
    HookFailed,
}

impl Rule {
    /// The rule in one word, as conditions give their reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Terminating => "PodTerminating",
            Self::NotReady => "PodNotReady",
            Self::NotYetAvailable => "PodNotYetAvailable",
            Self::Replacing => "PodBeingReplaced",
            Self::Creating => "PodBeingCreated",
            Self::ScaleDownUnhealthy => "ScaleDownUnhealthy",
            Self::ClaimTerminating => "ClaimTerminating",
            Self::ClaimStale => "ClaimStale",
            Self::NameTaken => "PodNameTaken",
            Self::StorageDiffers => "PodStorageDiffers",
            Self::NotYetSteady => "PodNotYetSteady",
            Self::Budget => "TooManyUnavailable",
            Self::Resetting => "ReplicaBeingReset",
            Self::ClaimGrowing => "ClaimGrowing",
            Self::VolumeLost => "VolumeLost",
            Self::Preparing => "PodBeingPrepared",
            Self::ImageMissing => "ImageMissing",
            Self::HookFailed => "PrepareHookFailed",
        }
    }

    /// Whether this wait is part of the way things go and ends by itself.
    pub(super) fn is_passing(self) -> bool {
        match self {
            Self::Replacing
            | Self::Creating
            | Self::NotYetAvailable
            | Self::NotYetSteady
            | Self::Budget
            | Self::Resetting
            | Self::ClaimGrowing => true,
            Self::Terminating
            | Self::NotReady
            | Self::ScaleDownUnhealthy
            | Self::ClaimTerminating
            | Self::ClaimStale
            | Self::NameTaken
            | Self::StorageDiffers
            | Self::VolumeLost
            | Self::Preparing
            | Self::ImageMissing
            | Self::HookFailed => false,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminating => "is terminating and holds its ordinal until it is gone",
            Self::NotReady => "is not running and ready",
            Self::NotYetAvailable => "is ready, but not for minReadySeconds yet",
            Self::Replacing => "is being replaced",
            Self::Creating => "is being created",
            Self::ScaleDownUnhealthy => "is unhealthy, and so is a lower replica that is to go",
            Self::ClaimTerminating => "is being deleted",
            Self::ClaimStale => "belongs to what is gone and will be deleted",
            Self::NameTaken => "is not this set's pod, but has its name",
            Self::StorageDiffers => "does not mount the claims of its ordinal, which cannot be changed",
            Self::NotYetSteady => "has not been up for long enough to be trusted",
            Self::Budget => "is unavailable, and no more replicas may be",
            Self::Resetting => "is being made anew with its claims",
            Self::ClaimGrowing => "asks for more than its volume has so far",
            Self::VolumeLost => "has its data on a node that is no more",
            Self::Preparing => "is being made ready to be replaced",
            Self::ImageMissing => "stays until its node has the new image",
            Self::HookFailed => "stays until its prepare hook succeeds",
        })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.on, self.rule)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// What to do about a set, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Actions in order. Those of one batch do not depend on each other; a batch starts when the one
    /// before it has succeeded.
    pub batches: Vec<Vec<Action>>,
    /// What is not done now, and why.
    pub waits: Vec<Wait>,
    /// The status the set should show.
    pub status: StatefulSetStatus,
    /// Whether that status is worth a write (O8).
    pub status_changed: bool,
    /// The status of the pods as they were found, which still holds when an action has failed.
    pub found: StatefulSetStatus,
    /// When to plan again even if nothing changes.
    pub wake_at: Option<Timestamp>,
    /// What people should be told, beside the outcome of the actions.
    pub notes: Vec<Note>,
    /// The conditions the set should show, beside those of others.
    pub conditions: Vec<Condition>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && !self.status_changed
    }

    /// Whether pods become the set's or cease to be.
    pub(super) fn regroups(&self) -> bool {
        self.actions().any(|action| matches!(action, Action::AdoptPod(_) | Action::ReleasePod(_)))
    }

    /// All actions in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.batches.iter().flatten()
    }
}

/// The pod that a repair changes.
fn repaired_pod(action: &Action) -> Option<&Target> {
    match action {
        Action::RelabelPod { target, .. } | Action::Prepare { target, .. } | Action::Withdraw { target, .. } => {
            Some(target)
        }
        _ => None,
    }
}

/// A plan in the making: one list per stage of execution.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Adoption, release and revisions.
    pub(super) bookkeeping: Vec<Action>,
    /// Changes to existing claims and pods, before anything goes.
    repairs: Vec<Action>,
    /// New claims, before the pods that need them.
    pub(super) claims: Vec<Action>,
    /// New and removed pods, and claims that must go before new ones may come.
    pub(super) pods: Vec<Action>,
    /// Revisions to drop.
    pub(super) history: Vec<Action>,
    /// What nothing else waits for.
    pub(super) last: Vec<Action>,
    pub(super) waits: Vec<Wait>,
    pub(super) notes: Vec<Note>,
    pub(super) wake_at: Option<Timestamp>,
    /// The outdated pods that the rollout would take down now.
    pub(super) in_line: HashSet<Target>,
    /// What is in `waits`, which pods `repairs` changes, and whom `pods` deletes: sets have thousands of replicas.
    waiting: HashSet<(Rule, String)>,
    repaired: HashSet<Target>,
    doomed: HashSet<Target>,
}

impl Draft {
    pub(super) fn wait(&mut self, on: &str, rule: Rule) {
        self.wait_since(on, rule, None);
    }

    pub(super) fn wait_for(&mut self, pod: &PodView, rule: Rule) {
        self.wait_since(&pod.target.name, rule, pod.since);
    }

    pub(super) fn wait_since(&mut self, on: &str, rule: Rule, since: Option<Timestamp>) {
        if self.waiting.insert((rule, on.to_owned())) {
            self.waits.push(Wait { on: on.to_owned(), rule, since, detail: None });
        }
    }

    /// As [`Draft::wait_since`], with what the one that is waited for says itself.
    pub(super) fn wait_saying(&mut self, on: &str, rule: Rule, since: Timestamp, detail: &str) {
        let detail = Some(detail.to_owned());
        self.waits.push(Wait { on: on.to_owned(), rule, since: Some(since), detail });
    }

    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Changes an existing claim or pod.
    pub(super) fn repair(&mut self, action: Action) {
        self.repaired.extend(repaired_pod(&action).cloned());
        self.repairs.push(action);
    }

    /// Asks `pod` to end. What was to be changed about it first no longer matters, and would make the
    /// deletion's precondition fail: [`Draft::finish`] leaves it out.
    pub(super) fn delete(&mut self, pod: &PodView, ordinal: Ordinal, why: Removal) {
        self.doomed.insert(pod.target.clone());
        self.pods.push(Action::DeletePod { target: pod.target.clone(), ordinal, why });
    }

    /// Whether this draft changes `pod` itself.
    pub(super) fn repairs_pod(&self, pod: &Target) -> bool {
        self.repaired.contains(pod)
    }

    pub(super) fn adopts_pods(&self) -> bool {
        self.bookkeeping.iter().any(|action| matches!(action, Action::AdoptPod(_)))
    }

    /// Whether this draft deletes any pod.
    pub(super) fn deletes_pods(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Whether this draft deletes the pod.
    pub(super) fn is_doomed(&self, pod: &Target) -> bool {
        self.doomed.contains(pod)
    }

    /// The plan, with the status it leaves things in. What was to be changed about pods that go after all is left
    /// out here, in one pass.
    pub(super) fn finish(mut self, status: StatefulSetStatus, conditions: Vec<Condition>) -> Plan {
        self.repairs.retain(|action| repaired_pod(action).is_none_or(|pod| !self.doomed.contains(pod)));
        let adopts =
            self.bookkeeping.iter().any(|action| matches!(action, Action::AdoptPod(_) | Action::AdoptRevision(_)));
        let confirm = if adopts { vec![Action::ConfirmSet] } else { Vec::new() };
        let mut batches =
            vec![confirm, self.bookkeeping, self.repairs, self.claims, self.pods, self.history, self.last];
        batches.retain(|batch| !batch.is_empty());
        Plan {
            batches,
            waits: self.waits,
            found: status.clone(),
            status,
            status_changed: true,
            wake_at: self.wake_at,
            notes: self.notes,
            conditions,
        }
    }
}
