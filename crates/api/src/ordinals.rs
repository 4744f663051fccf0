//! The numbers of replicas, and lists of them as annotations write them.

use std::fmt;

/// The number of a replica: the stead it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub i32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ordinal {
    /// The ordinal that `digits` write in their canonical form: no sign, no leading zero.
    pub fn parse(digits: &str) -> Option<Self> {
        let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        if !decimal || leading_zero {
            return None;
        }
        digits.parse().ok().map(Self)
    }
}

/// A set of ordinals, written `1,3-4`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OrdinalSet(Vec<(i32, i32)>);

impl OrdinalSet {
    /// Reads `1,3-4`; on failure gives the part that is neither an ordinal nor a range of them. An empty
    /// text is the empty set.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut stretches = Vec::new();
        for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (Ordinal::parse(first.trim()), Ordinal::parse(last.trim())) {
                (Some(first), Some(last)) if first <= last => stretches.push((first.0, last.0)),
                _ => return Err(part.to_owned()),
            }
        }
        Ok(Self::joined(stretches))
    }

    /// The stretches of neighbours, lowest first, each with its first and its last ordinal.
    pub fn stretches(&self) -> impl Iterator<Item = (Ordinal, Ordinal)> {
        self.0.iter().map(|(first, last)| (Ordinal(*first), Ordinal(*last)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `ordinal` is one of them.
    pub fn contains(&self, ordinal: Ordinal) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&ordinal.0))
    }

    fn joined(mut stretches: Vec<(i32, i32)>) -> Self {
        stretches.sort_unstable();
        let mut joined: Vec<(i32, i32)> = Vec::new();
        for (first, last) in stretches {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                Some(_) | None => joined.push((first, last)),
            }
        }
        Self(joined)
    }
}

impl FromIterator<Ordinal> for OrdinalSet {
    fn from_iter<I: IntoIterator<Item = Ordinal>>(ordinals: I) -> Self {
        Self::joined(ordinals.into_iter().map(|ordinal| (ordinal.0, ordinal.0)).collect())
    }
}

impl fmt::Display for OrdinalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_ordinals_are_read_whole_or_not_at_all() {
        for (text, wanted) in [("", ""), ("1", "1"), (" 3 - 4, 1", "1,3-4"), ("1,2,3,7", "1-3,7"), ("0-4,2", "0-4")] {
            assert_eq!(OrdinalSet::parse(text).map(|set| set.to_string()), Ok(wanted.to_owned()), "{text}");
        }
        for (text, wrong) in [("1,x", "x"), ("1,", ""), ("4-3", "4-3"), ("-1", "-1"), ("01", "01"), ("1-2-3", "1-2-3")]
        {
            assert_eq!(OrdinalSet::parse(text), Err(wrong.to_owned()), "{text}");
        }
        assert_eq!([4, 1, 3].map(Ordinal).into_iter().collect::<OrdinalSet>().to_string(), "1,3-4");
    }
}
