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
        check_name(path.name(), &object)?;
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

/// Refuses, with 400, an object that has another name than the path, or none: a body without a name was meant for
/// another verb.
pub(crate) fn check_name(name: &str, object: &Object) -> Result<(), StatusError> {
    match name_of(object) {
        own if own == name => Ok(()),
        "" => Err(StatusError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        own => Err(StatusError::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))),
    }
}
