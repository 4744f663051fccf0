//! LimitRange and ResourceQuota: stored and listed; nothing enforces them yet.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota, ResourceQuotaStatus};

use crate::registry::{Cell, Column, DeleteAnswer, Facts, Spec, Subresource};
use crate::table;

impl Spec for LimitRange {
    const FACTS: Facts = Facts {
        plural: "limitranges",
        singular: "limitrange",
        short_names: &["limits"],
        put_may_create: true,
        storage: "limitranges",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = table::PLAIN_COLUMNS;

    fn row(&self, _now: Timestamp) -> Vec<Cell> {
        table::plain_row(&self.metadata)
    }
}

impl Spec for ResourceQuota {
    const FACTS: Facts = Facts {
        plural: "resourcequotas",
        singular: "resourcequota",
        short_names: &["quota"],
        subresources: &[Subresource::status("ResourceQuota")],
        delete_answer: DeleteAnswer::Object,
        storage: "resourcequotas",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Request"), Column::text("Limit"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let status = self.status.clone().unwrap_or_default();
        let used = status.used.unwrap_or_default();
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (resource, hard) in status.hard.unwrap_or_default() {
            let used = used.get(&resource).map_or("0", |used| &used.0);
            let list = if resource.split('.').next() == Some("limits") { &mut limits } else { &mut requests };
            list.push(format!("{resource}: {used}/{}", hard.0));
        }
        vec![
            table::name(&self.metadata),
            requests.join(", ").into(),
            limits.join(", ").into(),
            table::age(&self.metadata, now),
        ]
    }

    fn prepare_create(&mut self) {
        self.status = Some(ResourceQuotaStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
    }
}
