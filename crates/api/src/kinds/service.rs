//! Service: what an update fills in from the stored one and what a change of type drops
//! (contract `defaults-validation.md`, 5). Allocation of addresses and ports is the API server's.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::errors::FieldErrors;
use crate::registry::{Cell, Column, DeleteAnswer, Facts, Spec, Subresource};
use crate::validation::NameRule;
use crate::{defaults, table, validation};

impl Spec for Service {
    const FACTS: Facts = Facts {
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[
            Subresource::of("proxy", "ServiceProxyOptions", &["create", "delete", "get", "patch", "update"]),
            Subresource::status("Service"),
        ],
        delete_answer: DeleteAnswer::Object,
        put_may_create: true,
        storage: "services",
        field_selectors: &["spec.clusterIP", "spec.type"],
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Type"),
        Column::text("Cluster-IP"),
        Column::text("External-IP"),
        Column::text("Port(s)"),
        Column::AGE,
        Column::wide("Selector"),
    ];
    const NAME_RULE: NameRule = NameRule::Label;

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        table::service::cells(self, now)
    }

    fn set_defaults(&mut self) {
        defaults::service(self);
    }

    fn prepare_create(&mut self) {
        self.status = Some(Default::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        let (Some(spec), Some(before)) = (&mut self.spec, &old.spec) else { return };
        fill_allocated(spec, before);
        drop_dependent(spec, before);
        if is(before, "LoadBalancer") && !is(spec, "LoadBalancer") {
            self.status = Some(Default::default());
        }
    }

    fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_create(&self) -> FieldErrors {
        validation::service_create(self)
    }

    fn validate_update(&self, old: &Self) -> FieldErrors {
        validation::service_update(self, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, old: &Self) -> FieldErrors {
        validation::service_status_update(self, old)
    }

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let spec = self.spec.clone().unwrap_or_default();
        vec![("spec.clusterIP", spec.cluster_ip.unwrap_or_default()), ("spec.type", spec.type_.unwrap_or_default())]
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        validation::service_warnings(self, old)
    }
}

fn is(spec: &ServiceSpec, type_: &str) -> bool {
    spec.type_.as_deref().unwrap_or("ClusterIP") == type_
}

fn is_on_nodes(spec: &ServiceSpec) -> bool {
    is(spec, "NodePort") || is(spec, "LoadBalancer")
}

fn is_external(spec: &ServiceSpec) -> bool {
    is_on_nodes(spec) || spec.external_ips.as_ref().is_some_and(|addresses| !addresses.is_empty())
}

fn is_blank(field: &Option<String>) -> bool {
    field.as_deref().unwrap_or_default().is_empty()
}

/// Clients may send a Service back without what the server had allocated for it.
fn fill_allocated(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if !is(spec, "ExternalName") && !is(old, "ExternalName") {
        if is_blank(&spec.cluster_ip) {
            spec.cluster_ip.clone_from(&old.cluster_ip);
        }
        if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) && spec.cluster_ip == old.cluster_ip {
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
        if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
            spec.ip_families.clone_from(&old.ip_families);
        }
        if spec.ip_family_policy.is_none() {
            spec.ip_family_policy.clone_from(&old.ip_family_policy);
        }
    }
    if is_on_nodes(spec) && is_on_nodes(old) {
        let before = old.ports.as_deref().unwrap_or_default();
        for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or_default() == 0) {
            let same = before.iter().find(|old| old.name == port.name);
            port.node_port = same.and_then(|old| old.node_port);
        }
    }
    if is(spec, "LoadBalancer") && is(old, "LoadBalancer") && spec.health_check_node_port.unwrap_or_default() == 0 {
        spec.health_check_node_port = old.health_check_node_port;
    }
}

/// A change of type drops what only the old type had, as long as the client did not change it.
fn drop_dependent(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if is(spec, "ExternalName") && !is(old, "ExternalName") {
        drop_same(&mut spec.cluster_ip, &old.cluster_ip);
        drop_same(&mut spec.cluster_ips, &old.cluster_ips);
        drop_same(&mut spec.ip_families, &old.ip_families);
        drop_same(&mut spec.ip_family_policy, &old.ip_family_policy);
    }
    if is_on_nodes(old) && !is_on_nodes(spec) {
        let before: Vec<i32> = old.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = port.node_port.filter(|number| !before.contains(number));
        }
    }
    if is(old, "LoadBalancer") && !is(spec, "LoadBalancer") {
        drop_same(&mut spec.health_check_node_port, &old.health_check_node_port);
        drop_same(&mut spec.allocate_load_balancer_node_ports, &old.allocate_load_balancer_node_ports);
        drop_same(&mut spec.load_balancer_class, &old.load_balancer_class);
    }
    if is_external(old) && !is_external(spec) {
        drop_same(&mut spec.external_traffic_policy, &old.external_traffic_policy);
    }
}

fn drop_same<T: PartialEq>(field: &mut Option<T>, old: &Option<T>) {
    if field == old {
        *field = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::from_yaml;

    const STORED: &str = "{metadata: {name: a}, spec: {type: NodePort, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, externalTrafficPolicy: Cluster, ports: [{name: http, port: 80, nodePort: 30080}]}}";

    #[test]
    fn a_manifest_sent_again_keeps_what_was_allocated() {
        let old: Service = from_yaml(STORED);
        let mut new: Service = from_yaml(
            "{metadata: {name: a}, spec: {type: NodePort, externalTrafficPolicy: Cluster, ports: [{name: http, port: 80}]}}",
        );
        new.prepare_update(&old);
        assert_eq!(new.spec, old.spec);
    }

    #[test]
    fn leaving_a_type_drops_what_only_it_had() {
        let old: Service = from_yaml(STORED);
        let mut new = old.clone();
        new.spec.as_mut().unwrap().type_ = Some("ClusterIP".into());
        new.prepare_update(&old);
        let spec = new.spec.unwrap();
        assert_eq!(spec.ports.unwrap()[0].node_port, None);
        assert_eq!(spec.external_traffic_policy, None);
        assert_eq!(spec.cluster_ip.as_deref(), Some("10.96.0.7"));
    }
}
