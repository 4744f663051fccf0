//! JSON patch (RFC 6902) with the habits of the library Kubernetes uses (contract `patch-notes.md`,
//! 2): negative indices, `replace` that may add, `test` of absent keys.

mod document;

use document::{COPY_BYTES_MAX, DEPTH_MAX, Document};
use serde_json::{Map, Value};

use super::go::GoType;

/// Operations one patch may hold; a longer one is refused.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;

/// Why a JSON patch was refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonPatchError {
    /// The body is not JSON (400).
    #[error("error decoding patch: {0}")]
    Decode(#[source] serde_json::Error),
    /// The body is not a list of operations (400).
    #[error("error decoding patch: json: cannot unmarshal {found} into Go {target}")]
    NotOperations {
        /// JSON type found.
        found: &'static str,
        /// What was expected in its place.
        target: &'static str,
    },
    /// More than [`JSON_PATCH_OPERATIONS_MAX`] operations (413).
    #[error(
        "Request entity too large: The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, got {0}"
    )]
    TooManyOperations(usize),
    /// An operation cannot be carried out (422). Clients only see [`UNPROCESSABLE`](super::UNPROCESSABLE).
    #[error("operation {index} of the patch failed: {failure}")]
    Operation {
        /// Position of the operation.
        index: usize,
        /// What was wrong with it.
        #[source]
        failure: OperationFailure,
    },
}

/// What was wrong with one operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationFailure {
    /// `op` is none of the six.
    #[error("unknown operation {0:?}")]
    Unknown(String),
    /// `path` or `from` is missing where it is needed.
    #[error("member {0:?} is missing")]
    MissingMember(&'static str),
    /// The parent of the path does not exist or is no container.
    #[error("path {0:?} does not exist")]
    NoSuchPath(String),
    /// The last segment names no key of the object.
    #[error("key {0:?} does not exist")]
    NoSuchKey(String),
    /// The last segment is no index of the list.
    #[error("index {0:?} is not valid here")]
    BadIndex(String),
    /// `test` found something else.
    #[error("value at {0:?} differs")]
    TestFailed(String),
    /// The whole document can only be replaced by an object or a list.
    #[error("the document cannot become a scalar")]
    ScalarDocument,
    /// The copies made are larger than the server allows.
    #[error("copies exceed {COPY_BYTES_MAX} bytes")]
    CopiesTooLarge,
    /// Copies put into each other would nest more deeply than anything that walks a document can bear.
    #[error("the document would be nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
}

/// A decoded JSON patch, ready to be applied as often as conflicts demand.
#[derive(Clone, Debug)]
pub struct JsonPatch {
    operations: Vec<Map<String, Value>>,
}

impl JsonPatch {
    /// Decodes a request body.
    pub fn parse(body: &[u8]) -> Result<Self, JsonPatchError> {
        let not_a_list =
            |found| JsonPatchError::NotOperations { found, target: "value of type []handlers.jsonPatchOp" };
        let items = match serde_json::from_slice(body).map_err(JsonPatchError::Decode)? {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => return Err(not_a_list(json_type(&other))),
        };
        if items.len() > JSON_PATCH_OPERATIONS_MAX {
            return Err(JsonPatchError::TooManyOperations(items.len()));
        }
        let operations = items.into_iter().map(operation).collect::<Result<_, _>>()?;
        Ok(Self { operations })
    }

    /// Texts about members no operation has, e.g. `json patch unknown field "[0].x"`: warnings, or
    /// refusals when the client asked for strict validation.
    pub fn unknown_fields(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            for member in operation.keys().filter(|member| !MEMBERS.contains(&member.as_str())) {
                texts.push(format!("json patch unknown field \"[{index}].{member}\""));
            }
        }
        texts
    }

    /// Applies the operations in order to a copy of `current`.
    pub fn apply(&self, current: &Value) -> Result<Value, JsonPatchError> {
        let mut document = Document::new(current);
        for (index, operation) in self.operations.iter().enumerate() {
            document.apply(operation).map_err(|failure| JsonPatchError::Operation { index, failure })?;
        }
        Ok(document.into_root())
    }
}

/// Decodes `body` and applies it to `current`.
pub fn json_patch(current: &Value, body: &[u8]) -> Result<Value, JsonPatchError> {
    JsonPatch::parse(body)?.apply(current)
}

const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];

fn operation(item: Value) -> Result<Map<String, Value>, JsonPatchError> {
    let refuse = |found: &Value, target| JsonPatchError::NotOperations { found: json_type(found), target };
    let Value::Object(operation) = item else {
        return Err(refuse(&item, "value of type handlers.jsonPatchOp"));
    };
    for (member, target) in [
        ("op", "struct field jsonPatchOp.op of type string"),
        ("path", "struct field jsonPatchOp.path of type string"),
        ("from", "struct field jsonPatchOp.from of type string"),
    ] {
        match operation.get(member) {
            None | Some(Value::String(_)) => {}
            Some(other) => return Err(refuse(other, target)),
        }
    }
    Ok(operation)
}

fn json_type(value: &Value) -> &'static str {
    match GoType::of(value) {
        GoType::Nil => "null",
        GoType::Bool => "bool",
        GoType::Int | GoType::Float => "number",
        GoType::String => "string",
        GoType::List => "array",
        GoType::Map => "object",
    }
}

#[cfg(test)]
mod tests;
