//! Quantities (`100m`, `1.5Gi`, `2e3`) as exact fixed-point numbers: parsing, comparing, adding and
//! the canonical text. Never a float.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// No quantity is larger: more is capped, as Kubernetes does.
const NANO_MAX: i128 = i64::MAX as i128 * NANOS_PER_UNIT;
/// Digits before the point beyond which the cap is certain.
const WHOLE_DIGITS_MAX: usize = 28;

const BINARY_SUFFIXES: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// By power of 1000, from nano.
const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// The power of ten that [`DECIMAL_SUFFIXES`] starts with.
const DECIMAL_FIRST: i32 = -9;

/// What multiples of a thousand a quantity is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `m`, `k`, `M` …
    #[default]
    DecimalSi,
    /// `Ki`, `Mi` …
    BinarySi,
    /// `e3`, `e6` …
    DecimalExponent,
}

/// The exact value of a quantity, in whole billionths; anything finer is rounded up (away from zero).
///
/// Comparison looks at the value alone, so `1` equals `1000m`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    nano: i128,
    format: Format,
}

/// Why a text is not a quantity; the texts are Kubernetes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form number, suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// Two decimal points.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// An unknown suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self { nano: 0, format: Format::DecimalSi };

    /// Reads a quantity's text; none when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    /// The amount of a decoded quantity. Admission has checked it; what cannot be read counts as zero.
    pub fn of(quantity: &Quantity) -> Self {
        Self::parse(&quantity.0).unwrap_or_default()
    }

    /// Reads a quantity's text, saying what is wrong with it.
    pub fn read(text: &str) -> Result<Self, QuantityError> {
        let (sign, rest) = match text.strip_prefix(['+', '-']) {
            Some(rest) => (if text.starts_with('-') { -1 } else { 1 }, rest),
            None => (1, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        if !is_suffix_shaped(suffix) || number.is_empty() {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Number);
        }
        let (scale, format) = Scale::of(suffix)?;
        let nano = scale.nano(whole, fraction).unwrap_or(NANO_MAX).min(NANO_MAX);
        Ok(Self { nano: sign * nano, format })
    }

    /// So many units, written in decimal.
    pub const fn from_units(units: i64) -> Self {
        Self { nano: units as i128 * NANOS_PER_UNIT, format: Format::DecimalSi }
    }

    /// So many thousandths, written in decimal.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nano: millis as i128 * NANOS_PER_MILLI, format: Format::DecimalSi }
    }

    /// The same amount, written with these multiples.
    pub fn written(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Billionths, exactly.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// Whole units, rounded up.
    pub fn units(self) -> i64 {
        saturate(ceil_div(self.nano, NANOS_PER_UNIT))
    }

    /// Thousandths, rounded up: milli-cores of a CPU amount.
    pub fn milli(self) -> i64 {
        saturate(ceil_div(self.nano, NANOS_PER_MILLI))
    }

    /// The same, with nothing finer than thousandths, rounded up: what defaulting stores.
    pub fn rounded_up_to_milli(self) -> Self {
        Self { nano: ceil_div(self.nano, NANOS_PER_MILLI) * NANOS_PER_MILLI, ..self }
    }

    fn is_whole(self) -> bool {
        self.nano % NANOS_PER_UNIT == 0
    }

    /// The sum, capped. It is written like the first that is not zero.
    pub fn plus(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: (self.nano + other.nano).clamp(-NANO_MAX, NANO_MAX), format }
    }

    /// The difference, capped.
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nano: -other.nano, ..other })
    }

    fn decimal_text(self) -> String {
        let mut mantissa = self.nano;
        let mut exponent = DECIMAL_FIRST;
        let is_last = |exponent: i32| exponent >= DECIMAL_FIRST + 3 * (DECIMAL_SUFFIXES.len() as i32 - 1);
        while mantissa % 1000 == 0 && mantissa != 0 && !is_last(exponent) {
            mantissa /= 1000;
            exponent += 3;
        }
        match (self.format, mantissa, exponent) {
            (_, 0, _) => "0".to_owned(),
            (Format::DecimalExponent, _, 0) => mantissa.to_string(),
            (Format::DecimalExponent, _, _) => format!("{mantissa}e{exponent}"),
            (Format::DecimalSi | Format::BinarySi, _, _) => {
                let index = ((exponent - DECIMAL_FIRST) / 3) as usize;
                format!("{mantissa}{}", DECIMAL_SUFFIXES[index])
            }
        }
    }

    fn binary_text(self) -> String {
        let mut mantissa = self.nano / NANOS_PER_UNIT;
        let mut suffix = "";
        for larger in BINARY_SUFFIXES {
            if mantissa % 1024 != 0 {
                break;
            }
            mantissa /= 1024;
            suffix = larger;
        }
        format!("{mantissa}{suffix}")
    }
}

impl fmt::Display for Amount {
    /// The canonical text: no fraction, the largest suffix that loses nothing. Binary quantities
    /// below 1024 or with a fraction are written in decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_small = self.nano.abs() < 1024 * NANOS_PER_UNIT;
        f.write_str(&match self.format {
            Format::BinarySi if !is_small && self.is_whole() => self.binary_text(),
            Format::BinarySi | Format::DecimalSi | Format::DecimalExponent => self.decimal_text(),
        })
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}
impl Eq for Amount {}
impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Hash for Amount {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nano.hash(state);
    }
}

impl From<Amount> for Quantity {
    fn from(amount: Amount) -> Self {
        Self(amount.to_string())
    }
}

fn is_suffix_shaped(suffix: &str) -> bool {
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    letters.strip_prefix(['+', '-']).unwrap_or(letters).bytes().all(|c| c.is_ascii_digit())
}

/// What the number before a suffix is multiplied with.
#[derive(Clone, Copy)]
enum Scale {
    /// Units per one, a power of 1024.
    Binary(u128),
    /// A power of ten.
    Decimal(i32),
}

impl Scale {
    fn of(suffix: &str) -> Result<(Self, Format), QuantityError> {
        if let Some(index) = BINARY_SUFFIXES.iter().position(|known| *known == suffix) {
            return Ok((Self::Binary(1024u128.pow(index as u32 + 1)), Format::BinarySi));
        }
        if let Some(index) = DECIMAL_SUFFIXES.iter().position(|known| *known == suffix) {
            return Ok((Self::Decimal(DECIMAL_FIRST + 3 * index as i32), Format::DecimalSi));
        }
        let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
        let exponent = exponent.parse().map_err(|_| QuantityError::Suffix)?;
        Ok((Self::Decimal(exponent), Format::DecimalExponent))
    }

    /// The value in billionths, rounded up; none when it is certainly beyond the cap.
    fn nano(self, whole: &str, fraction: &str) -> Option<i128> {
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.is_empty() && fraction.is_empty() {
            return Some(0);
        }
        if whole.len() > WHOLE_DIGITS_MAX {
            return None;
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let exponent = match self {
            Self::Binary(units) => return sum(whole, fraction, units * NANOS_PER_UNIT as u128),
            Self::Decimal(exponent) => exponent.saturating_sub(DECIMAL_FIRST),
        };
        match u32::try_from(exponent) {
            Ok(exponent) => sum(whole, fraction, 10u128.checked_pow(exponent)?),
            // Finer than a nano: at least one, since it is not zero.
            Err(_) => {
                let divisor = 10u128.checked_pow(exponent.unsigned_abs()).unwrap_or(u128::MAX);
                let exact = fraction.is_empty() && whole.is_multiple_of(divisor);
                i128::try_from(whole / divisor + u128::from(!exact)).ok()
            }
        }
    }
}

/// `whole.fraction × nanos`, rounded up.
fn sum(whole: u128, fraction: &str, nanos: u128) -> Option<i128> {
    // From the last digit to the first: a floor of floors is the floor of the whole.
    let mut part: u128 = 0;
    let mut is_exact = true;
    for digit in fraction.bytes().rev() {
        let numerator = u128::from(digit - b'0').checked_mul(nanos)?.checked_add(part)?;
        is_exact &= numerator % 10 == 0;
        part = numerator / 10;
    }
    let total = whole.checked_mul(nanos)?.checked_add(part)?.checked_add(u128::from(!is_exact))?;
    i128::try_from(total).ok()
}

/// Rounds away from zero.
fn ceil_div(number: i128, divisor: i128) -> i128 {
    let rest = number % divisor;
    number / divisor + rest.signum()
}

fn saturate(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Amount::read(text).map_or_else(|error| format!("{error:?}"), |amount| amount.to_string())
    }

    #[test]
    fn canonical_texts_are_those_of_kubernetes() {
        let cases = [
            ("0", "0"),
            ("0Gi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1024", "1024"),
            ("1000Ki", "1000Ki"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("1023", "1023"),
            ("1000", "1k"),
            ("12e6", "12e6"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("1E3", "1e3"),
            ("1500e-3", "1500e-3"),
            ("0.0001m", "100n"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-1.5", "-1500m"),
            ("+3", "3"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.000000000001", "1000000001n"),
            ("1u", "1u"),
            ("10Ei", "9223372036854775807"),
            ("99999999999999999999", "9223372036854775807"),
            ("1.25Ki", "1280"),
            ("0.001Ki", "1024m"),
            ("100Gi", "100Gi"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("123Mi", "123Mi"),
            ("1e-12", "1e-9"),
            ("0e99", "0"),
            ("7e99", "9223372036854775807"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
        }
        for (text, expected) in [
            ("", "Format"),
            ("a", "Format"),
            ("1 Gi", "Format"),
            ("1.2.3", "Number"),
            ("1Kib", "Format"),
            ("1km", "Suffix"),
            ("1K", "Suffix"),
            ("-", "Format"),
            (".", "Number"),
            ("1e", "Suffix"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers_round_up() {
        let amount = |text| Amount::parse(text).unwrap();
        assert_eq!((amount("1.1").units(), amount("0.1m").milli(), amount("-1.5").units()), (2, 1, -2));
        assert_eq!(amount("1500u").rounded_up_to_milli().to_string(), "2m");
    }

    proptest::proptest! {
        #[test]
        fn canonical_text_is_a_fixed_point(text in "[+-]?[0-9]{1,12}(\\.[0-9]{1,12})?(Ki|Mi|Gi|Ti|n|u|m|k|M|G|e3|e-3)?") {
            let amount = Amount::parse(&text).unwrap();
            let again = Amount::parse(&amount.to_string()).unwrap();
            proptest::prop_assert_eq!(amount, again);
            proptest::prop_assert_eq!(amount.to_string(), again.to_string());
        }

        #[test]
        fn order_is_that_of_the_sum(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
            let (x, y) = (Amount::from_millis(a), Amount::from_millis(b));
            proptest::prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            proptest::prop_assert_eq!(x.plus(y).milli(), a + b);
            proptest::prop_assert_eq!(x.minus(y).milli(), a - b);
        }
    }
}
