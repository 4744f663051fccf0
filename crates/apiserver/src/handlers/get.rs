//! GET of one object.

use http::StatusCode;
use stead_store::Store;

use crate::handlers::answers::Show;
use crate::negotiate::{self, Offer};
use crate::respond::Answer;
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;
use crate::storage::Outcome;

impl<S: Store> ApiServer<S> {
    /// Answers one object; also `GET …/status` and other subresources that are the whole object.
    pub(crate) async fn get(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Object)?;
        self.check_not_future(call)?;
        let entry = self.fetch(path.kind, path.namespace(), path.name()).await?;
        let show = Show { kind: path.kind, form, query: &call.query, code: StatusCode::OK };
        self.show(&show, &Outcome::Stored(entry))
    }

    fn check_not_future(&self, call: &Call) -> Result<(), StatusError> {
        let newest = self.store.revision().0;
        match call.query.filled("resourceVersion").and_then(|text| text.parse::<u64>().ok()) {
            Some(at) if at > newest => Err(StatusError::future_revision(at, newest)),
            _ => Ok(()),
        }
    }
}
