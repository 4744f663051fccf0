//! Objects from a base manifest and a change to it, put through the same steps as a write:
//! decode, default, prepare, validate.
#![allow(dead_code, reason = "each test binary uses a part")]

use expect_test::Expect;
use serde_json::Value;
use stead_api::patch::merge_patch;
use stead_api::{FieldErrors, Spec};

/// The base manifest with a merge patch applied, decoded and defaulted.
pub(crate) fn object<T: Spec>(base: &str, change: &Value) -> T {
    let base: Value = serde_yaml_ng::from_str(base).expect("the base manifest is YAML");
    let document = merge_patch(&base, change.to_string().as_bytes()).expect("the change is an object");
    let mut object: T = serde_json::from_value(document).expect("the document is of the type");
    object.set_defaults();
    object
}

/// What a new object is refused for, one error a line; nothing when it is taken.
pub(crate) fn check_create<T: Spec>(base: &str, change: Value, expected: Expect) {
    let mut object: T = object(base, &change);
    object.prepare_create();
    object.set_defaults();
    expected.assert_eq(&lines(&object.validate_create()));
}

/// What a change of the base object is refused for.
pub(crate) fn check_update<T: Spec>(base: &str, change: Value, expected: Expect) {
    check_update_from::<T>(base, Value::Object(Default::default()), change, expected);
}

/// What a change of an object is refused for that itself differs from the base.
pub(crate) fn check_update_from<T: Spec>(base: &str, before: Value, change: Value, expected: Expect) {
    let old: T = object(base, &before);
    let document = serde_json::to_value(&old).expect("it serialises").to_string();
    let mut new: T = object(&document, &change);
    new.prepare_update(&old);
    expected.assert_eq(&lines(&new.validate_update(&old)));
}

/// What a change of the status is refused for.
pub(crate) fn check_status<T: Spec>(base: &str, before: Value, change: Value, expected: Expect) {
    let old: T = object(base, &before);
    let document = serde_json::to_value(&old).expect("it serialises").to_string();
    let mut new: T = object(&document, &change);
    new.prepare_subresource_update("status", &old);
    expected.assert_eq(&lines(&new.validate_subresource_update("status", &old)));
}

/// What a new object is warned about.
pub(crate) fn check_warnings<T: Spec>(base: &str, change: Value, expected: Expect) {
    let object: T = object(base, &change);
    expected.assert_eq(&object.warnings(None).iter().map(|text| format!("{text}\n")).collect::<String>());
}

fn lines(errors: &FieldErrors) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}
