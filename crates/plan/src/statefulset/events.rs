//! The events a set shows (contract section P). It only words them; who records them and how
//! repeats are counted is not its business.

use super::actions::Action;
use super::ordinals::{Ordinal, pod_name};

/// An event about the set, ready to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// Whether something is wrong.
    pub warning: bool,
    /// The reason, in one word.
    pub reason: &'static str,
    /// The text.
    pub message: String,
}

impl Note {
    fn normal(reason: &'static str, message: String) -> Self {
        Self { warning: false, reason, message }
    }

    fn warning(reason: &'static str, message: String) -> Self {
        Self { warning: true, reason, message }
    }
}

/// The event that tells of `action` on `set` having succeeded; none for bookkeeping (P5).
pub fn succeeded(set: &str, action: &Action) -> Option<Note> {
    let pod = |verb: &str, pod: &str| format!("{verb} Pod {pod} in StatefulSet {set} successful");
    match action {
        Action::CreatePod { ordinal, .. } => {
            Some(Note::normal("SuccessfulCreate", pod("Create", &pod_name(set, *ordinal))))
        }
        Action::RelabelPod { target, .. } => Some(Note::normal("SuccessfulUpdate", pod("Update", &target.name))),
        Action::DeletePod { target, .. } => Some(Note::normal("SuccessfulDelete", pod("Delete", &target.name))),
        Action::CreateClaim { name, ordinal, .. } => {
            let message = format!("Create Claim {name} Pod {} in StatefulSet {set} success", pod_name(set, *ordinal));
            Some(Note::normal("SuccessfulCreate", message))
        }
        Action::DeleteClaim { target, ordinal } => {
            let pod = pod_name(set, *ordinal);
            let message = format!("Delete Claim {} Pod {pod} in StatefulSet {set} success", target.name);
            Some(Note::normal("SuccessfulDelete", message))
        }
        Action::GrowClaim { target, ordinal, .. } => {
            let pod = pod_name(set, *ordinal);
            let message = format!("Update Claim {} Pod {pod} in StatefulSet {set} success", target.name);
            Some(Note::normal("SuccessfulUpdate", message))
        }
        Action::RollBack { to, from } => {
            let message = format!("StatefulSet {set} went back from revision {from} to {to}");
            Some(Note::normal("RolledBack", message))
        }
        Action::ConfirmSet
        | Action::AdoptRevision(_)
        | Action::CreateRevision { .. }
        | Action::RenumberRevision { .. }
        | Action::DeleteRevision(_)
        | Action::AdoptPod(_)
        | Action::ReleasePod(_)
        | Action::OwnClaim { .. }
        | Action::Prepare { .. }
        | Action::Withdraw { .. }
        | Action::Remember { .. } => None,
    }
}

/// The event that tells of `action` on `set` having failed with `error`. Not to be used when a
/// creation found that the object exists already, which is no news.
pub fn failed(set: &str, action: &Action, error: &str) -> Option<Note> {
    match action {
        Action::CreatePod { ordinal, .. } => Some(create_failed(set, &pod_name(set, *ordinal), error)),
        Action::RelabelPod { target, .. } => Some(update_failed(set, &target.name, error)),
        Action::DeletePod { target, .. } => {
            Some(Note::warning("FailedDelete", pod_failed("Delete", set, &target.name, error)))
        }
        Action::CreateClaim { name, ordinal, .. } => {
            Some(Note::warning("FailedCreate", claim_failed("Create", set, name, *ordinal, error)))
        }
        Action::OwnClaim { ordinal, .. } => Some(update_failed(set, &pod_name(set, *ordinal), error)),
        Action::DeleteClaim { target, ordinal } => {
            Some(Note::warning("FailedDelete", claim_failed("Delete", set, &target.name, *ordinal, error)))
        }
        Action::GrowClaim { target, ordinal, .. } => {
            Some(Note::warning("FailedUpdate", claim_failed("Update", set, &target.name, *ordinal, error)))
        }
        Action::RollBack { to, from } => {
            let message = format!("StatefulSet {set} cannot go back from revision {from} to {to}: {error}");
            Some(Note::warning("FailedRollback", message))
        }
        Action::ConfirmSet
        | Action::AdoptRevision(_)
        | Action::CreateRevision { .. }
        | Action::RenumberRevision { .. }
        | Action::DeleteRevision(_)
        | Action::AdoptPod(_)
        | Action::ReleasePod(_)
        | Action::Prepare { .. }
        | Action::Withdraw { .. }
        | Action::Remember { .. } => None,
    }
}

/// A pod cannot be made.
pub fn create_failed(set: &str, pod: &str, error: &str) -> Note {
    Note::warning("FailedCreate", pod_failed("Create", set, pod, error))
}

/// A pod cannot be brought in line.
pub fn update_failed(set: &str, pod: &str, error: &str) -> Note {
    Note::warning("FailedUpdate", pod_failed("Update", set, pod, error))
}

/// A claim has an owner that the retention policy must not override (P4; the spelling is on the wire).
pub fn conflicting_controller(claim: &str) -> Note {
    let message = format!(
        "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim"
    );
    Note::warning("ConflictingController", message)
}

/// A rollout cannot go on until something changes.
pub(super) fn rollout_waits(why: &str) -> Note {
    Note::warning("RolloutWaiting", format!("The rollout waits: {why}"))
}

/// A rollout that waited goes on.
pub(super) fn rollout_goes_on() -> Note {
    Note::normal("RolloutContinues", "The rollout goes on".to_owned())
}

/// Something is wrong, as a condition says.
pub(super) fn warning(reason: &'static str, message: &str) -> Note {
    Note::warning(reason, message.to_owned())
}

fn claim_failed(verb: &str, set: &str, claim: &str, ordinal: Ordinal, error: &str) -> String {
    format!("{verb} Claim {claim} for Pod {} in StatefulSet {set} failed error: {error}", pod_name(set, ordinal))
}

fn pod_failed(verb: &str, set: &str, pod: &str, error: &str) -> String {
    format!("{verb} Pod {pod} in StatefulSet {set} failed error: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Target;
    use crate::statefulset::revisions::RevisionName;
    use crate::statefulset::{ClaimKeeper, Removal};

    #[test]
    fn what_failed_is_told_and_bookkeeping_is_not() {
        let named = |name: &str| Target { name: name.to_owned(), ..Target::default() };
        let (pod, claim, ordinal) = (named("web-1"), named("data-web-1"), Ordinal(1));
        let (to, from) = (RevisionName("web-a".to_owned()), RevisionName("web-b".to_owned()));
        for (action, wanted) in [
            (
                Action::CreatePod { ordinal, revision: to.clone() },
                "FailedCreate Create Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::RelabelPod { target: pod.clone(), ordinal },
                "FailedUpdate Update Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::DeletePod { target: pod.clone(), ordinal, why: Removal::Ended },
                "FailedDelete Delete Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::CreateClaim { name: claim.name.clone(), template: "data".to_owned(), ordinal },
                "FailedCreate Create Claim data-web-1 for Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::OwnClaim { target: claim.clone(), ordinal, owner: ClaimKeeper::Set },
                "FailedUpdate Update Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::DeleteClaim { target: claim.clone(), ordinal },
                "FailedDelete Delete Claim data-web-1 for Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::GrowClaim { target: claim, ordinal, storage: "2Gi".to_owned() },
                "FailedUpdate Update Claim data-web-1 for Pod web-1 in StatefulSet web failed error: no",
            ),
            (
                Action::RollBack { to, from },
                "FailedRollback StatefulSet web cannot go back from revision web-b to web-a: no",
            ),
        ] {
            let note = failed("web", &action, "no").expect("it is told");
            assert!(note.warning);
            assert_eq!(format!("{} {}", note.reason, note.message), wanted);
        }
        assert_eq!(failed("web", &Action::AdoptPod(pod), "no"), None);
    }
}
