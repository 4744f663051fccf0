//! core/v1 Event (contract `defaults-validation.md`, 10).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, Facts, Spec};
use crate::{defaults, table, validation};

impl Spec for Event {
    const FACTS: Facts = Facts {
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        put_may_create: true,
        storage: "events",
        field_selectors: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::text("Last Seen"),
        Column::text("Type"),
        Column::text("Reason"),
        Column::text("Object"),
        Column::wide("Subobject"),
        Column::wide("Source"),
        Column::text("Message"),
        Column::wide("First Seen"),
        Column::wide("Count"),
        Column { format: "name", ..Column::wide("Name") },
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::event::cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::event(self);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::event_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::event_update(self, old)
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let about = &self.involved_object;
        let component = self.source.as_ref().and_then(|source| source.component.clone()).unwrap_or_default();
        vec![
            ("involvedObject.kind", text(&about.kind)),
            ("involvedObject.namespace", text(&about.namespace)),
            ("involvedObject.name", text(&about.name)),
            ("involvedObject.uid", text(&about.uid)),
            ("involvedObject.apiVersion", text(&about.api_version)),
            ("involvedObject.resourceVersion", text(&about.resource_version)),
            ("involvedObject.fieldPath", text(&about.field_path)),
            ("reason", text(&self.reason)),
            ("reportingComponent", text(&self.reporting_component)),
            ("source", if component.is_empty() { text(&self.reporting_component) } else { component }),
            ("type", text(&self.type_)),
        ]
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::event_warnings(self, old)
    }
}
