//! Words that the table rows of all kinds share: ages, names, joined lists, selectors
//! (contract `tables-notes.md`). Rows that need an algorithm of their own have a file in `table/`.
//!
//! Nothing here reads a clock: `now` comes in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};

use crate::registry::{Cell, Column};
use crate::selectors::Selector;

pub mod endpoints;
pub mod event;
pub mod node;
pub mod pod;
pub mod service;
pub mod volume;

pub(crate) const NONE: &str = "<none>";
pub(crate) const UNKNOWN: &str = "<unknown>";
pub(crate) const UNSET: &str = "<unset>";

/// The columns of kinds without printing rules of their own: name and creation time.
pub const PLAIN_COLUMNS: &[Column] =
    &[Column::NAME, Column { name: "Created At", type_: "date", format: "", priority: 0 }];

/// The cells for [`PLAIN_COLUMNS`].
pub fn plain_row(meta: &ObjectMeta) -> Vec<Cell> {
    let created = meta
        .creation_timestamp
        .as_ref()
        .map_or(Cell::Null, |Time(at)| Cell::Text(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
    vec![name(meta), created]
}

/// A duration as people read it: the two most telling units at most. Negative by more than a second
/// is `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => pair(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => pair(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
}

/// How long ago `then` was, `<unknown>` when it is not known.
pub fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| UNKNOWN.to_owned(), |then| human_duration(now.duration_since(then).as_secs()))
}

pub(crate) fn name(meta: &ObjectMeta) -> Cell {
    meta.name.clone().unwrap_or_default().into()
}

pub(crate) fn age(meta: &ObjectMeta, now: Timestamp) -> Cell {
    since(meta.creation_timestamp.as_ref().map(|time| time.0), now).into()
}

/// The text, or `<none>` where it is absent or empty.
pub(crate) fn or_none(text: Option<&str>) -> Cell {
    or(text, NONE)
}

/// The text, or `otherwise` where it is absent or empty.
pub(crate) fn or(text: Option<&str>, otherwise: &str) -> Cell {
    text.filter(|text| !text.is_empty()).unwrap_or(otherwise).into()
}

/// The text, empty where it is absent.
pub(crate) fn text(text: Option<&str>) -> Cell {
    text.unwrap_or_default().into()
}

/// `a=1,b=2`, or `<none>`.
pub(crate) fn map_text(map: Option<&BTreeMap<String, String>>) -> Cell {
    let pairs: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(Some(&pairs.join(",")))
}

/// The canonical text of a label selector, `<none>` when it is absent or empty, `<error>` when broken.
pub(crate) fn selector_text(selector: Option<&LabelSelector>) -> Cell {
    match selector.map(Selector::try_from) {
        None => NONE.into(),
        Some(Err(_)) => "<error>".into(),
        Some(Ok(selector)) => or_none(Some(&selector.to_string())),
    }
}

/// `true` when the annotation has exactly the value `true`.
pub(crate) fn is_annotated(meta: &ObjectMeta, annotation: &str) -> bool {
    meta.annotations.as_ref().and_then(|all| all.get(annotation)).is_some_and(|value| value == "true")
}

/// Names and images of a template's containers, two cells.
pub(crate) fn containers(template: Option<&PodTemplateSpec>) -> [Cell; 2] {
    let containers = template.and_then(|template| template.spec.as_ref()).map_or(&[][..], |spec| &spec.containers);
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let images: Vec<&str> = containers.iter().map(|container| container.image.as_deref().unwrap_or_default()).collect();
    [names.join(",").into(), images.join(",").into()]
}

/// The first `shown_max` items joined by commas, then ` + N more...`.
pub(crate) fn clipped(items: &[String], shown_max: usize) -> String {
    let shown = items[..items.len().min(shown_max)].join(",");
    match items.len().saturating_sub(shown_max) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

#[cfg(test)]
mod tests;
