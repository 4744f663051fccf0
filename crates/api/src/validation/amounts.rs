//! Numbers, shares and quantities in fields.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names;
use super::path::Path;
use crate::amount::Amount;
use crate::errors::{FieldError, FieldErrors};

pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(super) const POSITIVE: &str = "must be greater than zero";
pub(super) const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
pub(super) const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
const QUANTITY_RULE: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// A number that may not be negative, if it is there.
pub(super) fn not_negative(errors: &mut FieldErrors, path: &Path, value: Option<impl Into<i64>>) {
    if let Some(value) = value.map(Into::into).filter(|value| *value < 0) {
        errors.push(FieldError::invalid(path, value, NOT_NEGATIVE));
    }
}

/// A port number.
pub(super) fn port(errors: &mut FieldErrors, path: &Path, value: i32) {
    if !(1..=65_535).contains(&value) {
        errors.push(FieldError::invalid(path, value, PORT_RANGE));
    }
}

/// A user or group id.
pub(super) fn id(errors: &mut FieldErrors, path: &Path, value: Option<i64>) {
    if let Some(value) = value.filter(|value| !(0..=i64::from(i32::MAX)).contains(value)) {
        errors.push(FieldError::invalid(path, value, ID_RANGE));
    }
}

/// A port by number or by name.
pub(super) fn port_or_name(errors: &mut FieldErrors, path: &Path, value: &IntOrString) {
    match value {
        IntOrString::Int(number) => port(errors, path, *number),
        IntOrString::String(name) => names::check(errors, path, name, names::port_name),
    }
}

/// A count of pods, absolute or as a share.
pub(super) fn count_or_percent(errors: &mut FieldErrors, path: &Path, value: &IntOrString) {
    match value {
        IntOrString::Int(number) => not_negative(errors, path, Some(*number)),
        IntOrString::String(text) => {
            for message in names::percent(text) {
                errors.push(FieldError::invalid(path, value, message));
            }
        }
    }
}

/// The share in whole percents, if it is one.
pub(super) fn percents(value: &IntOrString) -> Option<i64> {
    match value {
        IntOrString::Int(_) => None,
        IntOrString::String(text) => text.strip_suffix('%')?.parse().ok(),
    }
}

/// Whether the value is 0 or 0%.
pub(super) fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(_) => percents(value) == Some(0),
    }
}

/// Shares may not exceed the whole.
pub(super) fn at_most_all(errors: &mut FieldErrors, path: &Path, value: &IntOrString) {
    if percents(value).is_some_and(|percents| percents > 100) {
        errors.push(FieldError::invalid(path, value, "must not be greater than 100%"));
    }
}

/// Reads a quantity; says so when it is none. (Kubernetes refuses these while decoding.)
pub(super) fn quantity(errors: &mut FieldErrors, path: &Path, value: &Quantity) -> Option<Amount> {
    let amount = Amount::parse(&value.0);
    if amount.is_none() {
        errors.push(FieldError::invalid(path, value, QUANTITY_RULE));
    }
    amount
}

/// A quantity that may not be negative. `whole` resources are counted and cannot be split.
pub(super) fn resource_quantity(
    errors: &mut FieldErrors,
    path: &Path,
    value: &Quantity,
    whole: bool,
) -> Option<Amount> {
    let amount = quantity(errors, path, value)?;
    if amount < Amount::ZERO {
        errors.push(FieldError::invalid(path, value, NOT_NEGATIVE));
    }
    if whole && amount.nano() % Amount::from_units(1).nano() != 0 {
        errors.push(FieldError::invalid(path, value, "must be an integer"));
    }
    Some(amount)
}
