//! The claims of a set, found by the replica they are for. Sets have thousands of them, and a plan looks at each
//! replica's: no name is made or compared for that.

use std::sync::Arc;

use super::claim_views::ClaimView;
use super::ordinals::Ordinal;

/// Whose a claim is: of one replica, made from one template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) ordinal: Ordinal,
    /// The place of the template among those of the set.
    pub(super) template: usize,
}

/// The existing claims of a set: by replica, and of each in the order of the templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimList(Vec<(Place, Arc<ClaimView>)>);

impl FromIterator<(Place, Arc<ClaimView>)> for ClaimList {
    fn from_iter<I: IntoIterator<Item = (Place, Arc<ClaimView>)>>(claims: I) -> Self {
        let mut claims: Vec<_> = claims.into_iter().collect();
        claims.sort_unstable_by_key(|(place, _)| *place);
        Self(claims)
    }
}

impl ClaimList {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ClaimView> {
        self.0.iter().map(|(_, claim)| claim.as_ref())
    }

    /// The one with this name.
    pub fn named(&self, name: &str) -> Option<&ClaimView> {
        self.iter().find(|claim| claim.target.name == name)
    }

    /// The one with this name, to be seen otherwise.
    pub fn named_mut(&mut self, name: &str) -> Option<&mut ClaimView> {
        let named = self.0.iter_mut().find(|(_, claim)| claim.target.name == name);
        named.map(|(_, claim)| Arc::make_mut(claim))
    }

    /// Those of one replica.
    pub(super) fn of(&self, ordinal: Ordinal) -> impl Iterator<Item = &ClaimView> {
        self.at(ordinal).map(|(_, claim)| claim.as_ref())
    }

    /// Whether there is one at `place`.
    pub(super) fn has(&self, place: Place) -> bool {
        self.at(place.ordinal).any(|(there, _)| *there == place)
    }

    fn at(&self, ordinal: Ordinal) -> impl Iterator<Item = &(Place, Arc<ClaimView>)> {
        let first = self.0.partition_point(|(place, _)| place.ordinal < ordinal);
        self.0.iter().skip(first).take_while(move |(place, _)| place.ordinal == ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Target;

    #[test]
    fn claims_are_found_by_their_replica_in_the_order_of_the_templates() {
        let claim = |ordinal, template, name: &str| {
            let target = Target { name: name.to_owned(), ..Target::default() };
            let view = ClaimView { target, ..ClaimView::default() };
            (Place { ordinal: Ordinal(ordinal), template }, Arc::new(view))
        };
        let list: ClaimList =
            [claim(10, 0, "data-10"), claim(2, 1, "logs-2"), claim(2, 0, "data-2")].into_iter().collect();
        let names = |claims: Vec<&ClaimView>| claims.iter().map(|claim| claim.target.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(list.of(Ordinal(2)).collect()), ["data-2", "logs-2"]);
        assert_eq!(names(list.of(Ordinal(3)).collect()), Vec::<String>::new());
        assert_eq!(names(list.iter().collect()), ["data-2", "logs-2", "data-10"]);
        assert!(list.has(Place { ordinal: Ordinal(10), template: 0 }));
        assert!(!list.has(Place { ordinal: Ordinal(10), template: 1 }));
        assert_eq!(list.named("logs-2"), list.of(Ordinal(2)).nth(1));
        assert_eq!(list.named("logs-3"), None);
    }
}
