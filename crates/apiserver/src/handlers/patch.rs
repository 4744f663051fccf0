//! PATCH of an object or of a subresource that is the whole object (contract `patch-notes.md`, 1).
//! The algorithms are in `stead_api::patch`; here their errors get their HTTP codes.

use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use stead_api::decode;
use stead_api::patch::{self, JsonPatch, JsonPatchError, MergePatchError, StrategicMergeError};
use stead_api::{FieldError, FieldErrors, Kind, Object};
use stead_store::Store;

use crate::handlers::answers::Show;
use crate::handlers::create::settle_namespace;
use crate::handlers::modify::{Proposal, Rules, Target};
use crate::handlers::update::check_name;
use crate::negotiate::{self, Offer, PatchFormat};
use crate::query::{FieldValidation, WriteOptions};
use crate::respond::Answer;
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;

impl<S: Store> ApiServer<S> {
    /// Answers a patch.
    pub(crate) async fn patch(&self, call: &Call, path: &ResourcePath) -> Answer {
        let patch = Patch::read(call)?;
        let options = WriteOptions::read(&call.query, "PatchOptions")?;
        let form = negotiate::accepted(&call.headers, Offer::Object)?;
        let validation = options.field_validation;
        let mut warnings = Vec::new();
        let mut propose = |old: &Object| {
            let merged = |object: &Object| decode(path.kind, || patch.apply(path.kind, object.to_value()), validation);
            let bare =
                without_spec(old).filter(|_| path.subresource.as_deref() == Some("status") && patch.spares("spec"));
            // What is refused is shown whole.
            let mut proposal = match bare.and_then(|bare| merged(&bare).ok()) {
                Some(mut proposal) => {
                    (path.kind.prepare_subresource_update)(&mut proposal.object, "status", old);
                    proposal
                }
                None => merged(old)?,
            };
            proposal.warnings.extend(patch.complaints(validation)?);
            settle_namespace(path.kind, path.namespace(), &mut proposal.object)?;
            check_name(path.name(), &proposal.object)?;
            Ok(proposal)
        };
        let target = Target::of(path);
        let outcome = self.modify(&target, Rules::Client, options.dry_run, &mut warnings, &mut propose).await?;
        let show = Show { kind: path.kind, form, query: &call.query, code: StatusCode::OK };
        self.show_with(&show, &outcome, &warnings)
    }
}

/// A patch, decoded once and applied as often as races demand.
pub(crate) enum Patch {
    Json(JsonPatch),
    Merge(bytes::Bytes),
    Strategic(Value),
}

impl Patch {
    /// Decodes the body by its Content-Type.
    pub(crate) fn read(call: &Call) -> Result<Self, StatusError> {
        match negotiate::patch_format(&call.headers)? {
            PatchFormat::Json => JsonPatch::parse(&call.body).map(Self::Json).map_err(json_error),
            PatchFormat::Merge => Ok(Self::Merge(call.body.clone())),
            PatchFormat::Strategic => serde_json::from_slice(&call.body)
                .map(Self::Strategic)
                .map_err(|error| StatusError::bad_request(error.to_string())),
            // Server-side apply needs field ownership, which is not tracked yet.
            PatchFormat::Apply => Err(StatusError::unsupported_media_type_text(
                "server-side apply is not served yet; use client-side apply",
            )),
        }
    }

    /// The document this patch makes of `current`.
    fn apply(&self, kind: &'static Kind, current: Value) -> Result<Value, StatusError> {
        match self {
            Self::Json(patch) => patch.apply(&current).map_err(json_error),
            Self::Merge(body) => patch::merge_patch(&current, body).map_err(merge_error),
            Self::Strategic(patch) => strategic(kind, current, patch),
        }
    }

    /// The document this patch makes of a Scale, which has no lists: strategic and plain merging agree.
    pub(crate) fn apply_to_scale(&self, current: &Value) -> Result<Value, StatusError> {
        match self {
            Self::Json(patch) => patch.apply(current).map_err(json_error),
            Self::Merge(body) => patch::merge_patch(current, body).map_err(merge_error),
            Self::Strategic(patch) => patch::merge_patch(current, patch.to_string().as_bytes()).map_err(merge_error),
        }
    }

    /// Whether the patch certainly has nothing to say about a field of the object.
    fn spares(&self, field: &str) -> bool {
        match self {
            Self::Strategic(Value::Object(patch)) => !patch.keys().any(|key| key == field || key.starts_with('$')),
            Self::Strategic(_) | Self::Json(_) | Self::Merge(_) => false,
        }
    }

    /// What strict validation says about the patch itself.
    fn complaints(&self, validation: FieldValidation) -> Result<Vec<String>, StatusError> {
        let Self::Json(patch) = self else { return Ok(Vec::new()) };
        let texts = patch.unknown_fields();
        match validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !texts.is_empty() => {
                Err(StatusError::bad_request(format!("strict decoding error: {}", texts.join(", "))))
            }
            FieldValidation::Warn | FieldValidation::Strict => Ok(texts),
        }
    }
}

/// A pod as far as those who write its status look at it; of other kinds too little is left out to be worth it.
fn without_spec(object: &Object) -> Option<Object> {
    object.get::<Pod>()?;
    let mut bare = object.clone();
    bare.get_mut::<Pod>()?.spec = None;
    Some(bare)
}

fn strategic(kind: &'static Kind, current: Value, patch: &Value) -> Result<Value, StatusError> {
    let ty = stead_api::schema::root(kind);
    patch::strategic_merge(&ty, current, patch.clone()).map_err(strategic_error)
}

/// Decodes a document, which is made once more to be shown in a refusal.
fn decode(
    kind: &'static Kind,
    document: impl Fn() -> Result<Value, StatusError>,
    validation: FieldValidation,
) -> Result<Proposal, StatusError> {
    let refuse = |error: &str| document().map_or_else(|refusal| refusal, |shown| undecodable(&shown, error));
    let decoded = decode::decode_value(kind, document()?).map_err(|error| refuse(&error.to_string()))?;
    let complaints = decoded.complaints();
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Strict if !complaints.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", complaints.join(", "))));
        }
        FieldValidation::Warn | FieldValidation::Strict => complaints,
    };
    Ok(Proposal { object: decoded.object, warnings })
}

/// 422 for a result that is no object of the kind; the kind is not named.
fn undecodable(document: &Value, error: &str) -> StatusError {
    let mut errors = FieldErrors::default();
    errors.push(FieldError::invalid("patch", document.to_string(), error));
    StatusError::invalid_kind("", "", "", &errors)
}

fn json_error(error: JsonPatchError) -> StatusError {
    match error {
        JsonPatchError::Decode(_) | JsonPatchError::NotOperations { .. } => StatusError::bad_request(error.to_string()),
        JsonPatchError::TooManyOperations(count) => StatusError::too_large(&format!(
            "The allowed maximum operations in a JSON patch is {}, got {count}",
            patch::JSON_PATCH_OPERATIONS_MAX
        )),
        JsonPatchError::Operation { .. } => {
            tracing::debug!(%error, "a JSON patch does not apply");
            StatusError::unprocessable()
        }
    }
}

fn merge_error(error: MergePatchError) -> StatusError {
    StatusError::bad_request(error.to_string())
}

fn strategic_error(error: StrategicMergeError) -> StatusError {
    use StrategicMergeError as E;
    match error {
        E::NotAnObject(_) | E::DirectiveFormat(_) => StatusError::bad_request(error.to_string()),
        E::ListOfLists => StatusError::unprocessable(),
        E::UnknownDirective { .. }
        | E::MergeDirectiveInList
        | E::MissingMergeKey { .. }
        | E::NoMergeKey(_)
        | E::MixedElements(_)
        | E::NoElements
        | E::OrderMismatch { .. }
        | E::WrongType { .. }
        | E::UnknownField { .. } => StatusError::plain(error.to_string()),
    }
}
