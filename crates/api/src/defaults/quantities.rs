//! Quantities as the API stores and shows them: rounded up to thousandths and in canonical form,
//! so `1000m` comes back as `1` and `0.5Gi` as `512Mi`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::amount::Amount;

type Resources = Option<BTreeMap<String, Quantity>>;

/// Rounds a list of resources up to thousandths and writes it canonically.
pub(super) fn resources(list: &mut Resources) {
    list.iter_mut().flat_map(BTreeMap::values_mut).for_each(|quantity| rewrite(quantity, NANO_PER_MILLI));
}

/// The limits and requests of a container or pod.
pub(super) fn requirements(requirements: &mut Option<ResourceRequirements>) {
    if let Some(requirements) = requirements {
        resources(&mut requirements.limits);
        resources(&mut requirements.requests);
    }
}

/// The limits and requests of a claim.
pub(super) fn volume_requirements(requirements: &mut Option<VolumeResourceRequirements>) {
    if let Some(requirements) = requirements {
        resources(&mut requirements.limits);
        resources(&mut requirements.requests);
    }
}

/// Writes one quantity canonically, without rounding. What cannot be read stays, for validation to
/// refuse.
pub(super) fn canonical(quantity: &mut Option<Quantity>) {
    if let Some(quantity) = quantity {
        rewrite(quantity, 1);
    }
}

/// A computed amount in the notation usual for a resource: memory in powers of 1024.
pub(super) fn written(amount: Amount, resource: &str) -> Quantity {
    let notation = if resource == "memory" { Notation::Binary } else { Notation::Decimal };
    Quantity(print(amount.nano(), notation))
}

const NANO_PER_MILLI: i128 = 1_000_000;
const NANO_PER_UNIT: i128 = 1_000_000_000;

fn rewrite(quantity: &mut Quantity, step_nano: i128) {
    let Some(amount) = Amount::parse(&quantity.0) else { return };
    let nano = amount.nano();
    let nano = match nano % step_nano {
        0 => nano,
        rest => nano - rest + rest.signum() * step_nano,
    };
    quantity.0 = print(nano, Notation::of(&quantity.0));
}

/// The three ways a quantity may be written; the canonical form keeps the author's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    Decimal,
    Binary,
    Exponent,
}

impl Notation {
    fn of(text: &str) -> Self {
        if text.ends_with('i') {
            Self::Binary
        } else if text.contains(['e', 'E']) && !text.ends_with('E') {
            Self::Exponent
        } else {
            Self::Decimal
        }
    }
}

fn print(nano: i128, notation: Notation) -> String {
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if nano == 0 {
        return "0".to_owned();
    }
    let units = nano / NANO_PER_UNIT;
    if notation == Notation::Binary && nano % NANO_PER_UNIT == 0 && units.abs() >= 1024 {
        let (number, power) = shorten(units, 1024, BINARY.len());
        return format!("{number}{}", BINARY[power]);
    }
    let (number, power) = shorten(nano, 1000, DECIMAL.len());
    match notation {
        Notation::Decimal | Notation::Binary => format!("{number}{}", DECIMAL[power]),
        Notation::Exponent if power == 3 => number.to_string(),
        Notation::Exponent => format!("{number}e{}", 3 * i64::try_from(power).unwrap_or(i64::MAX) - 9),
    }
}

/// Divides by `base` as often as that is exact, at most `powers - 1` times.
fn shorten(mut number: i128, base: i128, powers: usize) -> (i128, usize) {
    let mut power = 0;
    while power + 1 < powers && number % base == 0 {
        number /= base;
        power += 1;
    }
    (number, power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_what_kubernetes_returns() {
        for (written, returned) in [
            ("500m", "500m"),
            ("1000m", "1"),
            ("10Gi", "10Gi"),
            ("0.5Gi", "512Mi"),
            ("1024Mi", "1Gi"),
            ("1000", "1k"),
            ("1.5", "1500m"),
            ("1e3", "1e3"),
            ("1000e0", "1e3"),
            ("15e2", "1500"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
            ("0Gi", "0"),
            ("1E", "1E"),
            ("-2000m", "-2"),
            ("100u", "1m"),
            ("nonsense", "nonsense"),
        ] {
            let mut list = Some(BTreeMap::from([("memory".to_owned(), Quantity(written.to_owned()))]));
            resources(&mut list);
            assert_eq!(list.expect("still there")["memory"].0, returned, "{written}");
        }
    }

    #[test]
    fn only_resource_lists_are_rounded() {
        let mut quantity = Some(Quantity("100u".to_owned()));
        canonical(&mut quantity);
        assert_eq!(quantity, Some(Quantity("100u".to_owned())));
    }
}
