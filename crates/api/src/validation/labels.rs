//! Labels, annotations and label selectors (contract 1.5, 1.6).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::names;
use super::path::Path;
use crate::errors::{FieldError, FieldErrors};

/// Keys and values of all annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

type Map = BTreeMap<String, String>;

/// Labels: the path stays at the map, the value shown is the offending key or value.
pub(super) fn labels(errors: &mut FieldErrors, path: &Path, labels: Option<&Map>) {
    for (key, value) in labels.into_iter().flatten() {
        names::check(errors, path, key, names::qualified);
        names::check(errors, path, value, names::label_value);
    }
}

/// Annotations: keys are checked in lower case, and the whole map has a size limit.
pub(super) fn annotations(errors: &mut FieldErrors, path: &Path, annotations: Option<&Map>) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        names::check(errors, path, key, names::qualified_lower_case);
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
}

/// A label selector.
pub(super) fn selector(errors: &mut FieldErrors, path: &Path, selector: &LabelSelector) {
    labels(errors, &path.child("matchLabels"), selector.match_labels.as_ref());
    let path = path.child("matchExpressions");
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.index(index);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(FieldError::required(path.child("values"), VALUES_NEEDED));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(FieldError::forbidden(path.child("values"), VALUES_FORBIDDEN));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(path.child("operator"), other, OPERATOR_UNKNOWN)),
        }
        names::check(errors, &path.child("key"), &expression.key, names::qualified);
        for (index, value) in values.iter().enumerate() {
            names::check(errors, &path.child("values").index(index), value, names::label_value);
        }
    }
}

pub(super) const VALUES_NEEDED: &str = "must be specified when `operator` is 'In' or 'NotIn'";
pub(super) const VALUES_FORBIDDEN: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
pub(super) const OPERATOR_UNKNOWN: &str = "not a valid selector operator";

/// Whether a selector says nothing at all.
pub(super) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}
