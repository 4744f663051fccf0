//! Request bodies: from bytes in whatever format to a typed object, with what is unknown in them
//! reported as the client asked (contract `defaults-validation.md`, 1.2).

use bytes::Bytes;
use http::HeaderMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::de::DeserializeOwned;
use stead_api::decode;
use stead_api::{Kind, Object};

use crate::negotiate;
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
    let decoded = decode::decode(kind, body, negotiate::body_format(headers)?)
        .map_err(|error| StatusError::bad_request(error.to_string()))?;
    let complaints = decoded.complaints();
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Strict if !complaints.is_empty() => {
            return Err(StatusError::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                complaints.join(", ")
            )));
        }
        FieldValidation::Warn | FieldValidation::Strict => complaints,
    };
    Ok(Decoded { object: decoded.object, warnings })
}

/// Decodes a value that has no row in the registry (Scale, Binding, Eviction, reviews).
pub(crate) fn plain<T: DeserializeOwned>(kind: &str, headers: &HeaderMap, body: &[u8]) -> Result<T, StatusError> {
    let refuse = |error: &dyn std::fmt::Display| {
        StatusError::bad_request(format!("{kind} cannot be handled as a {kind}: {error}"))
    };
    let (value, _) = decode::parse(body, negotiate::body_format(headers)?).map_err(|error| refuse(&error))?;
    let (decoded, _) = decode::decode_as(value).map_err(|error| refuse(&error))?;
    Ok(decoded)
}

/// Decodes the options of a delete.
pub(crate) fn delete_options(headers: &HeaderMap, body: &Bytes) -> Result<DeleteOptions, StatusError> {
    let refuse = |error: &dyn std::fmt::Display| {
        StatusError::bad_request(format!("decoded object cannot be converted to DeleteOptions: {error}"))
    };
    let (value, _) = decode::parse(body, negotiate::body_format(headers)?).map_err(|error| refuse(&error))?;
    let (options, _) = decode::decode_as(value).map_err(|error| refuse(&error))?;
    Ok(options)
}
