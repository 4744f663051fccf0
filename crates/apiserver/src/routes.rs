//! From a URL path to what it means. Knows the registry, decides nothing about methods.

use stead_api::{Kind, Scope, registry};

use crate::reviews::ReviewKind;

/// What a path names.
#[derive(Clone)]
pub(crate) enum Route {
    /// `/healthz`, `/livez`, `/readyz`, or one check below them.
    Health {
        /// `healthz`, `livez` or `readyz`.
        endpoint: &'static str,
        /// The one check asked for.
        check: Option<String>,
    },
    /// `/version`
    Version,
    /// `/`: the list of paths.
    Root,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1` or `/apis/<group>/<version>`
    Resources {
        /// Group, empty for core.
        group: String,
        /// Version.
        version: String,
    },
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3` and the documents below it, e.g. `apis/apps/v1`; empty for the index.
    OpenApiV3(String),
    /// A collection, an object or a subresource.
    Resource(ResourcePath),
    /// A kind that is answered and never stored.
    Review {
        /// Which one.
        kind: ReviewKind,
        /// The namespace in the path.
        namespace: Option<String>,
    },
    /// A resource of a group that exists.
    UnknownResource,
    /// Nothing at all.
    Nothing,
}

/// A path below a resource.
#[derive(Clone)]
pub(crate) struct ResourcePath {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace, when the path names one.
    pub namespace: Option<String>,
    /// The object, when the path names one.
    pub name: Option<String>,
    /// The subresource, when the path names one.
    pub subresource: Option<String>,
}

impl ResourcePath {
    /// The name in the path; empty for a collection.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The namespace in the path; empty for none.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// `pods` or `pods/log`, as authorisation names it.
    pub(crate) fn resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.kind.facts.plural),
            None => self.kind.facts.plural.to_owned(),
        }
    }
}

impl Route {
    /// Reads a decoded path.
    pub(crate) fn parse(path: &str) -> Self {
        let decoded: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        match segments.as_slice() {
            [] => Self::Root,
            ["healthz", rest @ ..] => health("healthz", rest),
            ["livez", rest @ ..] => health("livez", rest),
            ["readyz", rest @ ..] => health("readyz", rest),
            ["version"] => Self::Version,
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3", rest @ ..] => Self::OpenApiV3(rest.join("/")),
            ["api"] => Self::CoreVersions,
            ["api", version, rest @ ..] => below_version("", version, rest),
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["apis", group, version, rest @ ..] => below_version(group, version, rest),
            _ => Self::Nothing,
        }
    }
}

fn health(endpoint: &'static str, rest: &[&str]) -> Route {
    match rest {
        [] => Route::Health { endpoint, check: None },
        rest => Route::Health { endpoint, check: Some(rest.join("/")) },
    }
}

fn below_version(group: &str, version: &str, rest: &[&str]) -> Route {
    let known = crate::discovery::has_version(group, version);
    match rest {
        [] if known => Route::Resources { group: group.to_owned(), version: version.to_owned() },
        [] => Route::Nothing,
        _ if !known => Route::Nothing,
        // `namespaces/x/status` is a namespace's subresource, `namespaces/x/pods` a collection.
        ["namespaces", namespace, resource, rest @ ..] if !is_namespace_subresource(group, resource, rest) => {
            below_resource(group, version, Some(namespace), resource, rest)
        }
        [resource, rest @ ..] => below_resource(group, version, None, resource, rest),
    }
}

fn is_namespace_subresource(group: &str, segment: &str, rest: &[&str]) -> bool {
    group.is_empty() && rest.is_empty() && matches!(segment, "status" | "finalize")
}

fn below_resource(group: &str, version: &str, namespace: Option<&str>, resource: &str, rest: &[&str]) -> Route {
    if let Some(kind) = ReviewKind::find(group, version, resource).filter(|_| rest.is_empty()) {
        return Route::Review { kind, namespace: namespace.map(str::to_owned) };
    }
    let Some(kind) = registry::find_resource(group, version, resource) else {
        return Route::UnknownResource;
    };
    if namespace.is_some() && kind.facts.scope == Scope::Cluster {
        return Route::UnknownResource;
    }
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some(*name), None),
        [name, subresource @ ..] => (Some(*name), Some(subresource.join("/"))),
    };
    // One object of a namespaced kind cannot be named without its namespace.
    if name.is_some() && namespace.is_none() && kind.facts.scope == Scope::Namespaced {
        return Route::UnknownResource;
    }
    Route::Resource(ResourcePath {
        kind,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        subresource,
    })
}

impl ResourcePath {
    /// Whether objects of the kind live in a namespace.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.kind.facts.scope == Scope::Namespaced
    }

    /// Whether the request is passed on to the pod's node.
    pub(crate) fn is_stream(&self) -> bool {
        self.kind.kind == "Pod"
            && matches!(self.subresource.as_deref(), Some("log" | "exec" | "attach" | "portforward"))
    }
}
