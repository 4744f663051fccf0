//! PodDisruptionBudget and PriorityClass: stored and listed. Evictions ask the budgets; nothing fills their
//! status, and nothing enforces priorities yet.

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::{Cell, Column, Facts, Spec, Subresource};
use crate::table;
use crate::validation::NameRule;

impl Spec for PodDisruptionBudget {
    const FACTS: Facts = Facts {
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        subresources: &[Subresource::status("PodDisruptionBudget")],
        unconditional_update: false,
        has_generation: true,
        storage: "poddisruptionbudgets.policy",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Min Available"),
        Column::text("Max Unavailable"),
        Column::integer("Allowed Disruptions"),
        Column::AGE,
    ];
    const NAME_RULE: NameRule = NameRule::PathSegment;

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let bound = |bound: Option<&IntOrString>| match bound {
            None => "N/A".to_owned(),
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(text)) => text.clone(),
        };
        let spec = self.spec.as_ref();
        vec![
            table::name(&self.metadata),
            bound(spec.and_then(|spec| spec.min_available.as_ref())).into(),
            bound(spec.and_then(|spec| spec.max_unavailable.as_ref())).into(),
            self.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default().into(),
            table::age(&self.metadata, now),
        ]
    }

    fn prepare_create(&mut self) {
        self.status = Some(PodDisruptionBudgetStatus::default());
    }

    super::spec_and_status!();
}

impl Spec for PriorityClass {
    const FACTS: Facts = Facts {
        plural: "priorityclasses",
        singular: "priorityclass",
        short_names: &["pc"],
        has_generation: true,
        storage: "priorityclasses.scheduling.k8s.io",
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::integer("Value"),
        Column::boolean("Global-Default"),
        Column::AGE,
        Column::text("PreemptionPolicy"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        vec![
            table::name(&self.metadata),
            self.value.unwrap_or_default().into(),
            self.global_default.unwrap_or_default().into(),
            table::age(&self.metadata, now),
            table::text(self.preemption_policy.as_deref()),
        ]
    }

    fn set_defaults(&mut self) {
        self.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    }
}
