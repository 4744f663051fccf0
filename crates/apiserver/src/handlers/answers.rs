//! One object as an answer, in the form that was negotiated.

use http::{Response, StatusCode};
use stead_api::Kind;
use stead_store::Store;

use crate::convert;
use crate::negotiate::{Form, Shape};
use crate::query::Query;
use crate::respond::{self, Answer, Body};
use crate::server::ApiServer;
use crate::status::StatusError;
use crate::storage::{self, Outcome};
use crate::table::{self, Include, TABLE_TAIL, Table};

/// How an object is to be shown.
pub(crate) struct Show<'a> {
    pub(crate) kind: &'static Kind,
    pub(crate) form: Form,
    pub(crate) query: &'a Query,
    pub(crate) code: StatusCode,
}

impl<S: Store> ApiServer<S> {
    /// Answers with an object.
    pub(crate) fn show(&self, show: &Show<'_>, outcome: &Outcome) -> Answer {
        let json = match show.form.shape {
            Shape::Plain | Shape::GroupDiscovery => outcome.bytes(show.kind)?,
            Shape::Metadata(version) => table::partial_metadata(&outcome.bytes(show.kind)?, version)?.into(),
            Shape::Table(version) => {
                let include = Include::read(show.query)?;
                self.one_row(outcome, &Table { kind: show.kind, version, include, now: self.world.now() })?.into()
            }
        };
        respond::encoded(show.code, json, show.form.encoding)
    }

    /// [`ApiServer::show`] with warnings.
    pub(crate) fn show_with(&self, show: &Show<'_>, outcome: &Outcome, warnings: &[String]) -> Answer {
        let mut response: Response<Body> = self.show(show, outcome)?;
        respond::warn(&mut response, warnings);
        Ok(response)
    }

    fn one_row(&self, outcome: &Outcome, table: &Table) -> Result<Vec<u8>, StatusError> {
        let Outcome::Stored(entry) = outcome else {
            return self.pretended_row(outcome, table);
        };
        let mut json = table.head(&format!("{{\"resourceVersion\":\"{}\"}}", entry.revision), true);
        table.row(entry, storage::load_as(table.kind, entry), &mut json);
        json.extend_from_slice(TABLE_TAIL);
        Ok(json)
    }

    /// A row for an object that was not stored: an entry is made up for it.
    fn pretended_row(&self, outcome: &Outcome, table: &Table) -> Result<Vec<u8>, StatusError> {
        let Outcome::Pretended(object) = outcome else {
            return Err(StatusError::internal("a stored object has an entry"));
        };
        let object = convert::from_stored(table.kind, object.clone())?;
        let entry = stead_store::Entry {
            key: storage::key_of(table.kind, "", object.metadata().name.as_deref().unwrap_or_default()),
            revision: stead_store::Revision(0),
            header: stead_store::Header::default(),
            bytes: object.to_json().into(),
        };
        let mut json = table.head("{}", true);
        table.row(&entry, Ok(object), &mut json);
        json.extend_from_slice(TABLE_TAIL);
        Ok(json)
    }
}
