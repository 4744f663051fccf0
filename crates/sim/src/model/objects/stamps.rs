//! Identities and versions, and how states that differ only in these become one.

/// An identity (UID) or a version (resourceVersion). Stamps are only ever compared for equality, so a
/// state may number them as it likes; see [`super::Objects::visit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u8);

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
