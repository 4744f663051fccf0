//! Content negotiation: what the client accepts, and what its body is written in (contract `api.md`
//! 2.14, 2.15, `tables-notes.md` "Envelope"). Produces nothing itself.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use stead_api::decode::Format;

use crate::status::StatusError;

/// How the bytes of an answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

/// Version of the `meta.k8s.io` group a converted answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    /// `meta.k8s.io/v1`
    V1,
    /// `meta.k8s.io/v1beta1`
    V1Beta1,
}

impl MetaVersion {
    /// The `apiVersion` text.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What an object or a list is turned into before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it is.
    Plain,
    /// `as=Table`
    Table(MetaVersion),
    /// `as=PartialObjectMetadata` or `as=PartialObjectMetadataList`
    Metadata(MetaVersion),
    /// `as=APIGroupDiscoveryList`, version v2
    GroupDiscovery,
}

/// The form chosen for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// How the bytes are written.
    pub encoding: Encoding,
    /// What is written.
    pub shape: Shape,
}

impl Form {
    /// Plain JSON.
    pub(crate) const JSON: Self = Self { encoding: Encoding::Json, shape: Shape::Plain };
}

/// What an endpoint can turn its answer into, besides [`Shape::Plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// One object.
    Object,
    /// A list, or a watch.
    List,
    /// A review or action, which has no table.
    Plain,
    /// `/api` and `/apis`.
    Discovery,
}

/// Chooses the first form the client accepts and this endpoint offers; 406 when there is none.
pub(crate) fn accepted(headers: &HeaderMap, offer: Offer) -> Result<Form, StatusError> {
    let text = accept_text(headers);
    if text.trim().is_empty() {
        return Ok(Form::JSON);
    }
    let mut clauses: Vec<Clause<'_>> = text.split(',').map(Clause::parse).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses.iter().find_map(|clause| clause.form(offer)).ok_or_else(StatusError::not_acceptable)
}

/// Whether the client asks for a table first of all.
pub(crate) fn wants_table(headers: &HeaderMap) -> bool {
    accept_text(headers).split(',').next().is_some_and(|first| Clause::parse(first).parameter("as") == Some("Table"))
}

fn accept_text(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, value)| value.parse().ok());
        Self { media_type, parameters, quality: quality.unwrap_or(1.0) }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn form(&self, offer: Offer) -> Option<Form> {
        let encoding = match self.media_type {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            _ => return None,
        };
        let Some(target) = self.parameter("as") else {
            return Some(Form { encoding, shape: Shape::Plain });
        };
        let meta = match (self.parameter("g"), self.parameter("v")) {
            (Some("meta.k8s.io"), Some("v1")) => Some(MetaVersion::V1),
            (Some("meta.k8s.io"), Some("v1beta1")) => Some(MetaVersion::V1Beta1),
            _ => None,
        };
        let shape = match (target, offer) {
            ("Table", Offer::Object | Offer::List) => Shape::Table(meta?),
            ("PartialObjectMetadata", Offer::Object | Offer::List) => Shape::Metadata(meta?),
            ("PartialObjectMetadataList", Offer::List) => Shape::Metadata(meta?),
            ("APIGroupDiscoveryList", Offer::Discovery)
                if self.parameter("g") == Some("apidiscovery.k8s.io") && self.parameter("v") == Some("v2") =>
            {
                Shape::GroupDiscovery
            }
            _ => return None,
        };
        Some(Form { encoding, shape })
    }
}

/// The format of an object body; 415 for anything unknown.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<Format, StatusError> {
    match media_type(headers).as_deref() {
        None | Some("" | "application/json") => Ok(Format::Json),
        Some("application/yaml") => Ok(Format::Yaml),
        Some("application/vnd.kubernetes.protobuf") => Ok(Format::Protobuf),
        Some(_) => Err(StatusError::unsupported_media_type(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The four patch languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchFormat {
    /// `application/json-patch+json`
    Json,
    /// `application/merge-patch+json`
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
    /// `application/apply-patch+yaml`
    Apply,
}

/// The language of a patch body; 415 for anything unknown or missing.
pub(crate) fn patch_format(headers: &HeaderMap) -> Result<PatchFormat, StatusError> {
    match media_type(headers).as_deref() {
        Some("application/json-patch+json") => Ok(PatchFormat::Json),
        Some("application/merge-patch+json") => Ok(PatchFormat::Merge),
        Some("application/strategic-merge-patch+json") => Ok(PatchFormat::Strategic),
        Some("application/apply-patch+yaml") => Ok(PatchFormat::Apply),
        _ => Err(StatusError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml",
        )),
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str, offer: Offer) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header value"));
        accepted(&headers, offer).ok()
    }

    const KUBECTL_GET: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,\
        application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

    #[test]
    fn kubectl_get_gets_a_table_where_there_is_one_and_json_elsewhere() {
        assert_eq!(form(KUBECTL_GET, Offer::List).map(|form| form.shape), Some(Shape::Table(MetaVersion::V1)));
        assert_eq!(form(KUBECTL_GET, Offer::Plain), Some(Form::JSON));
    }

    #[test]
    fn protobuf_falls_through_to_json_only_when_json_is_listed() {
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json", Offer::Object), Some(Form::JSON));
        assert_eq!(form("application/vnd.kubernetes.protobuf", Offer::Object), None);
    }

    #[test]
    fn quality_decides_before_order() {
        let chosen = form("application/json;q=0.5, application/yaml", Offer::Object);
        assert_eq!(chosen.map(|form| form.encoding), Some(Encoding::Yaml));
    }
}
