//! Discovery: which groups, versions and resources there are, plain and aggregated (contract
//! `api.md` 2.15). Everything is derived from the registry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use stead_api::registry::Subresource;
use stead_api::{Kind, Scope, kinds};

use crate::encode::stored_kind;
use crate::negotiate::{self, Form, Offer, Shape};
use crate::respond::{self, Answer, Body};
use crate::reviews::ReviewKind;
use crate::status::StatusError;

/// Groups in the order clients should prefer them where a kind is in several.
const PREFERRED_GROUPS: &[&str] = &["", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io"];

/// Whether a group version is served.
pub(crate) fn has_version(group: &str, version: &str) -> bool {
    let stored = kinds::ALL.iter().any(|kind| kind.group == group && kind.version == version);
    stored || ReviewKind::ALL.iter().any(|review| review.group() == group && version == "v1")
}

/// `/api`
pub(crate) fn core_versions(headers: &HeaderMap) -> Answer {
    let form = negotiate::accepted(headers, Offer::Discovery)?;
    if form.shape == Shape::GroupDiscovery {
        return aggregated(headers, form, &[""]);
    }
    let versions = serde_json::json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    });
    respond::value(StatusCode::OK, &versions, form)
}

/// `/apis`
pub(crate) fn groups(headers: &HeaderMap) -> Answer {
    let form = negotiate::accepted(headers, Offer::Discovery)?;
    let names: Vec<&str> = group_names().into_iter().filter(|group| !group.is_empty()).collect();
    if form.shape == Shape::GroupDiscovery {
        return aggregated(headers, form, &names);
    }
    let groups: Vec<ApiGroup<'_>> = names.into_iter().map(ApiGroup::of).collect();
    respond::value(StatusCode::OK, &ApiGroupList { kind: "APIGroupList", api_version: "v1", groups }, form)
}

/// `/apis/<group>`; none when there is no such group.
pub(crate) fn group(headers: &HeaderMap, name: &str) -> Option<Answer> {
    group_names().contains(&name).then(|| {
        let form = negotiate::accepted(headers, Offer::Plain)?;
        let group = TypedGroup { kind: "APIGroup", api_version: "v1", group: ApiGroup::of(name) };
        respond::value(StatusCode::OK, &group, form)
    })
}

/// `/api/v1` and `/apis/<group>/<version>`
pub(crate) fn resources(headers: &HeaderMap, group: &str, version: &str) -> Answer {
    let form = negotiate::accepted(headers, Offer::Plain)?;
    let group_version = join(group, version);
    let mut resources: Vec<ApiResource<'_>> = Vec::new();
    for kind in kinds_of(group, version) {
        resources.push(ApiResource::of(kind));
        resources.extend(kind.facts.subresources.iter().map(|subresource| ApiResource::below(kind, subresource)));
    }
    resources.extend(reviews_of(group, version).map(ApiResource::review));
    resources.sort_by(|a, b| a.name.cmp(&b.name));
    let list = ApiResourceList { kind: "APIResourceList", api_version: "v1", group_version, resources };
    respond::value(StatusCode::OK, &list, form)
}

/// Every path the server knows, as `/` answers.
pub(crate) fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in group_names().into_iter().filter(|group| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions_of(group).into_iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths
}

fn group_names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    let listed = kinds::ALL.iter().map(|kind| kind.group).chain(ReviewKind::ALL.iter().map(|review| review.group()));
    for group in listed {
        if !names.contains(&group) {
            names.push(group);
        }
    }
    let rank = |group: &str| PREFERRED_GROUPS.iter().position(|preferred| *preferred == group);
    names.sort_by_key(|group| rank(group).unwrap_or(PREFERRED_GROUPS.len()));
    names
}

/// The versions of a group, preferred (newest) first.
fn versions_of(group: &str) -> Vec<&'static str> {
    let mut versions: Vec<&'static str> =
        kinds::ALL.iter().filter(|kind| kind.group == group).map(|kind| kind.version).collect();
    if reviews_of(group, "v1").next().is_some() {
        versions.push("v1");
    }
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.dedup();
    versions
}

fn kinds_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Kind> + use<'a> {
    kinds::ALL.iter().filter(move |kind| kind.group == group && kind.version == version)
}

fn reviews_of(group: &str, version: &str) -> impl Iterator<Item = ReviewKind> {
    let (group, known) = (group.to_owned(), version == "v1");
    ReviewKind::ALL.into_iter().filter(move |review| known && review.group() == group)
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// base64(first 8 bytes of sha256("group/version/kind" of the stored form)).
fn storage_version_hash(kind: &'static Kind) -> String {
    let stored = stored_kind(kind);
    let digest = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, stored.kind));
    STANDARD.encode(&digest[..8])
}

fn scope(kind: &Kind) -> &'static str {
    match kind.facts.scope {
        Scope::Cluster => "Cluster",
        Scope::Namespaced => "Namespaced",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroupList<'a> {
    kind: &'a str,
    api_version: &'a str,
    groups: Vec<ApiGroup<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypedGroup<'a> {
    kind: &'a str,
    api_version: &'a str,
    #[serde(flatten)]
    group: ApiGroup<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup<'a> {
    name: &'a str,
    versions: Vec<GroupVersion>,
    preferred_version: GroupVersion,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
    version: String,
}

impl<'a> ApiGroup<'a> {
    fn of(name: &'a str) -> Self {
        let version = |version: &str| GroupVersion { group_version: join(name, version), version: version.to_owned() };
        let versions: Vec<GroupVersion> = versions_of(name).into_iter().map(version).collect();
        Self { name, preferred_version: versions.first().cloned().unwrap_or_default(), versions }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList<'a> {
    kind: &'a str,
    api_version: &'a str,
    group_version: String,
    resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: String,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    kind: &'a str,
    verbs: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_version_hash: Option<String>,
}

impl ApiResource<'static> {
    fn of(kind: &'static Kind) -> Self {
        Self {
            name: kind.facts.plural.to_owned(),
            singular_name: kind.facts.singular,
            namespaced: kind.facts.scope == Scope::Namespaced,
            group: "",
            version: "",
            kind: kind.kind,
            verbs: kind.facts.verbs,
            short_names: kind.facts.short_names,
            categories: kind.facts.categories,
            storage_version_hash: Some(storage_version_hash(kind)),
        }
    }

    fn below(kind: &'static Kind, subresource: &'static Subresource) -> Self {
        Self {
            name: format!("{}/{}", kind.facts.plural, subresource.name),
            singular_name: "",
            namespaced: kind.facts.scope == Scope::Namespaced,
            group: subresource.group,
            version: subresource.version,
            kind: subresource.kind,
            verbs: subresource.verbs,
            short_names: &[],
            categories: &[],
            storage_version_hash: None,
        }
    }

    fn review(review: ReviewKind) -> Self {
        Self {
            name: review.plural().to_owned(),
            singular_name: review.plural().strip_suffix('s').unwrap_or_default(),
            namespaced: review.namespaced(),
            group: "",
            version: "",
            kind: review.kind(),
            verbs: &["create"],
            short_names: &[],
            categories: &[],
            storage_version_hash: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupDiscovery<'a> {
    metadata: DiscoveryName<'a>,
    versions: Vec<VersionDiscovery<'a>>,
}

#[derive(Serialize)]
struct DiscoveryName<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Serialize)]
struct VersionDiscovery<'a> {
    version: &'a str,
    resources: Vec<ResourceDiscovery<'a>>,
    freshness: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDiscovery<'a> {
    resource: &'a str,
    response_kind: ResponseKind<'a>,
    scope: &'a str,
    singular_resource: &'a str,
    verbs: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [&'a str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<SubresourceDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubresourceDiscovery<'a> {
    subresource: &'a str,
    response_kind: ResponseKind<'a>,
    verbs: &'a [&'a str],
}

#[derive(Serialize)]
struct ResponseKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

fn aggregated(headers: &HeaderMap, form: Form, groups: &[&str]) -> Answer {
    let items: Vec<GroupDiscovery<'_>> = groups.iter().map(|group| group_discovery(group)).collect();
    let list = serde_json::json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let json = Bytes::from(serde_json::to_vec(&list).map_err(StatusError::internal)?);
    let mut response = tagged(headers, &json, |json| respond::encoded(StatusCode::OK, json, form.encoding))?;
    if form.encoding == negotiate::Encoding::Json {
        const TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
    }
    Ok(response)
}

fn group_discovery(group: &str) -> GroupDiscovery<'_> {
    let versions = versions_of(group).into_iter().map(|version| {
        let stored = kinds_of(group, version).map(resource_discovery);
        let mut resources: Vec<_> = stored.chain(reviews_of(group, version).map(review_discovery)).collect();
        resources.sort_by_key(|resource| resource.resource);
        VersionDiscovery { version, resources, freshness: "Current" }
    });
    GroupDiscovery { metadata: DiscoveryName { name: group }, versions: versions.collect() }
}

fn resource_discovery(kind: &'static Kind) -> ResourceDiscovery<'static> {
    let own = |text: &'static str, fallback: &'static str| if text.is_empty() { fallback } else { text };
    let subresources = kind.facts.subresources.iter().map(|subresource| SubresourceDiscovery {
        subresource: subresource.name,
        response_kind: ResponseKind {
            group: if subresource.version.is_empty() { kind.group } else { subresource.group },
            version: own(subresource.version, kind.version),
            kind: own(subresource.kind, kind.kind),
        },
        verbs: subresource.verbs,
    });
    ResourceDiscovery {
        resource: kind.facts.plural,
        response_kind: ResponseKind { group: kind.group, version: kind.version, kind: kind.kind },
        scope: scope(kind),
        singular_resource: kind.facts.singular,
        verbs: kind.facts.verbs,
        short_names: kind.facts.short_names,
        categories: kind.facts.categories,
        subresources: subresources.collect(),
    }
}

fn review_discovery(review: ReviewKind) -> ResourceDiscovery<'static> {
    ResourceDiscovery {
        resource: review.plural(),
        response_kind: ResponseKind { group: review.group(), version: "v1", kind: review.kind() },
        scope: if review.namespaced() { "Namespaced" } else { "Cluster" },
        singular_resource: review.plural().strip_suffix('s').unwrap_or_default(),
        verbs: &["create"],
        short_names: &[],
        categories: &[],
        subresources: Vec::new(),
    }
}

/// Answers a document under its ETag, or 304 when the client has it already.
pub(crate) fn tagged(
    headers: &HeaderMap,
    document: &Bytes,
    answer: impl FnOnce(Bytes) -> Answer,
) -> Result<Response<Body>, StatusError> {
    let tag = format!("\"{:X}\"", Sha256::digest(document));
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match known {
        Some(known) if known == tag => {
            let mut response = Response::new(respond::full(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        _ => answer(document.clone())?,
    };
    let tag = HeaderValue::from_str(&tag).map_err(StatusError::internal)?;
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}
