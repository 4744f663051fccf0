//! The patch algorithms a PATCH request may name: JSON patch, JSON merge patch and strategic merge
//! patch (contract `patch-notes.md`, 1-4).
//!
//! They work on dynamic values and know nothing of requests: each has an error enum whose variants
//! say what was wrong with the patch, and the rim chooses the HTTP status. Nothing here validates
//! the result; it must be decoded into its type afterwards.

mod go;
mod json;
mod merge;
mod strategic;
mod types;

use serde_json::Value;

use crate::registry::Kind;
use crate::schema;

pub use json::{JSON_PATCH_OPERATIONS_MAX, JsonPatch, JsonPatchError, OperationFailure, json_patch};
pub use merge::{MergePatchError, merge_patch};
pub use strategic::{StrategicMergeError, strategic_merge};
pub use types::{ListStrategy, PatchField, PatchTypes};

/// Merges `patch` into `current`, an object of the kind. See [`strategic_merge`].
pub fn strategic_merge_patch(kind: &Kind, current: Value, patch: Value) -> Result<Value, StrategicMergeError> {
    strategic_merge(&schema::root(kind), current, patch)
}

/// The whole message of a 422 for a patch that cannot be applied; Kubernetes hides the real cause.
pub const UNPROCESSABLE: &str = "the server rejected our request due to an error in our request";
