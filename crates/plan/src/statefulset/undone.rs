//! What could not be done of a plan, and what must not be done without it. Everything else goes on: a
//! creation that the API refuses for good must keep neither the rollback away that would end it, nor
//! other replicas (G4, S11).

use std::collections::BTreeSet;

use super::actions::Action;
use super::ordinals::Ordinal;

/// The actions of one plan that failed or were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    any: bool,
    /// It is not certain which pods and revisions are the set's, or at which revision they are.
    books: bool,
    /// Ordinals that lack a claim.
    claims: BTreeSet<Ordinal>,
    /// Ordinals whose claims do not have the owners they should have.
    owners: BTreeSet<Ordinal>,
}

impl Undone {
    /// Takes down that `action` was not done.
    pub fn add(&mut self, action: &Action) {
        self.any = true;
        self.books |= action.is_bookkeeping();
        match action {
            Action::CreateClaim { ordinal, .. } => {
                self.claims.insert(*ordinal);
            }
            Action::OwnClaim { ordinal, .. } => {
                self.owners.insert(*ordinal);
            }
            Action::ConfirmSet
            | Action::AdoptRevision(_)
            | Action::CreateRevision { .. }
            | Action::RenumberRevision { .. }
            | Action::DeleteRevision(_)
            | Action::AdoptPod(_)
            | Action::ReleasePod(_)
            | Action::CreatePod { .. }
            | Action::RelabelPod { .. }
            | Action::Prepare { .. }
            | Action::Withdraw { .. }
            | Action::DeletePod { .. }
            | Action::DeleteClaim { .. }
            | Action::GrowClaim { .. }
            | Action::Remember { .. }
            | Action::RollBack { .. } => {}
        }
    }

    /// Whether everything was done so far.
    pub fn is_nothing(&self) -> bool {
        !self.any
    }

    /// Whether it is not certain any more what the rest of the plan was decided on.
    pub(super) fn leaves_doubt(&self) -> bool {
        self.books
    }

    /// Whether `action`, which comes later in the same plan, must be left out: a pod is made only on its claims
    /// (E2), and goes only once its claims go with it, if it is condemned, or else stay (K2, F2).
    pub fn stops(&self, action: &Action) -> bool {
        self.books
            || match action {
                Action::CreatePod { ordinal, .. } => self.claims.contains(ordinal),
                Action::DeletePod { ordinal, .. } => self.owners.contains(ordinal),
                _ => false,
            }
    }
}
