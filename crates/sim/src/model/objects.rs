//! The objects of the API server as the model keeps them: only what decisions depend on, small enough
//! to be copied, compared and hashed by the million. It knows no wire types and no rules.

mod spec;
mod stamps;

use super::preparing::Errand;
pub(crate) use spec::{Note, Notes, Slots, Spec, Strategy, Wishes};
pub(crate) use stamps::{Renumbering, Stamp};

/// Pod and claim names there are: `web-0` to `web-3`.
pub(crate) const SLOTS: usize = 4;
/// Pod templates there are: `a`, `b` and `c`.
pub(crate) const TEMPLATES: usize = 3;

/// A number of [`crate::model::planner::Planner`]'s table of statuses; none is an absent status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StatusId(pub(crate) u16);

/// The kinds whose caches lag by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Sets,
    Pods,
    Claims,
    Revisions,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Sets, Self::Pods, Self::Claims, Self::Revisions];

    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// How a set goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Going {
    No,
    /// Its dependents first.
    Foreground,
    /// Its dependents are let go.
    Orphan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Set {
    pub(crate) uid: Stamp,
    pub(crate) version: Stamp,
    pub(crate) generation: u8,
    pub(crate) going: Going,
    pub(crate) spec: Spec,
    pub(crate) notes: Notes,
    pub(crate) status: Option<StatusId>,
}

impl Set {
    /// A set that has only just been made.
    pub(crate) fn new(uid: Stamp, version: Stamp, spec: Spec) -> Self {
        Self { uid, version, generation: 1, going: Going::No, spec, notes: Notes::default(), status: None }
    }
}

/// The controller of a pod or revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A set called `web` with this UID.
    Set(Stamp),
    Nobody,
    /// Something else that exists.
    Other,
}

/// What has become of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// No node has taken it yet.
    Pending,
    /// It runs and was never Ready.
    Unready,
    /// Ready just now.
    Fresh,
    /// Ready for long enough for everything.
    Ready,
    /// It stood, and is no longer Ready.
    Down,
    Failed,
    Succeeded,
}

impl Life {
    pub(crate) fn is_ready(self) -> bool {
        matches!(self, Self::Fresh | Self::Ready)
    }

    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Succeeded)
    }

    /// Whether processes of the pod run.
    pub(crate) fn runs(self) -> bool {
        matches!(self, Self::Unready | Self::Fresh | Self::Ready | Self::Down)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pod {
    pub(crate) uid: Stamp,
    pub(crate) version: Stamp,
    pub(crate) owner: Owner,
    /// Whether its labels match the selector.
    pub(crate) selected: bool,
    /// Whether it carries its identity labels.
    pub(crate) labelled: bool,
    pub(crate) terminating: bool,
    pub(crate) life: Life,
    /// The template it was made from.
    pub(crate) template: u8,
    /// The claim it was started with.
    pub(crate) mounts: Option<Stamp>,
    /// What its node is asked.
    pub(crate) errand: Errand,
    /// Whether it is labelled as a leader.
    pub(crate) leader: bool,
    /// The generation of a reset that it was made for; 0 is none.
    pub(crate) reset: u8,
}

/// The owner of a claim, of those that the set may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Keeper {
    Nobody,
    Set(Stamp),
    Pod(Stamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) uid: Stamp,
    pub(crate) version: Stamp,
    pub(crate) terminating: bool,
    pub(crate) keeper: Keeper,
    /// Whether something else controls it.
    pub(crate) foreign: bool,
    /// The generation of a reset that it was made for; 0 is none.
    pub(crate) reset: u8,
    /// What it asks for, and what its volume has.
    pub(crate) asks: u8,
    pub(crate) has: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revision {
    pub(crate) uid: Stamp,
    pub(crate) version: Stamp,
    pub(crate) owner: Owner,
    pub(crate) number: u8,
    /// The number it was first given: in this order revisions were made.
    pub(crate) made: u8,
}

/// The objects there are, or those that a cache shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Objects {
    pub(crate) set: Option<Set>,
    pub(crate) pods: [Option<Pod>; SLOTS],
    pub(crate) claims: [Option<Claim>; SLOTS],
    /// By template.
    pub(crate) revisions: [Option<Revision>; TEMPLATES],
}

impl Objects {
    /// Whether both show the same of `kind`.
    pub(crate) fn agrees(&self, other: &Self, kind: Kind) -> bool {
        match kind {
            Kind::Sets => self.set == other.set,
            Kind::Pods => self.pods == other.pods,
            Kind::Claims => self.claims == other.claims,
            Kind::Revisions => self.revisions == other.revisions,
        }
    }

    /// Takes over what `other` shows of `kind`.
    pub(crate) fn take(&mut self, other: &Self, kind: Kind) {
        match kind {
            Kind::Sets => self.set = other.set,
            Kind::Pods => self.pods = other.pods,
            Kind::Claims => self.claims = other.claims,
            Kind::Revisions => self.revisions = other.revisions,
        }
    }

    /// Shows every stamp to `with`, always in the same order.
    pub(crate) fn visit(&mut self, with: &mut impl FnMut(&mut Stamp)) {
        if let Some(set) = &mut self.set {
            with(&mut set.uid);
            with(&mut set.version);
        }
        for pod in self.pods.iter_mut().flatten() {
            with(&mut pod.uid);
            with(&mut pod.version);
            visit_owner(&mut pod.owner, with);
            pod.mounts.iter_mut().for_each(&mut *with);
            pod.errand.visit(with);
        }
        for claim in self.claims.iter_mut().flatten() {
            with(&mut claim.uid);
            with(&mut claim.version);
            match &mut claim.keeper {
                Keeper::Nobody => {}
                Keeper::Set(uid) | Keeper::Pod(uid) => with(uid),
            }
        }
        for revision in self.revisions.iter_mut().flatten() {
            with(&mut revision.uid);
            with(&mut revision.version);
            visit_owner(&mut revision.owner, with);
        }
    }
}

fn visit_owner(owner: &mut Owner, with: &mut impl FnMut(&mut Stamp)) {
    match owner {
        Owner::Set(uid) => with(uid),
        Owner::Nobody | Owner::Other => {}
    }
}
