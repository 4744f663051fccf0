//! Role, ClusterRole and their bindings (contract `defaults-validation.md`, 12).

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject};

use crate::registry::{Cell, Column, Facts, Spec};
use crate::table;
use crate::validation::NameRule;

const GROUP: &str = "rbac.authorization.k8s.io";
const BINDING_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Role"),
    Column::AGE,
    Column::wide("Users"),
    Column::wide("Groups"),
    Column::wide("ServiceAccounts"),
];

impl Spec for Role {
    const FACTS: Facts = Facts {
        plural: "roles",
        singular: "role",
        put_may_create: true,
        storage: "roles.rbac.authorization.k8s.io",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = table::PLAIN_COLUMNS;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    fn row(&self, _now: Timestamp) -> Vec<Cell> {
        table::plain_row(&self.metadata)
    }
}

impl Spec for ClusterRole {
    const FACTS: Facts = Facts {
        plural: "clusterroles",
        singular: "clusterrole",
        put_may_create: true,
        storage: "clusterroles.rbac.authorization.k8s.io",
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = table::PLAIN_COLUMNS;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    fn row(&self, _now: Timestamp) -> Vec<Cell> {
        table::plain_row(&self.metadata)
    }
}

impl Spec for RoleBinding {
    const FACTS: Facts = Facts {
        plural: "rolebindings",
        singular: "rolebinding",
        put_may_create: true,
        storage: "rolebindings.rbac.authorization.k8s.io",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = BINDING_COLUMNS;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let [users, groups, accounts] = subject_texts(self.subjects.as_deref());
        vec![
            table::name(&self.metadata),
            role_text(&self.role_ref),
            table::age(&self.metadata, now),
            users,
            groups,
            accounts,
        ]
    }

    fn set_defaults(&mut self) {
        set_groups(&mut self.role_ref, self.subjects.as_deref_mut());
    }
}

impl Spec for ClusterRoleBinding {
    const FACTS: Facts = Facts {
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        put_may_create: true,
        storage: "clusterrolebindings.rbac.authorization.k8s.io",
        ..Facts::CLUSTER
    };
    const COLUMNS: &'static [Column] = BINDING_COLUMNS;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let [users, groups, accounts] = subject_texts(self.subjects.as_deref());
        vec![
            table::name(&self.metadata),
            role_text(&self.role_ref),
            table::age(&self.metadata, now),
            users,
            groups,
            accounts,
        ]
    }

    fn set_defaults(&mut self) {
        set_groups(&mut self.role_ref, self.subjects.as_deref_mut());
    }
}

fn set_groups(role: &mut RoleRef, subjects: Option<&mut [Subject]>) {
    role.api_group.get_or_insert_with(|| GROUP.to_owned());
    for subject in subjects.unwrap_or_default() {
        if matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group.get_or_insert_with(|| GROUP.to_owned());
        }
    }
}

fn role_text(role: &RoleRef) -> Cell {
    format!("{}/{}", role.kind, role.name).into()
}

/// Users, groups and service accounts, each joined with `, `.
fn subject_texts(subjects: Option<&[Subject]>) -> [Cell; 3] {
    let of = |kind: &str| -> Vec<&Subject> {
        subjects.unwrap_or_default().iter().filter(|subject| subject.kind == kind).collect()
    };
    let names =
        |subjects: Vec<&Subject>| subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(", ");
    let accounts: Vec<String> = of("ServiceAccount")
        .iter()
        .map(|subject| format!("{}/{}", subject.namespace.as_deref().unwrap_or_default(), subject.name))
        .collect();
    [names(of("User")).into(), names(of("Group")).into(), accounts.join(", ").into()]
}
