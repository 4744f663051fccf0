//! Errors as clients see them: one Status object per way to fail, with the exact texts of contract
//! `defaults-validation.md`, 1.1 and 1.2. HTTP codes exist only here and above.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};
use stead_api::{FieldErrors, Kind};

use crate::limits::BODY_BYTES_MAX;

/// A request that failed, as the Status that is sent.
#[derive(Clone, Debug)]
pub(crate) struct StatusError(Box<Status>);

impl StatusError {
    fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            code: Some(code.into()),
            details: None,
            message: Some(message.into()),
            metadata: ListMeta::default(),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            status: Some("Failure".to_owned()),
        }))
    }

    fn with_details(mut self, details: StatusDetails) -> Self {
        self.0.details = Some(details);
        self
    }

    fn about(self, group: &str, kind: &str, name: &str) -> Self {
        self.with_details(StatusDetails {
            group: non_empty(group),
            kind: non_empty(kind),
            name: non_empty(name),
            ..StatusDetails::default()
        })
    }

    fn details_mut(&mut self) -> &mut StatusDetails {
        self.0.details.get_or_insert_default()
    }

    /// The HTTP code.
    pub(crate) fn code(&self) -> u16 {
        self.0.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    /// The Status object itself.
    pub(crate) fn status(&self) -> &Status {
        &self.0
    }

    /// Seconds for the `Retry-After` header.
    pub(crate) fn retry_after_s(&self) -> Option<i32> {
        self.0.details.as_ref()?.retry_after_seconds.filter(|seconds| *seconds > 0)
    }

    /// Adds a cause.
    pub(crate) fn cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let cause = StatusCause { reason: non_empty(reason), message: non_empty(message), field: non_empty(field) };
        self.details_mut().causes.get_or_insert_default().push(cause);
        self
    }

    /// Asks the client to come back after so many seconds.
    pub(crate) fn retry_after(mut self, seconds: i32) -> Self {
        self.details_mut().retry_after_seconds = Some(seconds);
        self
    }

    /// Puts a continue token into `metadata.continue`.
    pub(crate) fn continue_with(mut self, token: String) -> Self {
        self.0.metadata.continue_ = Some(token);
        self
    }
}

/// Refusals about one object of a kind.
impl StatusError {
    /// 404: no object of that name.
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {} not found", kind.qualified_plural(), quoted(name))).about(
            kind.group,
            kind.facts.plural,
            name,
        )
    }

    /// 409: the name is taken, possibly by an object on its way out.
    pub(crate) fn already_exists(kind: &Kind, name: &str, being_deleted: bool) -> Self {
        let prefix = if being_deleted { "object is being deleted: " } else { "" };
        let message = format!("{prefix}{} {} already exists", kind.qualified_plural(), quoted(name));
        Self::new(409, "AlreadyExists", message).about(kind.group, kind.facts.plural, name)
    }

    /// 409: every generated name was taken.
    pub(crate) fn no_generated_name(kind: &Kind, name: &str) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            kind.qualified_plural(),
            quoted(name)
        );
        Self::new(409, "AlreadyExists", message).about(kind.group, kind.facts.plural, name).retry_after(1)
    }

    /// 409: the write was based on a revision that is no longer the newest.
    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 with any text after the colon.
    pub(crate) fn conflict(kind: &Kind, name: &str, text: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {}: {text}", kind.qualified_plural(), quoted(name));
        Self::new(409, "Conflict", message).about(kind.group, kind.facts.plural, name)
    }

    /// 409 for a delete precondition, which names the kind rather than the resource.
    pub(crate) fn precondition(kind: &Kind, name: &str, text: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {}: {text}", kind.kind, quoted(name));
        Self::new(409, "Conflict", message).about(kind.group, kind.kind, name)
    }

    /// 409 on `pods/binding`, which names the subresource as well.
    pub(crate) fn subresource_conflict(kind: &Kind, subresource: &str, name: &str, text: &str) -> Self {
        let resource = format!("{}/{subresource}", kind.facts.plural);
        let message = format!("Operation cannot be fulfilled on {resource} {}: {text}", quoted(name));
        Self::new(409, "Conflict", message).about(kind.group, &resource, name)
    }

    /// 409: the body's uid is not the stored object's.
    pub(crate) fn uid_mismatch(kind: &Kind, name: &str, wanted: &str, found: &str) -> Self {
        let key = format!("/registry/{}/{name}", kind.facts.storage);
        let text = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        );
        Self::conflict(kind, name, &text)
    }

    /// 422: the object breaks rules.
    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &FieldErrors) -> Self {
        Self::invalid_kind(kind.group, kind.kind, name, errors)
    }

    /// 422 for a kind that is not in the registry (options, Scale, Binding).
    pub(crate) fn invalid_kind(group: &str, kind: &str, name: &str, errors: &FieldErrors) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut message = format!("{qualified} {} is invalid", quoted(name));
        if !errors.is_empty() {
            message.push_str(&format!(": {errors}"));
        }
        let mut refusal = Self::new(422, "Invalid", message).about(group, kind, name);
        for error in &errors.0 {
            refusal = refusal.cause(error.kind.reason(), &error.message(), &error.field);
        }
        refusal
    }

    /// 403 by admission; an empty name prints none.
    pub(crate) fn forbidden(kind: &Kind, name: &str, text: &str) -> Self {
        let message = match name {
            "" => format!("{} is forbidden: {text}", kind.qualified_plural()),
            name => format!("{} {} is forbidden: {text}", kind.qualified_plural(), quoted(name)),
        };
        Self::new(403, "Forbidden", message).about(kind.group, kind.facts.plural, name)
    }
}

/// Refusals about the request rather than an object.
impl StatusError {
    /// 400 with any text.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 by authorisation: `text` says who may not do what.
    pub(crate) fn denied(group: &str, resource: &str, name: &str, text: &str) -> Self {
        let plain = resource.split('/').next().unwrap_or_default();
        let rest = resource.strip_prefix(plain).unwrap_or_default();
        let qualified = if group.is_empty() { resource.to_owned() } else { format!("{plain}.{group}{rest}") };
        let message = match name {
            "" => format!("{qualified} is forbidden: {text}"),
            name => format!("{qualified} {} is forbidden: {text}", quoted(name)),
        };
        Self::new(403, "Forbidden", message).about(group, plain, name)
    }

    /// 403 on a path that is not a resource.
    pub(crate) fn denied_path(text: &str) -> Self {
        Self::new(403, "Forbidden", format!("forbidden: {text}")).with_details(StatusDetails::default())
    }

    /// 404: the group is known, the resource is not.
    pub(crate) fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
            .with_details(StatusDetails::default())
    }

    /// 404 with any text.
    pub(crate) fn missing(text: &str) -> Self {
        Self::new(404, "NotFound", text)
    }

    /// 405: the route is known, the method is not.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(StatusDetails::default())
    }

    /// 406: nothing the client accepts can be produced.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        )
    }

    /// 406: this answer has no table form.
    pub(crate) fn no_table(resource: &str) -> Self {
        Self::new(406, "NotAcceptable", format!("the resource {resource} does not support being converted to a Table"))
    }

    /// 410 on a list at a revision that is no longer kept.
    pub(crate) fn expired_list() -> Self {
        Self::new(410, "Expired", "The resourceVersion for the provided list is too old.")
    }

    /// 410 on a continue token; `token` continues at a new revision.
    pub(crate) fn expired_continue(token: String) -> Self {
        Self::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        )
        .continue_with(token)
    }

    /// 410 on a watch: `oldest` is the oldest revision that can still be asked for.
    pub(crate) fn expired_watch(at: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {at} ({})", oldest.saturating_sub(1)))
    }

    /// 413 for a body over the limit.
    pub(crate) fn body_too_large() -> Self {
        Self::too_large(&format!("limit is {BODY_BYTES_MAX}"))
    }

    /// 413 with any text after the colon.
    pub(crate) fn too_large(text: &str) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: {text}"))
    }

    /// 415: `accepted` is the list of media types shown.
    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 415 with any text.
    pub(crate) fn unsupported_media_type_text(text: &str) -> Self {
        Self::new(415, "UnsupportedMediaType", text)
    }

    /// 422 for a JSON patch that does not apply: the real cause is never sent.
    pub(crate) fn unprocessable() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request")
            .with_details(StatusDetails::default())
    }

    /// 429: a bound of this server was reached.
    pub(crate) fn too_many_requests(message: &str) -> Self {
        Self::new(429, "TooManyRequests", message).retry_after(1)
    }

    /// 429: a disruption budget does not leave room for an eviction.
    pub(crate) fn budget_spent(budget: &str, desired: i32, current: i32) -> Self {
        let text = format!("The disruption budget {budget} needs {desired} healthy pods and has {current} currently");
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Self::new(429, "TooManyRequests", message).cause("DisruptionBudget", &text, "")
    }

    /// 500: it is not clear which budget counts.
    pub(crate) fn several_budgets() -> Self {
        let message =
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        Self::new(500, "InternalError", message)
    }

    /// 500 wrapped as an internal error.
    pub(crate) fn internal(error: impl fmt::Display) -> Self {
        let text = error.to_string();
        Self::new(500, "InternalError", format!("Internal error occurred: {text}")).cause("", &text, "")
    }

    /// 500 without a reason: a plain error of Kubernetes whose text clients may show.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 503: something the answer depends on is not there now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504: the revision has not happened yet.
    pub(crate) fn future_revision(at: u64, newest: u64) -> Self {
        Self::new(504, "Timeout", format!("Timeout: Too large resource version: {at}, current: {newest}"))
            .cause("ResourceVersionTooLarge", "Too large resource version", "")
            .retry_after(1)
    }

    /// 504: the client took too long.
    pub(crate) fn timeout() -> Self {
        Self::new(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message.as_deref().unwrap_or_default())
    }
}

impl std::error::Error for StatusError {}

/// A Success Status, as DELETE and the action subresources answer.
pub(crate) fn success(details: Option<StatusDetails>) -> Status {
    Status { details, status: Some("Success".to_owned()), ..Status::default() }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A name in quotes, as messages print it.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
