//! Request bodies: from bytes in whatever format to a typed object, with what is unknown in them
//! reported as the client asked (contract `defaults-validation.md`, 1.2).

use bytes::Bytes;
use http::HeaderMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use stead_api::{Kind, Object};

use crate::negotiate::{self, BodyFormat};
use crate::query::FieldValidation;
use crate::status::StatusError;

/// A decoded body.
pub(crate) struct Decoded {
    pub(crate) object: Object,
    /// `Warning:` texts about it.
    pub(crate) warnings: Vec<String>,
}

/// Decodes an object of `kind`.
pub(crate) fn object(
    kind: &'static Kind,
    headers: &HeaderMap,
    body: &Bytes,
    validation: FieldValidation,
) -> Result<Decoded, StatusError> {
    let json = as_json(headers, body)?;
    check_type(kind, &json)?;
    typed(kind, &json, validation)
}

/// Decodes a value that has no row in the registry (Scale, Binding, Eviction).
pub(crate) fn plain<T: DeserializeOwned>(kind: &str, headers: &HeaderMap, body: &Bytes) -> Result<T, StatusError> {
    let json = as_json(headers, body)?;
    serde_json::from_slice(&json)
        .map_err(|error| StatusError::bad_request(format!("{kind} cannot be handled as a {kind}: {error}")))
}

/// Decodes the options of a delete.
pub(crate) fn delete_options(headers: &HeaderMap, body: &Bytes) -> Result<DeleteOptions, StatusError> {
    let json = as_json(headers, body)?;
    serde_json::from_slice(&json).map_err(|error| {
        StatusError::bad_request(format!("decoded object cannot be converted to DeleteOptions: {error}"))
    })
}

/// The body as JSON.
pub(crate) fn as_json(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, StatusError> {
    match negotiate::body_format(headers)? {
        BodyFormat::Json => Ok(body.clone()),
        BodyFormat::Yaml => {
            let value: serde_yaml_ng::Value = serde_yaml_ng::from_slice(body)
                .map_err(|error| StatusError::bad_request(format!("error converting YAML to JSON: {error}")))?;
            Ok(serde_json::to_vec(&value).map_err(|error| StatusError::bad_request(error.to_string()))?.into())
        }
        BodyFormat::Protobuf => Err(StatusError::unsupported_media_type_text(
            "protobuf bodies are not decoded by this server yet; send application/json or application/yaml",
        )),
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

fn check_type(kind: &Kind, json: &[u8]) -> Result<(), StatusError> {
    // What cannot be read at all is reported by the decoder below, with its reason.
    let found: TypeMeta = serde_json::from_slice(json).unwrap_or_default();
    let expected = kind.api_version();
    if !found.api_version.is_empty() && found.api_version != expected {
        return Err(StatusError::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({expected})",
            found.api_version
        )));
    }
    if !found.kind.is_empty() && found.kind != kind.kind {
        let head: String = String::from_utf8_lossy(json).chars().take(30).collect();
        return Err(StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): no kind {} is registered for version {} ({head} ...)",
            kind.kind,
            crate::status::quoted(&found.kind),
            crate::status::quoted(&found.api_version),
        )));
    }
    Ok(())
}

fn typed(kind: &'static Kind, json: &[u8], validation: FieldValidation) -> Result<Decoded, StatusError> {
    let head = || format!("{} in version \"{}\" cannot be handled as a {}", kind.kind, kind.version, kind.kind);
    let mut unknown = Vec::new();
    let object = (kind.from_json)(json, &mut unknown)
        .map_err(|error| StatusError::bad_request(format!("{}: {error}", head())))?;
    let warnings = complaints(unknown);
    match validation {
        FieldValidation::Ignore => Ok(Decoded { object, warnings: Vec::new() }),
        FieldValidation::Warn => Ok(Decoded { object, warnings }),
        FieldValidation::Strict if warnings.is_empty() => Ok(Decoded { object, warnings }),
        FieldValidation::Strict => {
            let message = format!("{}: strict decoding error: {}", head(), warnings.join(", "));
            Err(StatusError::bad_request(message))
        }
    }
}

/// What strict decoding says about unknown fields.
pub(crate) fn complaints(unknown: Vec<String>) -> Vec<String> {
    unknown.into_iter().map(|path| format!("unknown field \"{path}\"")).collect()
}
