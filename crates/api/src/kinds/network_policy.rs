//! Ingress, IngressClass and NetworkPolicy: stored and listed; nothing acts on them yet.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressSpec, IngressStatus, NetworkPolicy};

use crate::object::semantically_equal;
use crate::registry::{Cell, Column, Facts, Spec, Subresource};
use crate::table;

const HOSTS_SHOWN_MAX: usize = 3;

impl Spec for Ingress {
    const FACTS: Facts = Facts {
        plural: "ingresses",
        singular: "ingress",
        short_names: &["ing"],
        subresources: &[Subresource::status("Ingress")],
        has_generation: true,
        storage: "ingresses.networking.k8s.io",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Class"),
        Column::text("Hosts"),
        Column::text("Address"),
        Column::text("Ports"),
        Column::AGE,
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let none = IngressSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        let is_tls = spec.tls.as_ref().is_some_and(|tls| !tls.is_empty());
        vec![
            table::name(&self.metadata),
            table::or_none(spec.ingress_class_name.as_deref()),
            hosts_text(spec).into(),
            address_text(self).into(),
            if is_tls { "80, 443" } else { "80" }.into(),
            table::age(&self.metadata, now),
        ]
    }

    fn prepare_create(&mut self) {
        self.status = Some(IngressStatus::default());
    }

    super::spec_and_status!();
}

fn hosts_text(spec: &IngressSpec) -> String {
    let rules = spec.rules.as_deref().unwrap_or_default();
    let mut hosts: Vec<&str> = Vec::new();
    let mut is_clipped = false;
    for rule in rules {
        is_clipped |= hosts.len() == HOSTS_SHOWN_MAX;
        hosts.extend(rule.host.as_deref().filter(|host| !host.is_empty() && !is_clipped));
    }
    match hosts.join(",") {
        none if none.is_empty() => "*".to_owned(),
        shown if is_clipped => format!("{shown} + {} more...", rules.len() - HOSTS_SHOWN_MAX),
        shown => shown,
    }
}

fn address_text(ingress: &Ingress) -> String {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let addresses: BTreeSet<&str> = points
        .iter()
        .filter_map(|point| [&point.ip, &point.hostname].into_iter().flatten().find(|address| !address.is_empty()))
        .map(String::as_str)
        .collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

impl Spec for IngressClass {
    const FACTS: Facts = Facts {
        plural: "ingressclasses",
        singular: "ingressclass",
        has_generation: true,
        storage: "ingressclasses.networking.k8s.io",
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] =
        &[Column::NAME, Column::text("Controller"), Column::text("Parameters"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let shown = self.metadata.name.as_deref().unwrap_or_default();
        let is_default = table::is_annotated(&self.metadata, "ingressclass.kubernetes.io/is-default-class");
        let spec = self.spec.as_ref();
        let parameters = spec.and_then(|spec| spec.parameters.as_ref()).map(|parameters| {
            let group = parameters.api_group.as_ref().map(|group| format!(".{group}")).unwrap_or_default();
            format!("{}{group}/{}", parameters.kind, parameters.name)
        });
        vec![
            if is_default { format!("{shown} (default)").into() } else { shown.into() },
            table::text(spec.and_then(|spec| spec.controller.as_deref())),
            table::or_none(parameters.as_deref()),
            table::age(&self.metadata, now),
        ]
    }

    fn spec_changed(&self, old: &Self) -> bool {
        !semantically_equal(&self.spec, &old.spec)
    }
}

impl Spec for NetworkPolicy {
    const FACTS: Facts = Facts {
        plural: "networkpolicies",
        singular: "networkpolicy",
        short_names: &["netpol"],
        has_generation: true,
        storage: "networkpolicies.networking.k8s.io",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[Column::NAME, Column::text("Pod-Selector"), Column::AGE];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let selector = self.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        vec![table::name(&self.metadata), table::selector_text(selector), table::age(&self.metadata, now)]
    }

    fn spec_changed(&self, old: &Self) -> bool {
        !semantically_equal(&self.spec, &old.spec)
    }
}
