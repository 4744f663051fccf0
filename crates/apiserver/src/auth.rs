//! Who asks, and whether they may. Identities come from client certificates or from the process
//! itself; the policy is static: `system:masters` may do everything, everyone else only looks at
//! the health of the server (roles are stage 2).

use http::Method;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::routes::Route;
use crate::status::StatusError;

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Groups, `system:authenticated` included.
    pub groups: Vec<String>,
}

impl Identity {
    /// A component inside this process, e.g. `system:kube-scheduler`; may do everything.
    pub fn component(user: &str) -> Self {
        Self::of(user, [MASTERS.to_owned()])
    }

    /// The subject of a verified client certificate: common name is the user, organisations are groups.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
        Some(Self::of(&user, groups))
    }

    fn of(user: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.push("system:authenticated".to_owned());
        Self { user: user.to_owned(), groups }
    }

    /// Whether the user belongs to a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// Lets a request pass, or says why not: 401 without an identity, 403 without permission.
pub(crate) fn authorize(
    identity: Option<&Identity>,
    method: &Method,
    route: &Route,
    path: &str,
    watch: bool,
) -> Result<(), StatusError> {
    if is_public(route) && *method == Method::GET {
        return Ok(());
    }
    let identity = identity.ok_or_else(StatusError::unauthorized)?;
    if identity.is_in(MASTERS) {
        return Ok(());
    }
    Err(denial(identity, method, route, path, watch))
}

fn is_public(route: &Route) -> bool {
    matches!(route, Route::Health { .. } | Route::Version)
}

fn denial(identity: &Identity, method: &Method, route: &Route, path: &str, watch: bool) -> StatusError {
    let user = crate::status::quoted(&identity.user);
    let (group, resource, namespace, name, collection) = match route {
        Route::Resource(path) => {
            (path.kind.group, path.resource(), path.namespace.as_deref(), path.name(), path.name.is_none())
        }
        Route::Review { kind, namespace } => (kind.group(), kind.plural().to_owned(), namespace.as_deref(), "", false),
        Route::Health { .. }
        | Route::Version
        | Route::Root
        | Route::CoreVersions
        | Route::Groups
        | Route::Group(_)
        | Route::Resources { .. }
        | Route::OpenApiV2
        | Route::OpenApiV3(_)
        | Route::UnknownResource
        | Route::Nothing => {
            let verb = method.as_str().to_ascii_lowercase();
            return StatusError::denied_path(&format!("User {user} cannot {verb} path \"{path}\""));
        }
    };
    let place = match namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let verb = verb(method, collection, watch);
    let text = format!("User {user} cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}");
    StatusError::denied(group, &resource, name, &text)
}

fn verb(method: &Method, collection: bool, watch: bool) -> &'static str {
    match (method.as_str(), collection) {
        ("GET" | "HEAD", _) if watch => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "use",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_pass_strangers_are_asked_who_they_are_and_others_are_told_what_they_lack() {
        let route = Route::Groups;
        let get = &Method::GET;
        assert!(authorize(Some(&Identity::component("system:gc")), get, &route, "/apis", false).is_ok());
        assert_eq!(authorize(None, get, &route, "/apis", false).map_err(|error| error.code()), Err(401));
        let stranger = Identity { user: "eve".to_owned(), groups: Vec::new() };
        assert_eq!(authorize(Some(&stranger), get, &route, "/apis", false).map_err(|error| error.code()), Err(403));
    }

    #[test]
    fn health_is_for_everyone() {
        let route = Route::Health { endpoint: "livez", check: None };
        assert!(authorize(None, &Method::GET, &route, "/livez", false).is_ok());
    }
}
