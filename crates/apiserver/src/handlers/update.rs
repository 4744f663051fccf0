//! PUT of an object, or of its `status` and other subresources that are the whole object.

use http::StatusCode;
use stead_api::Object;
use stead_store::Store;

use crate::body;
use crate::handlers::answers::Show;
use crate::handlers::create::{name_of, settle_namespace};
use crate::handlers::modify::{Proposal, Rules, Target};
use crate::negotiate::{self, Offer};
use crate::query::WriteOptions;
use crate::respond::Answer;
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;

impl<S: Store> ApiServer<S> {
    /// Answers an update. Kinds that allow it are created when they are missing.
    pub(crate) async fn update(&self, call: &Call, path: &ResourcePath) -> Answer {
        let options = WriteOptions::read(&call.query, "UpdateOptions")?;
        let form = negotiate::accepted(&call.headers, Offer::Object)?;
        let body::Decoded { mut object, warnings } =
            body::object(path.kind, &call.headers, &call.body, options.field_validation)?;
        settle_name(path, &mut object)?;
        settle_namespace(path.kind, path.namespace(), &mut object)?;
        let mut show = Show { kind: path.kind, form, query: &call.query, code: StatusCode::OK };
        let target = Target::of(path);
        let mut said = Vec::new();
        let mut propose = |_: &Object| Ok(Proposal { object: object.clone(), warnings: warnings.clone() });
        let changed = self.modify(&target, Rules::Client, options.dry_run, &mut said, &mut propose).await;
        let outcome = match changed {
            Err(error) if error.code() == 404 && path.kind.facts.put_may_create && path.subresource.is_none() => {
                object.metadata_mut().resource_version = None;
                show.code = StatusCode::CREATED;
                said = warnings;
                self.create_object(path.kind, path.namespace(), object, &options, &mut said).await?
            }
            changed => changed?,
        };
        self.show_with(&show, &outcome, &said)
    }
}

/// Fills in the name of the path; 400 when the body names another.
fn settle_name(path: &ResourcePath, object: &mut Object) -> Result<(), StatusError> {
    let name = path.name();
    match name_of(object) {
        // A body without a name is refused: it was meant for another verb.
        "" => Err(StatusError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        own if own == name => Ok(()),
        own => Err(StatusError::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))),
    }
}
