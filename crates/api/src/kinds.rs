//! The kinds Stead serves, one file per kind or per close family. Each implements
//! [`Spec`](crate::registry::Spec) for a k8s-openapi type with the facts of the contract
//! (`resources.tsv`); defaults and validation live in their own modules.

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::api::scheduling::v1 as scheduling;
use k8s_openapi::api::storage::v1 as storage;

use crate::registry::Kind;

/// The methods of a kind whose spec is its clients' and whose status is its controller's, written through
/// the subresource: neither write touches what is the other's.
macro_rules! spec_and_status {
    () => {
        fn prepare_update(&mut self, old: &Self) {
            self.status.clone_from(&old.status);
        }

        fn prepare_subresource_update(&mut self, _subresource: &str, old: &Self) {
            self.spec.clone_from(&old.spec);
        }

        fn spec_changed(&self, old: &Self) -> bool {
            !$crate::object::semantically_equal(&self.spec, &old.spec)
        }
    };
}
use spec_and_status;

mod batch_jobs;
mod cluster_policy;
mod config;
mod daemon_set;
mod deployment;
mod endpoints;
mod event;
mod lease;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod pod_spec;
mod pod_template;
mod qos;
mod quotas;
mod roles;
mod service;
mod stateful_set;
mod volumes;

pub use qos::qos_class;

/// Every kind, in discovery order: groups as Kubernetes ranks them, resources by name.
pub static ALL: &[Kind] = &[
    Kind::of::<core::ConfigMap>(),
    Kind::of::<core::Endpoints>(),
    Kind::of::<core::Event>(),
    Kind::of::<core::LimitRange>(),
    Kind::of::<core::Namespace>(),
    Kind::of::<core::Node>(),
    Kind::of::<core::PersistentVolumeClaim>(),
    Kind::of::<core::PersistentVolume>(),
    Kind::of::<core::Pod>(),
    Kind::of::<core::PodTemplate>(),
    Kind::of::<core::ReplicationController>(),
    Kind::of::<core::ResourceQuota>(),
    Kind::of::<core::Secret>(),
    Kind::of::<core::ServiceAccount>(),
    Kind::of::<core::Service>(),
    Kind::of::<apps::ControllerRevision>(),
    Kind::of::<apps::DaemonSet>(),
    Kind::of::<apps::Deployment>(),
    Kind::of::<apps::ReplicaSet>(),
    Kind::of::<apps::StatefulSet>(),
    Kind::of::<batch::CronJob>(),
    Kind::of::<batch::Job>(),
    Kind::of::<networking::IngressClass>(),
    Kind::of::<networking::Ingress>(),
    Kind::of::<networking::NetworkPolicy>(),
    Kind::of::<policy::PodDisruptionBudget>(),
    Kind::of::<rbac::ClusterRoleBinding>(),
    Kind::of::<rbac::ClusterRole>(),
    Kind::of::<rbac::RoleBinding>(),
    Kind::of::<rbac::Role>(),
    Kind::of::<storage::StorageClass>(),
    Kind::of::<scheduling::PriorityClass>(),
    Kind::of::<coordination::Lease>(),
    Kind::of::<discovery::EndpointSlice>(),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ALL;
    use crate::registry::{Facts, Scope, kind_of};
    use jiff::Timestamp;

    /// The rows of the contract, trimmed to the columns a row states.
    const CONTRACT: &str = include_str!("../data/resources.tsv");

    #[test]
    fn every_kind_is_there_once_and_found_by_its_type() {
        assert!(ALL.contains(kind_of::<super::core::Pod>()));
        let names: BTreeSet<_> = ALL.iter().map(|kind| (kind.group, kind.kind)).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn tables_of_the_store_are_not_shared_by_accident() {
        let tables: BTreeSet<_> = ALL.iter().map(|kind| kind.facts.storage).collect();
        assert_eq!(tables.len(), ALL.len());
        assert!(!tables.contains(""));
    }

    #[test]
    fn an_empty_object_has_a_cell_for_every_column() {
        for kind in ALL {
            let (mut object, _) = (kind.from_lenient)(serde_json::json!({"metadata": {"name": "a"}})).unwrap();
            assert_eq!((kind.row)(&object, Timestamp::UNIX_EPOCH).len(), kind.columns.len(), "{}", kind.kind);
            (kind.set_defaults)(&mut object);
            (kind.prepare_create)(&mut object);
            assert_eq!((kind.row)(&object, Timestamp::UNIX_EPOCH).len(), kind.columns.len(), "{}", kind.kind);
            let own: Vec<&str> = (kind.selectable_fields)(&object).iter().map(|(field, _)| *field).collect();
            for field in kind.facts.field_selectors {
                assert!(own.contains(field), "{} offers {field}", kind.kind);
            }
        }
    }

    #[test]
    fn facts_are_those_of_the_contract() {
        for kind in ALL {
            let line = CONTRACT.lines().find(|line| {
                let mut columns = line.split('\t');
                columns.next() == Some(kind.group)
                    && columns.next() == Some(kind.version)
                    && columns.next() == Some(kind.facts.plural)
            });
            let columns: Vec<&str> = line.expect("listed in the contract").split('\t').collect();
            assert_eq!(facts_line(kind), columns, "{}", kind.kind);
        }
    }

    /// One row in the form of the contract's table.
    fn facts_line(kind: &crate::Kind) -> Vec<String> {
        let facts: &Facts = &kind.facts;
        let yes = |yes: bool| if yes { "y" } else { "n" }.to_owned();
        let subresources: Vec<String> = facts
            .subresources
            .iter()
            .map(|sub| format!("{}:{}/{}.{}[{}]", sub.name, sub.group, sub.version, sub.kind, sub.verbs.join("|")))
            .collect();
        vec![
            kind.group.to_owned(),
            kind.version.to_owned(),
            facts.plural.to_owned(),
            kind.kind.to_owned(),
            yes(facts.scope == Scope::Namespaced),
            facts.short_names.join(","),
            facts.categories.join(","),
            facts.singular.to_owned(),
            subresources.join(" "),
            if facts.verbs == Facts::VERBS { String::new() } else { facts.verbs.join(",") },
            facts.field_selectors.join(","),
            format!("{:?}", facts.default_propagation),
            yes(facts.put_may_create),
            yes(facts.unconditional_update),
            yes(facts.has_generation),
            format!("{:?}", facts.delete_answer),
        ]
    }
}
