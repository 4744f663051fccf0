//! Ordinals and the names made of them (contract sections D and E1).
//!
//! One difference from Kubernetes (contract S10): a name counts only in its canonical form, so a pod
//! called `web-01` does not shadow `web-1`.

use std::fmt;

/// The number of a replica: the stead it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub i32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ordinals a set wants: `replicas` of them from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// `spec.ordinals.start`, 0 when unset.
    pub start: i32,
    /// `spec.replicas`.
    pub replicas: i32,
}

impl Range {
    /// Whether `ordinal` is wanted.
    pub fn contains(self, ordinal: Ordinal) -> bool {
        let offset = i64::from(ordinal.0) - i64::from(self.start);
        (0..i64::from(self.replicas)).contains(&offset)
    }

    /// The wanted ordinals, lowest first. Those beyond the largest number do not exist.
    pub fn ascending(self) -> impl DoubleEndedIterator<Item = Ordinal> {
        let end = i64::from(self.start) + i64::from(self.replicas.max(0));
        let end = i32::try_from(end).unwrap_or(i32::MAX);
        (self.start..end).map(Ordinal)
    }

    /// The first ordinal that a partition of `partition` replicas leaves to the update: partitions
    /// count from `start` (I4).
    pub fn partition_end(self, partition: i32) -> Ordinal {
        Ordinal(self.start.saturating_add(partition))
    }
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
    canonical(digits)
}

/// The ordinal of a claim made from `template`, as [`ordinal_of`].
pub fn claim_ordinal_of(template: &str, set: &str, claim: &str) -> Option<Ordinal> {
    ordinal_of(set, claim.strip_prefix(template)?.strip_prefix('-')?)
}

fn canonical(digits: &str) -> Option<Ordinal> {
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if !decimal || leading_zero {
        return None;
    }
    digits.parse().ok().map(Ordinal)
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

    #[test]
    fn ranges_start_where_they_are_told_and_end_at_the_largest_number() {
        let range = Range { start: 2, replicas: 3 };
        assert_eq!(range.ascending().collect::<Vec<_>>(), [2, 3, 4].map(Ordinal));
        assert!(!range.contains(Ordinal(1)) && range.contains(Ordinal(2)) && !range.contains(Ordinal(5)));
        assert_eq!(range.partition_end(1), Ordinal(3));
        assert_eq!(Range { start: i32::MAX - 1, replicas: 5 }.ascending().count(), 1);
    }
}
