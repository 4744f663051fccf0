//! DELETE of a collection: every selected object, each by the rules of a single DELETE.

use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use stead_store::Store;

use crate::handlers::delete::read_options;
use crate::handlers::list;
use crate::handlers::modify::Target;
use crate::negotiate::{self, Offer};
use crate::query::ListOptions;
use crate::respond::{self, Answer};
use crate::routes::ResourcePath;
use crate::selection::Selection;
use crate::server::{ApiServer, Call};

impl<S: Store> ApiServer<S> {
    /// Answers a deletecollection with the list of what was selected.
    pub(crate) async fn delete_collection(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Plain)?;
        let options = ListOptions::read(&call.query)?;
        let (delete_options, dry_run) = read_options(call)?;
        let selection = Selection::read(&options, path)?;
        let listed = self.select(path, &options, &selection).await?;
        for entry in &listed.entries {
            let target =
                Target { kind: path.kind, namespace: &entry.key.namespace, name: &entry.key.name, subresource: None };
            // What was selected is deleted, not what took its name since.
            let mut delete_options = delete_options.clone();
            delete_options.preconditions.get_or_insert_with(Preconditions::default).uid =
                Some(entry.header.uid.clone().into());
            match self.delete_object(&target, &delete_options, dry_run).await {
                Ok(_) => {}
                Err(error) if matches!(error.code(), 404 | 409) => {
                    tracing::debug!(key = %entry.key, %error, "left out of a collection delete: it has changed hands");
                }
                Err(error) => return Err(error),
            }
        }
        let items = list::plain(path.kind, listed);
        match form.encoding {
            negotiate::Encoding::Json => list::answer(form, items),
            encoding @ negotiate::Encoding::Yaml => respond::encoded(StatusCode::OK, items.collect().into(), encoding),
        }
    }
}
