//! The objects of the API server as the model keeps them: only what decisions depend on, small enough
//! to be copied, compared and hashed by the million. It knows no wire types and no rules.

use super::preparing::Errand;

/// Pod and claim names there are: `web-0` to `web-3`.
pub(crate) const SLOTS: usize = 4;
/// Pod templates there are: `a`, `b` and `c`.
pub(crate) const TEMPLATES: usize = 3;

/// An identity (UID) or a version (resourceVersion). Stamps are only ever compared for equality, so a
/// state may number them as it likes; see [`Objects::visit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u8);

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

/// One bit per slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slots(pub(crate) u8);

impl Slots {
    pub(crate) fn has(self, slot: usize) -> bool {
        self.0 & (1 << slot) != 0
    }

    pub(crate) fn put(&mut self, slot: usize, value: bool) {
        if value {
            self.0 |= 1 << slot;
        } else {
            self.0 &= !(1 << slot);
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..SLOTS).filter(move |slot| self.has(*slot))
    }
}

/// `spec.updateStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Strategy {
    OnDelete,
    Recreate,
    /// RollingUpdate without its block.
    Plain,
    /// RollingUpdate with a partition, and perhaps a budget.
    Block {
        partition: u8,
        unavailable_max: Option<u8>,
    },
}

/// What annotations of the set ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Wishes {
    pub(crate) hold_on_raise: bool,
    pub(crate) paused: bool,
    /// Ordinals that no replica may hold.
    pub(crate) reserved: Slots,
    /// By slot, the generation that its replica has to be made for; 0 is none.
    pub(crate) resets: [u8; SLOTS],
    /// Whether leaders are updated last.
    pub(crate) leader_last: bool,
    /// Whether a rollout has a deadline, and whether it is taken back when that has passed.
    pub(crate) deadline: bool,
    pub(crate) rolls_back: bool,
}

/// What the controller has written down on the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Notes {
    /// By slot, the template that a lost replica of a paused set returns at.
    pub(crate) paused: [Option<u8>; SLOTS],
    /// The templates that were taken back, one bit each.
    pub(crate) rolled_back: Slots,
    /// The template that was rolled out last, and the partition.
    pub(crate) rolled_out: Option<(u8, u8)>,
    /// The replica whose reset overtakes others.
    pub(crate) resetting: Option<u8>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    Paused([Option<u8>; SLOTS]),
    RolledOut(Option<(u8, u8)>),
    Resetting(Option<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    pub(crate) replicas: u8,
    pub(crate) start: u8,
    pub(crate) parallel: bool,
    pub(crate) strategy: Strategy,
    /// Whether claims go with their replica.
    pub(crate) scaled_delete: bool,
    /// Whether claims go with the set.
    pub(crate) deleted_delete: bool,
    /// Whether a pod must be Ready for a while to be available.
    pub(crate) min_ready: bool,
    pub(crate) template: u8,
    pub(crate) history_limit: u8,
    /// What new claims ask for.
    pub(crate) storage: u8,
    pub(crate) wishes: Wishes,
}

impl Spec {
    /// The first `count` ordinals that a replica may hold; there may be more than there are slots.
    fn first(&self, count: u8) -> impl Iterator<Item = usize> {
        let reserved = self.wishes.reserved;
        let free = (usize::from(self.start)..).filter(move |slot| *slot >= SLOTS || !reserved.has(*slot));
        free.take(usize::from(count))
    }

    pub(crate) fn contains(&self, slot: usize) -> bool {
        self.first(self.replicas).any(|wanted| wanted == slot)
    }

    /// Whether a partition of `count` replicas keeps `slot` out of a rollout.
    pub(crate) fn is_below(&self, count: u8, slot: usize) -> bool {
        slot < self.first(count).last().map_or(usize::from(self.start), |last| last + 1)
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

/// Numbers stamps in the order in which they are first met, so that states that differ only in their
/// numbers become one.
#[derive(Clone, Debug)]
pub(crate) struct Renumbering {
    given: [Option<u8>; 256],
    met: Vec<Stamp>,
}

impl Default for Renumbering {
    fn default() -> Self {
        Self { given: [None; 256], met: Vec::new() }
    }
}

impl Renumbering {
    pub(crate) fn renumber(&mut self, stamp: &mut Stamp) {
        let slot = &mut self.given[usize::from(stamp.0)];
        let number = *slot.get_or_insert_with(|| {
            self.met.push(*stamp);
            u8::try_from(self.met.len() - 1).expect("invariant: a state holds fewer than 256 stamps")
        });
        *stamp = Stamp(number);
    }

    /// The stamp that was given `number`.
    pub(crate) fn original(&self, number: Stamp) -> Option<Stamp> {
        self.met.get(usize::from(number.0)).copied()
    }

    /// How many different stamps were met.
    pub(crate) fn count(&self) -> usize {
        self.met.len()
    }
}
