//! Watches: the present state where it is asked for, then every change that concerns the selection,
//! in order, none left out (contract `api.md` 2.2 to 2.4 and "WatchList"). A watcher that falls
//! behind is told so with 410 and closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stead_api::Kind;
use stead_store::{Entry, Event, Range, ReadError, Revision, Store};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::encode;
use crate::limits::{BOOKMARK_FIRST, BOOKMARK_PERIOD, FRAME_BYTES, WATCH_LIFE_MAX, WATCH_LIFE_MIN};
use crate::negotiate::{self, Form, Offer, Shape};
use crate::query::ListOptions;
use crate::respond::{self, Answer, BoxError};
use crate::routes::ResourcePath;
use crate::selection::Selection;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;
use crate::storage;
use crate::table::{self, Include, Table};
use crate::world::World;

impl<S: Store> ApiServer<S> {
    /// Answers a watch.
    pub(crate) async fn watch(self: &Arc<Self>, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::List)?;
        let mut options = ListOptions::read(&call.query)?;
        options.watch = true;
        let selection = Selection::read(&options, path)?;
        let include = Include::read(&call.query)?;
        let permit = Arc::clone(&self.watches)
            .try_acquire_owned()
            .map_err(|_| StatusError::too_many_requests("too many watches are open on this server"))?;
        let opened = self.open(path, &options).await?;
        let world = Arc::clone(&self.world);
        let writer = Writer { kind: path.kind, form, include, selection, columns_sent: false, world };
        let asked = options.timeout_s.map(|seconds| Duration::from_secs(seconds).min(WATCH_LIFE_MAX));
        let life = asked.unwrap_or_else(|| self.default_life());
        let watching = Watching {
            server: Arc::clone(self),
            initial: opened.initial,
            initial_end: opened.announce_end.then_some(opened.revision),
            events: opened.events,
            seen: opened.revision,
            bookmarks: options.bookmarks,
            next_bookmark: Instant::now() + BOOKMARK_FIRST,
            ends_at: Instant::now() + life,
            ending: self.ending.clone(),
            writer,
            ended: false,
            _permit: permit,
        };
        let frames = futures::stream::unfold(watching, |mut watching| async move {
            watching.next().await.map(|bytes| (Ok::<_, BoxError>(Frame::data(bytes)), watching))
        });
        let body = StreamBody::new(frames.fuse()).boxed_unsync();
        let mut response = respond::typed(StatusCode::OK, "application/json", body);
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        Ok(response)
    }

    /// Finds out where the watch begins, and what it shows first.
    async fn open(&self, path: &ResourcePath, options: &ListOptions) -> Result<Opened, StatusError> {
        let newest = self.store.revision();
        if let Some(revision) = options.revision.filter(|revision| *revision > newest.0) {
            return Err(StatusError::future_revision(revision, newest.0));
        }
        let shows_state = options.send_initial_events.unwrap_or(matches!(options.revision, None | Some(0)));
        let (initial, from) = match (shows_state, options.revision) {
            (false, Some(revision)) if revision > 0 => (Vec::new(), Revision(revision)),
            (false, _) => (Vec::new(), newest),
            (true, _) => {
                let range = Range {
                    resource: storage::table_of(path.kind),
                    namespace: path.namespace.as_deref().map(Into::into),
                    after: None,
                    limit: 0,
                    at: None,
                };
                let page = self.store.range(range).await.map_err(|error| storage::read_error(&error))?;
                (page.entries, page.revision)
            }
        };
        let namespace = path.namespace.as_deref().map(Into::into);
        let watch = self.store.watch(storage::table_of(path.kind), namespace, from).await;
        let watch = watch.map_err(|error| watch_error(&error))?;
        Ok(Opened {
            initial: initial.into(),
            revision: from,
            announce_end: options.bookmarks && options.send_initial_events == Some(true),
            events: watch.events,
        })
    }

    /// Half an hour and up to as much again, so that many watches do not end together.
    fn default_life(&self) -> Duration {
        let spread_ms = u64::try_from(WATCH_LIFE_MIN.as_millis()).unwrap_or(u64::MAX);
        WATCH_LIFE_MIN + Duration::from_millis(self.world.random() % spread_ms)
    }
}

struct Opened {
    initial: VecDeque<Arc<Entry>>,
    revision: Revision,
    announce_end: bool,
    events: mpsc::Receiver<Result<Arc<Event>, ReadError>>,
}

fn watch_error(error: &ReadError) -> StatusError {
    match error {
        ReadError::Compacted { at, oldest } => StatusError::expired_watch(at.0, oldest.0),
        ReadError::Future { at, newest } => StatusError::future_revision(at.0, newest.0),
    }
}

/// One open watch.
struct Watching<S> {
    server: Arc<ApiServer<S>>,
    initial: VecDeque<Arc<Entry>>,
    /// The revision of the bookmark that ends the present state, until it is sent.
    initial_end: Option<Revision>,
    events: mpsc::Receiver<Result<Arc<Event>, ReadError>>,
    /// Every change up to here has been dealt with.
    seen: Revision,
    bookmarks: bool,
    next_bookmark: Instant,
    ends_at: Instant,
    ending: CancellationToken,
    writer: Writer,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

enum Woken {
    Event(Option<Result<Arc<Event>, ReadError>>),
    Bookmark,
    End,
}

impl<S: Store> Watching<S> {
    /// The next bytes for the client; none when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        let mut buffer = Vec::new();
        self.write_initial(&mut buffer);
        while buffer.is_empty() && !self.ended {
            match self.wake().await {
                Woken::Event(item) => {
                    self.take(item, &mut buffer);
                    self.take_waiting(&mut buffer);
                }
                Woken::Bookmark => {
                    self.next_bookmark = Instant::now() + BOOKMARK_PERIOD;
                    self.bookmark(&mut buffer);
                }
                Woken::End => self.ended = true,
            }
        }
        (!buffer.is_empty()).then(|| buffer.into())
    }

    async fn wake(&mut self) -> Woken {
        tokio::select! {
            biased;
            () = self.ending.cancelled() => Woken::End,
            item = self.events.recv() => Woken::Event(item),
            () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => Woken::Bookmark,
            () = tokio::time::sleep_until(self.ends_at) => Woken::End,
        }
    }

    fn write_initial(&mut self, buffer: &mut Vec<u8>) {
        while buffer.len() < FRAME_BYTES {
            match self.initial.pop_front() {
                Some(entry) if self.writer.selection.matches(&entry) => self.writer.entry("ADDED", &entry, buffer),
                Some(_) => {}
                None => break,
            }
        }
        if self.initial.is_empty()
            && let Some(revision) = self.initial_end.take()
        {
            self.writer.bookmark(revision, true, buffer);
        }
    }

    /// Writes what has already arrived, up to one frame.
    fn take_waiting(&mut self, buffer: &mut Vec<u8>) {
        while buffer.len() < FRAME_BYTES && !self.ended {
            match self.events.try_recv() {
                Ok(item) => self.take(Some(item), buffer),
                Err(_) => break,
            }
        }
    }

    fn take(&mut self, item: Option<Result<Arc<Event>, ReadError>>, buffer: &mut Vec<u8>) {
        match item {
            Some(Ok(event)) => {
                self.seen = event.after.revision;
                self.writer.event(&event, buffer);
            }
            Some(Err(error)) => {
                self.writer.error(&watch_error(&error), buffer);
                self.ended = true;
            }
            None => self.ended = true,
        }
    }

    /// Everything up to the store's progress has been handed over by the time it is known, so
    /// what is waiting is written first and the bookmark then is true.
    fn bookmark(&mut self, buffer: &mut Vec<u8>) {
        let progress = self.server.store.progress();
        while let Ok(item) = self.events.try_recv() {
            self.take(Some(item), buffer);
            if self.ended {
                return;
            }
        }
        self.seen = self.seen.max(progress);
        self.writer.bookmark(self.seen, false, buffer);
    }
}

/// Writes events in the negotiated form.
struct Writer {
    kind: &'static Kind,
    form: Form,
    include: Include,
    selection: Selection,
    columns_sent: bool,
    world: Arc<dyn World>,
}

impl Writer {
    /// Writes a change as this selection sees it; nothing when it does not concern it.
    fn event(&mut self, event: &Event, buffer: &mut Vec<u8>) {
        let before = event.before.as_ref().filter(|entry| self.selection.matches(entry));
        let after = !event.deleted && self.selection.matches(&event.after);
        match (before, after) {
            (None, true) => self.entry("ADDED", &event.after, buffer),
            (Some(_), true) => self.entry("MODIFIED", &event.after, buffer),
            (Some(_), false) if event.deleted => self.entry("DELETED", &event.after, buffer),
            (Some(before), false) => self.left(before, event.after.revision, buffer),
            (None, false) => {}
        }
    }

    /// Writes one object under an event type. One that cannot be converted is reported, not skipped.
    fn entry(&mut self, type_: &str, entry: &Entry, buffer: &mut Vec<u8>) {
        match self.object(entry) {
            Ok(object) => line(type_, &object, buffer),
            Err(error) => self.error(&error, buffer),
        }
    }

    /// Writes that an object no longer matches: its last matching state, at the revision it left.
    fn left(&mut self, before: &Entry, revision: Revision, buffer: &mut Vec<u8>) {
        let moved = encode::load(before, self.kind).map(|mut object| {
            object.metadata_mut().resource_version = Some(revision.to_string());
            Entry { key: before.key.clone(), revision, header: before.header.clone(), bytes: object.to_json().into() }
        });
        match moved {
            Ok(entry) => self.entry("DELETED", &entry, buffer),
            Err(error) => self.error(&error, buffer),
        }
    }

    fn object(&mut self, entry: &Entry) -> Result<Bytes, StatusError> {
        match self.form.shape {
            Shape::Plain | Shape::GroupDiscovery => storage::wire(self.kind, entry),
            Shape::Metadata(version) => table::partial_metadata(&entry.bytes, version).map(Bytes::from),
            Shape::Table(version) => {
                let table = Table { kind: self.kind, version, include: self.include, now: self.world.now() };
                let metadata = format!("{{\"resourceVersion\":\"{}\"}}", entry.revision);
                let mut json = table.head(&metadata, !self.columns_sent);
                self.columns_sent = true;
                table.row(entry, storage::load_as(self.kind, entry), &mut json);
                json.extend_from_slice(b"]}");
                Ok(json.into())
            }
        }
    }

    fn bookmark(&mut self, revision: Revision, ends_initial: bool, buffer: &mut Vec<u8>) {
        let annotations = match ends_initial {
            true => ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}",
            false => "",
        };
        let metadata = format!("{{\"resourceVersion\":\"{revision}\"{annotations}}}");
        let object = match self.form.shape {
            Shape::Plain | Shape::GroupDiscovery => {
                let (kind, api_version) = (self.kind.kind, self.kind.api_version());
                format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata}}}")
            }
            Shape::Metadata(version) => format!(
                "{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{}\",\"metadata\":{metadata}}}",
                version.api_version()
            ),
            Shape::Table(version) => format!(
                "{{\"kind\":\"Table\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\
                 \"columnDefinitions\":null,\"rows\":[{{\"cells\":[],\"object\":{{\"kind\":\"PartialObjectMetadata\",\
                 \"apiVersion\":\"{}\",\"metadata\":{metadata}}}}}]}}",
                version.api_version(),
                version.api_version()
            ),
        };
        line("BOOKMARK", object.as_bytes(), buffer);
    }

    fn error(&mut self, error: &StatusError, buffer: &mut Vec<u8>) {
        let status = serde_json::to_vec(error.status()).expect("a Status always serialises");
        line("ERROR", &status, buffer);
    }
}

fn line(type_: &str, object: &[u8], buffer: &mut Vec<u8>) {
    const AROUND: usize = r#"{"type":"BOOKMARK","object":}"#.len() + 1;
    buffer.reserve(object.len() + AROUND);
    buffer.extend_from_slice(b"{\"type\":\"");
    buffer.extend_from_slice(type_.as_bytes());
    buffer.extend_from_slice(b"\",\"object\":");
    buffer.extend_from_slice(object);
    buffer.extend_from_slice(b"}\n");
}
