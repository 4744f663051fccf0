//! DELETE of a collection: every selected object, each by the rules of a single DELETE, several at once so
//! that they share commits.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use stead_store::{Entry, Store};

use crate::handlers::delete::read_options;
use crate::handlers::list;
use crate::handlers::modify::Target;
use crate::limits::COLLECTION_DELETES_MAX;
use crate::negotiate::{self, Offer};
use crate::query::ListOptions;
use crate::respond::{self, Answer};
use crate::routes::ResourcePath;
use crate::selection::Selection;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;

impl<S: Store> ApiServer<S> {
    /// Answers a deletecollection with the list of what was selected.
    pub(crate) async fn delete_collection(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Plain)?;
        let options = ListOptions::read(&call.query)?;
        let (delete_options, dry_run) = read_options(call)?;
        let selection = Selection::read(&options, path)?;
        let listed = self.select(path, &options, &selection).await?;
        let delete = |entry: Arc<Entry>| {
            // What was selected is deleted, not what took its name since.
            let mut options = delete_options.clone();
            options.preconditions.get_or_insert_with(Preconditions::default).uid =
                Some(entry.header.uid.clone().into());
            async move { self.delete_selected(path, &entry, &options, dry_run).await }
        };
        let deletions = stream::iter(listed.entries.clone()).map(delete).buffer_unordered(COLLECTION_DELETES_MAX);
        deletions.try_collect::<()>().await?;
        let items = list::plain(path.kind, listed);
        match form.encoding {
            negotiate::Encoding::Json => list::answer(form, items),
            encoding @ negotiate::Encoding::Yaml => respond::encoded(StatusCode::OK, items.collect().into(), encoding),
        }
    }

    async fn delete_selected(
        &self,
        path: &ResourcePath,
        entry: &Entry,
        options: &DeleteOptions,
        dry_run: bool,
    ) -> Result<(), StatusError> {
        let target =
            Target { kind: path.kind, namespace: &entry.key.namespace, name: &entry.key.name, subresource: None };
        match self.delete_object(&target, options, dry_run).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), 404 | 409) => {
                tracing::debug!(key = %entry.key, %error, "left out of a collection delete: it has changed hands");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
