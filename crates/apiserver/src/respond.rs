//! Answers: bodies, headers, encodings. What is answered is decided elsewhere.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use crate::limits::{WARNING_CHARS_EACH_MAX, WARNING_CHARS_MAX};
use crate::negotiate::{Encoding, Form};
use crate::status::StatusError;

/// Any error of a body or transport.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What a handler gives.
pub(crate) type Answer = Result<Response<Body>, StatusError>;

/// A body of known bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    typed(code, "text/plain; charset=utf-8", full(text.into()))
}

/// A body under a Content-Type.
pub(crate) fn typed(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// JSON bytes, turned into YAML when that was asked for.
pub(crate) fn encoded(code: StatusCode, json: Bytes, encoding: Encoding) -> Answer {
    match encoding {
        Encoding::Json => Ok(typed(code, "application/json", full(json))),
        Encoding::Yaml => {
            let value: serde_yaml_ng::Value = serde_json::from_slice(&json).map_err(StatusError::internal)?;
            let yaml = serde_yaml_ng::to_string(&value).map_err(StatusError::internal)?;
            Ok(typed(code, "application/yaml", full(yaml)))
        }
    }
}

/// A value as JSON or YAML.
pub(crate) fn value(code: StatusCode, value: &impl Serialize, form: Form) -> Answer {
    let json = serde_json::to_vec(value).map_err(StatusError::internal)?;
    encoded(code, json.into(), form.encoding)
}

/// An error as the Status it carries.
pub(crate) fn error(error: &StatusError) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = serde_json::to_vec(error.status()).expect("a Status always serialises");
    let mut response = typed(code, "application/json", full(json));
    if let Some(seconds) = error.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds `Warning:` headers: each text once, cut when all together are too long (contract
/// `defaults-validation.md`, 1.4).
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let mut seen: Vec<&str> = Vec::new();
    for warning in warnings {
        if !seen.contains(&warning.as_str()) {
            seen.push(warning);
        }
    }
    let total: usize = seen.iter().map(|text| text.chars().count()).sum();
    for text in seen {
        let shown: String = match total > WARNING_CHARS_MAX {
            true => text.chars().take(WARNING_CHARS_EACH_MAX).collect(),
            false => text.to_owned(),
        };
        let escaped = shown.replace('\\', "\\\\").replace('"', "\\\"").replace(['\r', '\n'], " ");
        match HeaderValue::from_bytes(format!("299 - \"{escaped}\"").as_bytes()) {
            Ok(header) => {
                response.headers_mut().append(WARNING, header);
            }
            Err(error) => tracing::debug!(%error, "a warning does not fit into a header"),
        }
    }
}
