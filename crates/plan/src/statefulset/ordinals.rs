//! Ordinals and the names made of them (contract sections D and E1).
//!
//! One difference from Kubernetes (contract S10): a name counts only in its canonical form, so a pod
//! called `web-01` does not shadow `web-1`.

pub use stead_api::ordinals::{Ordinal, OrdinalSet};

/// The ordinals a set wants: `replicas` of them from `start` on, reserved ones left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Range {
    /// `spec.ordinals.start`, 0 when unset.
    pub start: i32,
    /// `spec.replicas`.
    pub replicas: i32,
    /// Ordinals that no replica may hold ([`super::wishes::RESERVE_ORDINALS`]).
    pub reserved: OrdinalSet,
}

impl Range {
    /// Whether `ordinal` is wanted. The largest number never is.
    pub fn contains(&self, ordinal: Ordinal) -> bool {
        let place = i64::from(ordinal.0);
        ordinal.0 < i32::MAX && self.stretches(self.replicas).any(|(from, to)| (from..to).contains(&place))
    }

    /// The wanted ordinals, lowest first. Those from the largest number on do not exist.
    pub fn ascending(&self) -> impl DoubleEndedIterator<Item = Ordinal> {
        let stretches: Vec<_> = self.stretches(self.replicas).collect();
        stretches.into_iter().flat_map(|(from, to)| (clipped(from)..clipped(to)).map(Ordinal))
    }

    /// The first ordinal that a partition of `partition` replicas leaves to the update: partitions
    /// count replicas from `start` (I4).
    pub fn partition_end(&self, partition: i32) -> Ordinal {
        let last = self.stretches(partition).last();
        Ordinal(last.map_or(self.start, |(_, to)| clipped(to)))
    }

    /// The first `count` ordinals that are not reserved, as half-open stretches.
    fn stretches(&self, count: i32) -> impl Iterator<Item = (i64, i64)> {
        let mut from = i64::from(self.start);
        let mut left = i64::from(count.max(0));
        let past_all = (i64::MAX, i64::MAX);
        let gaps = self.reserved.stretches().map(|(first, last)| (i64::from(first.0), i64::from(last.0)));
        let stretches = gaps.chain([past_all]).map(move |(first, last)| {
            let stretch = (from, from + (first - from).clamp(0, left));
            left -= stretch.1 - stretch.0;
            from = from.max(last.saturating_add(1));
            stretch
        });
        stretches.filter(|(from, to)| from < to)
    }
}

fn clipped(place: i64) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

/// The name of the pod that holds `ordinal` in the set called `set`.
pub fn pod_name(set: &str, ordinal: Ordinal) -> String {
    format!("{set}-{ordinal}")
}

/// The name of the claim made from the template called `template` for `ordinal`.
pub fn claim_name(template: &str, set: &str, ordinal: Ordinal) -> String {
    format!("{template}-{set}-{ordinal}")
}

/// The ordinal of the pod called `pod` in the set called `set`; none when the name is not one the
/// set would give.
pub fn ordinal_of(set: &str, pod: &str) -> Option<Ordinal> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    Ordinal::parse(digits)
}

/// The ordinal of a claim made from `template`, as [`ordinal_of`].
pub fn claim_ordinal_of(template: &str, set: &str, claim: &str) -> Option<Ordinal> {
    ordinal_of(set, claim.strip_prefix(template)?.strip_prefix('-')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_have_an_ordinal() {
        for (pod, wanted) in [
            ("web-0", Some(0)),
            ("web-12", Some(12)),
            ("web-01", None),
            ("web-", None),
            ("web", None),
            ("web-a", None),
            ("web-+1", None),
            ("web-2147483648", None),
            ("web-1-0", None),
            ("other-0", None),
        ] {
            assert_eq!(ordinal_of("web", pod), wanted.map(Ordinal), "{pod}");
        }
        assert_eq!(ordinal_of("web-1", "web-1-0"), Some(Ordinal(0)), "sets may end in a number themselves");
        assert_eq!(claim_ordinal_of("data", "web", "data-web-3"), Some(Ordinal(3)));
        assert_eq!(claim_ordinal_of("data", "web", "data-webs-3"), None);
    }

    fn range(start: i32, replicas: i32, reserved: &str) -> Range {
        Range { start, replicas, reserved: OrdinalSet::parse(reserved).expect("a list of ordinals") }
    }

    #[test]
    fn ranges_start_where_they_are_told_and_end_at_the_largest_number() {
        let from_two = range(2, 3, "");
        assert_eq!(from_two.ascending().collect::<Vec<_>>(), [2, 3, 4].map(Ordinal));
        assert!(!from_two.contains(Ordinal(1)) && from_two.contains(Ordinal(2)) && !from_two.contains(Ordinal(5)));
        assert_eq!(from_two.partition_end(1), Ordinal(3));
        let last = range(i32::MAX - 1, 5, "");
        assert_eq!(last.ascending().collect::<Vec<_>>(), [Ordinal(i32::MAX - 1)]);
        assert!(last.contains(Ordinal(i32::MAX - 1)) && !last.contains(Ordinal(i32::MAX)));
        assert_eq!(range(0, -1, "").ascending().count(), 0);
    }

    #[test]
    fn reserved_ordinals_are_left_out_and_the_replicas_counted_past_them() {
        for (start, replicas, reserved, wanted) in [
            (0, 3, "1", &[0, 2, 3][..]),
            (0, 3, "0-1", &[2, 3, 4]),
            (0, 3, "3-9", &[0, 1, 2]),
            (2, 3, "0-2,4", &[3, 5, 6]),
            (0, 2, "0-2147483647", &[]),
            (0, 0, "1", &[]),
        ] {
            let range = range(start, replicas, reserved);
            let found: Vec<_> = range.ascending().map(|ordinal| ordinal.0).collect();
            assert_eq!(found, wanted, "{replicas} from {start} without {reserved}");
            let contained: Vec<_> = (0..10).filter(|ordinal| range.contains(Ordinal(*ordinal))).collect();
            assert_eq!(contained, wanted, "{replicas} from {start} without {reserved}");
        }
        assert_eq!(range(0, 3, "1").partition_end(2), Ordinal(3), "replicas 0 and 2 are held back");
        assert_eq!(range(0, 3, "1").partition_end(1), Ordinal(1));
    }
}
