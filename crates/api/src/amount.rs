//! Exact arithmetic on quantities (`500m`, `10Gi`, `1e3`): parsing, comparing, rounding up.
//!
//! It does not print or canonicalise: the wire keeps the text its author wrote.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANO: i128 = 1_000_000_000;

/// A quantity as a whole number of billionths, the smallest unit Kubernetes keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    nano: i128,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self { nano: 0 };

    /// A whole number of units (cores, bytes, pieces).
    pub fn from_units(units: i64) -> Self {
        Self { nano: i128::from(units) * NANO }
    }

    /// Reads a quantity's text; none when it is not one or is out of range.
    pub fn parse(text: &str) -> Option<Self> {
        let digits_end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits_end);
        let (numerator, denominator) = decimal(number)?;
        let scaled = match suffix {
            "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => {
                let power = "KMGTPE".find(&suffix[..1])? as u32 + 1;
                numerator.checked_mul(1_i128 << (10 * power))?.checked_mul(NANO)?
            }
            "n" | "u" | "m" | "" | "k" | "M" | "G" | "T" | "P" | "E" => {
                let power = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].iter().position(|s| *s == suffix)?;
                numerator.checked_mul(10_i128.pow(3 * u32::try_from(power).ok()?))?
            }
            exponent => {
                let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
                let factor = 10_i128.checked_pow(u32::try_from(power.checked_add(9)?).ok()?)?;
                numerator.checked_mul(factor)?
            }
        };
        Some(Self { nano: div_away_from_zero(scaled, denominator) })
    }

    /// The amount of a decoded quantity. Admission has checked it; what cannot be read counts as zero.
    pub fn of(quantity: &Quantity) -> Self {
        Self::parse(&quantity.0).unwrap_or_default()
    }

    /// Billionths, exactly.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// Whole units, rounded up.
    pub fn units(self) -> i64 {
        saturate(div_away_from_zero(self.nano, NANO))
    }

    /// Thousandths, rounded up: milli-cores of a CPU amount.
    pub fn milli(self) -> i64 {
        saturate(div_away_from_zero(self.nano, NANO / 1000))
    }

    /// The sum, held at the largest amount.
    pub fn plus(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_add(other.nano) }
    }

    /// The difference, which may be negative.
    pub fn minus(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_sub(other.nano) }
    }
}

/// A decimal number as numerator and a power of ten.
fn decimal(text: &str) -> Option<(i128, i128)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((sign * all.parse::<i128>().ok()?, 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?))
}

fn div_away_from_zero(numerator: i128, denominator: i128) -> i128 {
    let rest = numerator % denominator;
    numerator / denominator + rest.signum()
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix_and_exponent_means_what_kubernetes_says() {
        for (text, milli) in [
            ("0", Some(0)),
            ("500m", Some(500)),
            ("1.5", Some(1_500)),
            (".5", Some(500)),
            ("2k", Some(2_000_000)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("1e3", Some(1_000_000)),
            ("1E-3", Some(1)),
            ("1E", Some(i64::MAX)),
            ("100u", Some(1)),
            ("-1", Some(-1_000)),
            ("", None),
            ("1.2.3", None),
            ("1Kib", None),
            ("Gi", None),
            ("+-1", None),
        ] {
            assert_eq!(Amount::parse(text).map(Amount::milli), milli, "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_notations_and_round_up() {
        assert_eq!(Amount::parse("1Gi"), Amount::parse("1073741824"));
        assert!(Amount::parse("10Gi") > Amount::parse("10G"));
        assert_eq!(Amount::parse("1m").map(Amount::units), Some(1));
        assert_eq!(Amount::from_units(2).minus(Amount::from_units(3)).plus(Amount::from_units(1)), Amount::ZERO);
    }
}
