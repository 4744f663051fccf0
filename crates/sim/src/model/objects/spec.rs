//! What users ask of a set, and what its controller notes on it.

use super::SLOTS;

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
