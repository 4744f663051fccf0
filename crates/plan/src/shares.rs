//! Counts that may be written as a percentage: `3` or `"30%"`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A count or a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(i32),
    /// So many in a hundred.
    Percent(i32),
}

impl Share {
    /// Reads `3` or `"30%"`; anything else is no share at all, which the API refuses anyway.
    pub fn of(value: &IntOrString) -> Self {
        match value {
            IntOrString::Int(count) => Self::Count(*count),
            IntOrString::String(text) => match text.strip_suffix('%').map(str::parse) {
                Some(Ok(percent)) => Self::Percent(percent),
                Some(Err(_)) | None => Self::Count(0),
            },
        }
    }

    /// The share of `whole`, fractions dropped.
    pub fn rounded_down(self, whole: i32) -> i32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => narrow(i64::from(percent) * i64::from(whole) / 100),
        }
    }

    /// The share of `whole`, fractions counted as one more.
    pub fn rounded_up(self, whole: i32) -> i32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => narrow((i64::from(percent) * i64::from(whole) + 99) / 100),
        }
    }
}

fn narrow(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        for (text, down, up) in [("50%", 1, 2), ("30%", 0, 1), ("100%", 3, 3), ("0%", 0, 0), ("x", 0, 0)] {
            let share = Share::of(&IntOrString::String(text.to_owned()));
            assert_eq!((share.rounded_down(3), share.rounded_up(3)), (down, up), "{text} of 3");
        }
        assert_eq!(Share::of(&IntOrString::Int(2)).rounded_down(3), 2);
    }
}
