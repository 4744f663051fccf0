//! Lists: pages of a snapshot, filtered, in JSON, as metadata or as a table (contract `api.md` 2.1,
//! 2.5; `defaults-validation.md`, 1.1 "Expired").

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use stead_api::Kind;
use stead_store::{Entry, Page, Range, ReadError, Revision, Store};

use crate::encode::{stored_kind, type_prefix};
use crate::items::{Items, Render};
use crate::limits::SCAN_PAGE_ENTRIES;
use crate::negotiate::{self, Encoding, Form, MetaVersion, Offer, Shape};
use crate::query::{ListOptions, RevisionMatch};
use crate::respond::{self, Answer, Body};
use crate::routes::ResourcePath;
use crate::selection::Selection;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;
use crate::storage;
use crate::table::{self, Include, TABLE_TAIL, Table};

/// One page of a filtered list.
pub(crate) struct Listed {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) revision: Revision,
    continue_token: Option<String>,
    remaining: Option<usize>,
}

/// Where a list goes on. `revision` -1 in a token means: at whatever is newest now.
#[derive(Serialize, Deserialize)]
struct ContinueToken {
    v: String,
    rv: i64,
    namespace: String,
    name: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
const NEWEST: i64 = -1;

impl<S: Store> ApiServer<S> {
    /// Answers a list.
    pub(crate) async fn list(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::List)?;
        let options = ListOptions::read(&call.query)?;
        let selection = Selection::read(&options, path)?;
        let listed = self.select(path, &options, &selection).await?;
        let items = match form.shape {
            Shape::Plain | Shape::GroupDiscovery => plain(path.kind, listed),
            Shape::Metadata(version) => partial(listed, version),
            Shape::Table(version) => {
                let include = Include::read(&call.query)?;
                rows(Table { kind: path.kind, version, include, now: self.world.now() }, listed)
            }
        };
        answer(form, items)
    }

    /// The page of entries a list or deletecollection is about.
    pub(crate) async fn select(
        &self,
        path: &ResourcePath,
        options: &ListOptions,
        selection: &Selection,
    ) -> Result<Listed, StatusError> {
        let start = self.start(options)?;
        if let (Some(name), None, Some(namespace)) = (selection.name(), start.at, single_namespace(path)) {
            let revision = self.store.revision();
            let found = self.find(path.kind, namespace, name).await?;
            let entries: Vec<_> = found.into_iter().filter(|entry| selection.matches(entry)).collect();
            let revision = entries.iter().map(|entry| entry.revision).fold(revision, Ord::max);
            return Ok(Listed { entries, revision, continue_token: None, remaining: None });
        }
        let mut range = Range {
            resource: storage::table_of(path.kind),
            namespace: path.namespace.as_deref().map(Into::into),
            after: start.after.clone(),
            limit: options.limit,
            at: start.at,
        };
        if selection.is_everything() {
            let page = self.store.range(range).await.map_err(|error| list_error(&error, &start))?;
            return Ok(whole(page));
        }
        if options.limit > 0 {
            range.limit = SCAN_PAGE_ENTRIES.max(options.limit);
        }
        self.scan(range, options.limit, selection, &start).await
    }

    /// Reads on until `limit` entries match or nothing is left.
    async fn scan(
        &self,
        mut range: Range,
        limit: usize,
        selection: &Selection,
        start: &Start,
    ) -> Result<Listed, StatusError> {
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        loop {
            let page = self.store.range(range.clone()).await.map_err(|error| list_error(&error, start))?;
            let revision = page.revision;
            range.at = Some(revision);
            range.after = page.entries.last().map(|last| (last.key.namespace.clone(), last.key.name.clone()));
            let is_last_page = page.remaining == 0;
            let mut page_left = page.entries.into_iter();
            for entry in page_left.by_ref().filter(|entry| selection.matches(entry)) {
                entries.push(entry);
                if limit > 0 && entries.len() == limit {
                    break;
                }
            }
            let is_full = limit > 0 && entries.len() == limit;
            let more = !is_last_page || page_left.next().is_some();
            if is_full && more {
                let continue_token = entries.last().map(|last| token_after(last, revision));
                return Ok(Listed { entries, revision, continue_token, remaining: None });
            }
            if is_full || is_last_page {
                return Ok(Listed { entries, revision, continue_token: None, remaining: None });
            }
        }
    }

    fn start(&self, options: &ListOptions) -> Result<Start, StatusError> {
        if let Some(token) = &options.continue_token {
            if options.revision.is_some_and(|revision| revision != 0) {
                return Err(StatusError::bad_request("specifying resource version is not allowed when using continue"));
            }
            return read_token(token);
        }
        let newest = self.store.revision().0;
        let at = match (options.revision, options.revision_match) {
            (None | Some(0), _) => None,
            (Some(revision), _) if revision > newest => return Err(StatusError::future_revision(revision, newest)),
            (Some(_), Some(RevisionMatch::NotOlderThan)) => None,
            // Without a match a named revision means "not older" for whole lists and "exactly" for pages.
            (Some(_), None) if options.limit == 0 => None,
            (Some(revision), Some(RevisionMatch::Exact) | None) => Some(Revision(revision)),
        };
        Ok(Start { at, after: None })
    }
}

struct Start {
    at: Option<Revision>,
    after: Option<(Box<str>, Box<str>)>,
}

/// The namespace in which a name is unique: the path's, or none for cluster-scoped kinds.
fn single_namespace(path: &ResourcePath) -> Option<&str> {
    match path.is_namespaced() {
        true => path.namespace.as_deref(),
        false => Some(""),
    }
}

fn whole(page: Page) -> Listed {
    let more = page.remaining > 0;
    let last = page.entries.last().filter(|_| more);
    Listed {
        continue_token: last.map(|last| token_after(last, page.revision)),
        remaining: more.then_some(page.remaining),
        revision: page.revision,
        entries: page.entries,
    }
}

fn token_after(last: &Entry, revision: Revision) -> String {
    token(last.key.namespace.as_ref(), last.key.name.as_ref(), i64::try_from(revision.0).unwrap_or(NEWEST))
}

fn token(namespace: &str, name: &str, rv: i64) -> String {
    let token =
        ContinueToken { v: TOKEN_VERSION.to_owned(), rv, namespace: namespace.to_owned(), name: name.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token always serialises"))
}

fn read_token(text: &str) -> Result<Start, StatusError> {
    let refuse =
        |error: &dyn std::fmt::Display| StatusError::bad_request(format!("continue key is not valid: {error}"));
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|error| refuse(&error))?;
    let token: ContinueToken = serde_json::from_slice(&json).map_err(|error| refuse(&error))?;
    if token.v != TOKEN_VERSION {
        return Err(refuse(&format_args!("server does not recognize this encoded version {:?}", token.v)));
    }
    Ok(Start {
        at: u64::try_from(token.rv).ok().map(Revision),
        after: Some((token.namespace.into(), token.name.into())),
    })
}

/// A list that cannot be shown: past the kept history, a continued list gets a token with which the
/// rest can be had at a new revision.
fn list_error(error: &ReadError, start: &Start) -> StatusError {
    match (error, &start.after) {
        (ReadError::Compacted { .. }, Some((namespace, name))) => {
            StatusError::expired_continue(token(namespace, name, NEWEST))
        }
        (error, _) => storage::read_error(error),
    }
}

/// The list's metadata as JSON.
fn metadata(listed: &Listed) -> String {
    let mut json = format!("{{\"resourceVersion\":\"{}\"", listed.revision);
    if let Some(token) = &listed.continue_token {
        json.push_str(&format!(",\"continue\":\"{token}\""));
    }
    if let Some(remaining) = listed.remaining {
        json.push_str(&format!(",\"remainingItemCount\":{remaining}"));
    }
    json.push('}');
    json
}

const LIST_TAIL: &[u8] = b"]}\n";

pub(crate) fn plain(kind: &'static Kind, listed: Listed) -> Items {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        kind.kind,
        kind.api_version(),
        metadata(&listed)
    );
    if stored_kind(kind) == kind {
        return Items::stored(head.into_bytes(), listed.entries, LIST_TAIL, type_prefix(kind));
    }
    let render: Render = Box::new(move |entry, buffer| match storage::wire(kind, entry) {
        Ok(bytes) => buffer.extend_from_slice(&bytes),
        Err(error) => {
            tracing::warn!(key = %entry.key, %error, "a list shows a damaged object as null");
            buffer.extend_from_slice(b"null");
        }
    });
    Items::new(head.into_bytes(), listed.entries, LIST_TAIL, render)
}

fn partial(listed: Listed, version: MetaVersion) -> Items {
    let head = format!(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        version.api_version(),
        metadata(&listed)
    );
    let render: Render = Box::new(move |entry, buffer| match table::partial_metadata(&entry.bytes, version) {
        Ok(bytes) => buffer.extend_from_slice(&bytes),
        Err(error) => {
            tracing::warn!(key = %entry.key, %error, "a list shows a damaged object as null");
            buffer.extend_from_slice(b"null");
        }
    });
    Items::new(head.into_bytes(), listed.entries, LIST_TAIL, render)
}

fn rows(table: Table, listed: Listed) -> Items {
    let head = table.head(&metadata(&listed), true);
    let render: Render = Box::new(move |entry, buffer| table.row(entry, storage::load_as(table.kind, entry), buffer));
    Items::new(head, listed.entries, TABLE_TAIL, render)
}

pub(crate) fn answer(form: Form, items: Items) -> Answer {
    match form.encoding {
        Encoding::Json => {
            let body: Body = items.boxed_unsync();
            let response: Response<Body> = respond::typed(StatusCode::OK, "application/json", body);
            Ok(response)
        }
        Encoding::Yaml => respond::encoded(StatusCode::OK, items.collect().into(), Encoding::Yaml),
    }
}
