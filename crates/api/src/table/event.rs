//! The row of an Event: when it was first and last seen, and by whom.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::{since, text};
use crate::registry::Cell;

/// The cells of one Event.
pub fn cells(event: &Event, now: Timestamp) -> Vec<Cell> {
    let first = event.first_timestamp.as_ref().map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0));
    let last = event.last_timestamp.as_ref().map(|time| time.0).or(first);
    let series = event.series.as_ref();
    let last = series.map_or(last, |series| series.last_observed_time.as_ref().map(|time| time.0));
    let count = match series {
        Some(series) => series.count.unwrap_or_default(),
        None => event.count.filter(|count| *count != 0).unwrap_or(1),
    };
    vec![
        since(last, now).into(),
        text(event.type_.as_deref()),
        text(event.reason.as_deref()),
        object_text(event).into(),
        text(event.involved_object.field_path.as_deref()),
        source_text(event).into(),
        event.message.as_deref().unwrap_or_default().trim().into(),
        since(first, now).into(),
        count.into(),
        super::name(&event.metadata),
    ]
}

fn object_text(event: &Event) -> String {
    let kind = event.involved_object.kind.as_deref().unwrap_or_default().to_lowercase();
    match event.involved_object.name.as_deref() {
        None | Some("") => kind,
        Some(name) => format!("{kind}/{name}"),
    }
}

fn source_text(event: &Event) -> String {
    let source = event.source.clone().unwrap_or_default();
    let component = first_of(source.component, event.reporting_component.as_ref());
    let instance = first_of(source.host, event.reporting_instance.as_ref());
    if instance.is_empty() { component } else { format!("{component}, {instance}") }
}

fn first_of(first: Option<String>, second: Option<&String>) -> String {
    first.filter(|text| !text.is_empty()).or_else(|| second.cloned()).unwrap_or_default()
}
